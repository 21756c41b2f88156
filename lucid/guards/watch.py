"""From a value that traced code reads to the checks that it, and all that can be reached from it, is what it was."""

from __future__ import annotations

import enum
import functools
import gc
import io
import os
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import clock
from ..errors import TraceError
from ..grad_mode import is_grad_enabled
from ..graph.trace import shown
from ..nn.module import Module
from ..tensor import Tensor
from ..tracing import TracedTensor
from . import checks
from .checks import ABSENT, Check, Guards, ModuleCheck, TensorCheck
from .code import Place, Read, Step, is_internal, is_library_code, is_library_module, reads, user_line
from .objects import (
    Fields,
    array_of,
    class_check,
    implicit_names,
    instance_check,
    is_python_class,
    is_special,
    own_fields,
    plain,
    reads_itself,
    shows_memory,
)
from .values import BY_ANY_NAME, EFFECTS, FIXED, LISTS, RANDOM, random_state

ITEMS = 1_000_000
"""How many values one trace may depend on: all are compared at each call."""

ARRAY_BYTES = 1 << 26
"""How large an array may be that a trace depends on, by its content: a tensor may have any size."""


class Watcher:
    """Takes down what traced code reads.

    Attributes
    ----------
    names
        All names of attributes in code that has run: only attributes of these names can have been read, unless
        ``dynamic``.
    mode_read
        Whether the code may have asked if gradients are recorded.
    """

    def __init__(self) -> None:
        self.began = clock.structure.now
        self.names: set[str] = set()
        self.dynamic = False
        self.mode_read = False
        self.consumed: list[tuple[Any, Any, Place]] = []
        self._checks: list[Check] = []
        self._lasting: list[ModuleCheck | TensorCheck] = []
        self._held: dict[int, Any] = {}
        self._slots: set[tuple[int, Any]] = set()
        self._waiting: dict[str, list[Fields]] = {}
        self._counts: list[Check] = []
        self._late: list[Callable[[], Check]] = []
        self._unread: list[Callable[[], None]] = []
        self._functions: dict[int, list[types.FunctionType]] = {}
        self.begun: dict[int, types.CodeType] = {}
        self._queue: list[tuple[Any, Place]] = []
        self._working = False
        self._here: types.CodeType | None = None
        self._items = 0

    # ------------------------------------------------------------ code that runs

    def begins(self, frame: types.FrameType) -> None:
        """A function begins whose code has not run before in this trace."""
        code = frame.f_code
        self.begun[id(code)] = code
        if is_library_code(code, frame.f_globals):
            self._name((*code.co_names, code.co_name), False)
            if code in _ENVIRONMENT:
                self.look(os.environ, Place("os.environ", user_line(frame)))
            return
        found = reads(code)
        self._here = code
        self._name((*found.names, code.co_name), found.dynamic)
        for inner in found.inner:
            self.begun.setdefault(id(inner), inner)
        space = frame.f_globals
        for read in found.found:
            if read.kind == "global":
                self._global(read, space, frame.f_builtins, Place.of(read, code))
            elif read.kind == "import":
                self._import(read, space, Place.of(read, code))
        known = self._functions.get(id(code))
        if known is None and (code.co_freevars or code.co_argcount or code.co_kwonlyargcount):
            known = self._functions[id(code)] = list(_functions_of(code))
        for function in known or ():
            self._bound(function)
        self._work()

    def captured(self, tensor: Tensor) -> None:
        """The graph reads a tensor: itself, or as the gradient of one that is known."""
        self.look(tensor, Place("a tensor", ""))
        for check in tuple(self._lasting):
            for owner in (check.tensors if isinstance(check, ModuleCheck) else check).tensors:
                if owner.grad is tensor:
                    self._slot(owner, "grad", checks.attribute(owner, "grad", tensor))

    def ask(self, function: Callable[[], Any]) -> None:
        """A built-in function without arguments was called: it is called again to see whether it gives the same."""
        self._slot(function, "()", checks.called(function, function()))

    def _name(self, names: Iterable[str], dynamic: bool) -> None:
        """Attributes of these names may be read from now on; of any name, where ``dynamic``."""
        fresh = set(names) - self.names
        self.names |= fresh
        waiting = [fields for name in fresh for fields in self._waiting.pop(name, ())]
        if dynamic and not self.dynamic:
            self.dynamic = True
            waiting = [fields for several in self._waiting.values() for fields in several] + waiting
        for fields in waiting:
            self._take(fields)
        self._work()

    def _take(self, fields: Fields) -> None:
        """Check those attributes that may be read by now."""
        everything = self.dynamic or isinstance(fields.owner, types.SimpleNamespace)
        for name in fields.values if everything else fields.values.keys() & self.names:
            if name in fields.taken or (is_special(name) and name not in self.names):
                continue
            fields.taken.add(name)
            value = fields.values[name]
            check = fields.check(name, value)
            if check is not None:
                self._checks.append(check)
            self._queue.append((value, fields.place.attribute(name, self._here)))

    def _add(self, fields: Fields) -> None:
        self._take(fields)
        for name in fields.values.keys() - fields.taken:
            self._waiting.setdefault(name, []).append(fields)

    def _bound(self, function: types.FunctionType) -> None:
        """What a function that runs carries along: closure and defaults."""
        code = function.__code__
        place = Place(function.__qualname__, f"{shown(code.co_filename)}:{code.co_firstlineno}")
        self._checks.append(checks.attribute(function, "__defaults__", function.__defaults__))
        self._checks.append(checks.attribute(function, "__code__", code))
        self.look(function.__defaults__, place)
        if function.__kwdefaults__:
            self._checks.append(checks.attribute(function, "__kwdefaults__", function.__kwdefaults__))
            self.look(function.__kwdefaults__, place)
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        if is_library_code(code, function.__globals__):  # a wrapper of the library's, around what is the user's
            for cell in cells.values():
                self._cell(cell, (), place)
            return
        for read in reads(code).found:
            if read.kind == "closure":
                self._cell(cells[read.name], read.steps, Place.of(read, code))

    def _cell(self, cell: types.CellType, steps: Iterable[Step], place: Place) -> None:
        try:
            value = cell.cell_contents
        except ValueError:  # it is filled while tracing, if at all
            return
        self._slot(cell, "cell_contents", checks.attribute(cell, "cell_contents", value))
        self._follow(value, steps, place)

    def _global(self, read: Read, space: dict[str, Any], builtins: Mapping[str, Any], place: Place) -> None:
        value = space.get(read.name, ABSENT)
        self._slot(space, read.name, checks.entry(space, read.name, value))
        if value is not ABSENT:
            self._follow(value, read.steps, place)
        elif read.name == "globals":
            self.look(space, place)
        elif any(builtins.get(read.name) is function for function in BY_ANY_NAME):
            self._name((), True)

    def _import(self, read: Read, space: Mapping[str, Any], place: Place, *, last: bool = False) -> None:
        """A module that a function imports; where that is not there yet, as it is at the end of the trace."""
        within = str(space.get("__package__") or "")
        parents = [within.rsplit(".", up)[0] for up in range(within.count(".") + 1)] if within else []
        names = (read.name, read.name.partition(".")[0], *(f"{parent}.{read.name}".rstrip(".") for parent in parents))
        found = [sys.modules[name] for name in names if name in sys.modules]
        for module in found:
            self.look(module, place)
        if not found and not last:
            self._unread.append(functools.partial(self._import, read, space, place, last=True))

    def _slot(self, owner: Any, key: Any, check: Check) -> None:
        if (id(owner), key) not in self._slots:
            self._slots.add((id(owner), key))
            self._checks.append(check)  # which holds the owner

    def _follow(self, value: Any, steps: Iterable[Step], place: Place) -> None:
        """Along attributes and items that are read at once, then all that is reached from the last."""
        for kind, key in steps:
            found = self._item(value, key) if kind == "item" else self._attribute(value, key)
            if found is ABSENT:
                break
            value = found
        self.look(value, place)

    def _item(self, value: Any, key: Any) -> Any:
        if type(value) not in (dict, list, tuple):
            return ABSENT
        try:
            found = value[key]
        except (LookupError, TypeError):
            return ABSENT
        self._slot(value, ("item", type(key), key), checks.entry(value, key, found))
        return found

    def _attribute(self, value: Any, name: str) -> Any:
        """The value of an attribute that is read without running code, with its check; else ABSENT."""
        if isinstance(value, types.ModuleType | types.FunctionType):
            space = value.__dict__
            if name not in space:
                return ABSENT
            self._slot(space, name, checks.entry(space, name, space[name]))
            return space[name]
        if isinstance(value, Module | Tensor | type) or not plain(value) or reads_itself(type(value)):
            return ABSENT
        own = own_fields(value)
        entry = own.get(name, checks.class_entry(type(value), name))
        if entry is ABSENT or (name not in own and hasattr(type(entry), "__get__")):
            return ABSENT
        self._slot(value, name, checks.attribute(value, name, entry))
        return entry

    # ------------------------------------------------------------ values

    def look(self, value: Any, place: Place) -> None:
        """Take down the content of a value and of all that is reached from it."""
        self._queue.append((value, place))
        self._work()

    def _work(self) -> None:
        if self._working:
            return
        self._working = True
        try:
            while self._queue:
                value, place = self._queue.pop()
                self._items += 1
                if self._items > ITEMS:
                    raise TraceError(
                        f"{place} leads to more than {ITEMS:,} values, which would all be compared at each call: "
                        f"pass what the model needs of it as an argument, or keep numbers in a tensor or buffer"
                    )
                if id(value) not in self._held or self._held[id(value)] is not value:
                    self._held[id(value)] = value
                    self._look(value, place)
        finally:
            self._working = False

    def _put(self, values: Iterable[Any], place: Place) -> None:
        self._queue.extend((value, place) for value in values)

    def _look(self, value: Any, place: Place) -> None:
        kind = type(value)
        if kind in FIXED:
            return
        if kind.__hash__ is not None and any(value is function for function in BY_ANY_NAME):
            self._name((), True)
        for types_, method in _BY_TYPE:
            if isinstance(value, types_):
                method(self, value, place)
                return
        self._object(value, place)

    def _nothing(self, value: Any, place: Place) -> None:
        if isinstance(value, FIXED) and is_python_class(type(value)) and not is_library_module(type(value).__module__):
            self._attributes(value, place)

    def _tensor(self, value: Tensor, place: Place) -> None:
        if not isinstance(value, TracedTensor):
            self._lasting.append(TensorCheck([value]))

    def _array(self, value: np.ndarray[Any, Any], place: Place) -> None:
        if value.dtype.hasobject:
            self._checks.append(checks.content(value, lambda a: tuple(map(id, a.ravel().tolist()))))
            self._put(value.ravel().tolist(), place)
            return
        if value.nbytes > ARRAY_BYTES:
            raise TraceError(
                f"{place} is an array of {value.nbytes:,} bytes, which would be compared at each call: "
                f"make it a buffer of the module, or a tensor"
            )
        self._checks.append(checks.content(value, checks.array_picture))

    def _module(self, value: Module, place: Place) -> None:
        for module in value.modules():
            if id(module) in self._held and self._held[id(module)] is module and module is not value:
                continue
            self._held[id(module)] = module
            check = ModuleCheck(module)
            self._lasting.append(check)
            self._add(Fields(module, check.fields, lambda name, value: None, place))
            self._put((*module._pre_hooks.values(), *module._hooks.values()), place)
            self._put((type(module),), place)

    def _python_module(self, value: types.ModuleType, place: Place) -> None:
        if not is_library_module(value.__name__):
            space = value.__dict__
            self._add(Fields(space, dict(space), lambda name, was: checks.entry(space, name, was), place))

    def _class(self, value: type, place: Place) -> None:
        if issubclass(value, enum.Enum):
            self._put((member._value_ for member in value), place)
            return
        bases = [cls for cls in value.__mro__ if not is_library_module(cls.__module__)]
        for cls in bases:
            if cls is not value and self._held.get(id(cls)) is cls:
                continue
            self._held[id(cls)] = cls
            visible: dict[str, Any] = {"forward": cls.forward} if issubclass(cls, Module) else {}
            for base in reversed(cls.__mro__):
                if base in bases:
                    visible.update(base.__dict__)
            self.names.update(implicit_names(visible))
            self._add(Fields(cls, visible, functools.partial(class_check, cls), place))
        if not bases and issubclass(value, Module):
            self._slot(value, "forward", class_check(value, "forward", value.forward))

    def _function(self, value: types.FunctionType, place: Place) -> None:
        code = value.__code__
        if value is is_grad_enabled:
            self.mode_read = True
            self._checks.append(checks.called(value, value()))
        self._functions.setdefault(id(code), []).append(value)
        if id(code) in self.begun or (value.__closure__ and is_library_code(code, value.__globals__)):
            self._bound(value)
        if value.__dict__:
            space = value.__dict__
            self._add(Fields(space, dict(space), lambda name, was: checks.entry(space, name, was), place))
            self._put((space.get("__wrapped__"),), place)

    def _method(self, value: types.MethodType, place: Place) -> None:
        self._put((value.__func__, value.__self__), place)

    def _builtin(self, value: Any, place: Place) -> None:
        self._put((getattr(value, "__self__", None),), place)

    def _partial(self, value: functools.partial[Any], place: Place) -> None:
        self._put((value.func, value.args, value.keywords), place)

    def _wrapper(self, value: Any, place: Place) -> None:
        parts = [getattr(value, name, None) for name in ("__func__", "fget", "func")]
        self._put(filter(None, parts), place)

    def _cached(self, value: Any, place: Place) -> None:
        """An ``lru_cache``: what it remembers changes with its counts of misses and of entries."""
        self._put((value.__wrapped__,), place)
        self._late.append(lambda: checks.called(lambda: value.cache_info()[1::2], value.cache_info()[1::2]))

    def _sequence(self, value: Any, place: Place) -> None:
        self._checks.append(checks.sequence(value))
        self._put(tuple(value), place)
        self._subclass(value, place)

    def _fixed_sequence(self, value: Any, place: Place) -> None:
        self._put(value, place)
        self._subclass(value, place)

    def _mapping(self, value: Any, place: Place) -> None:
        self._checks.append(checks.mapping(value))
        self._put((*value, *value.values()), place)
        self._subclass(value, place)

    def _subclass(self, value: Any, place: Place) -> None:
        if not is_library_module(type(value).__module__):
            self._attributes(value, place)

    def _context(self, value: ContextVar[Any], place: Place) -> None:
        self._checks.append(checks.called(functools.partial(value.get, ABSENT), value.get(ABSENT)))
        self._put((value.get(ABSENT),), place)

    def _weak(self, value: weakref.ref[Any], place: Place) -> None:
        self._checks.append(checks.called(value, value()))
        self._put((value(),), place)

    def _random(self, value: Any, place: Place) -> None:
        self.consumed.append((value, random_state(value), place))

    def _file(self, value: io.IOBase, place: Place) -> None:
        if value not in (sys.stdin, sys.stdout, sys.stderr) and not value.closed and value.readable():
            self._iterator(value, place)

    def _iterator(self, value: Any, place: Place) -> None:
        if is_python_class(type(value)) and plain(value):  # a class of the user's: its attributes tell where it is
            self._object(value, place)
            return
        raise TraceError(
            f"{place} leads to a {type(value).__name__}, which gives something else each time it is asked: what it "
            f"gave while the model was traced would be kept for ever. Take from it outside and pass that as an argument"
        )

    def _object(self, value: Any, place: Place) -> None:
        if isinstance(value, EFFECTS) or value is ABSENT:
            return
        if hasattr(type(value), "__guarded__"):
            self._put(value.__guarded__(), place)
            return
        if hasattr(type(value), "__array__"):
            self._checks.append(checks.content(value, array_of))
        if shows_memory(value):
            self._checks.append(checks.content(value, bytes))
        elif plain(value):
            self._attributes(value, place)
        elif not callable(value) and not hasattr(type(value), "__get__"):
            raise TraceError(
                f"{place} leads to a {type(value).__module__}.{type(value).__qualname__}, and whether it changes "
                f"cannot be seen: what the model read of it while it was traced would be kept for ever. Read what the "
                f"model needs outside and pass it as an argument, or keep it in a module's attribute as a number, "
                f"string, list, dict or array"
            )

    def _attributes(self, value: Any, place: Place) -> None:
        """A Python object: its attributes in its dict and slots, and its class."""
        kind = type(value)
        if is_internal(kind):
            return
        values = own_fields(value)
        own = frozenset(name for name, one in values.items() if one is not ABSENT)
        for cls in kind.__mro__:
            if not is_library_module(cls.__module__):
                values.update((name, ABSENT) for name in cls.__dict__ if name not in values)
        self._slot(value, "__class__", checks.attribute(value, "__class__", kind))
        if hasattr(value, "__dict__"):
            self._counts.append(checks.count(value))
        self._add(Fields(value, values, functools.partial(instance_check, value, own), place))
        self._put((kind,), place)

    # ------------------------------------------------------------ the end

    def guards(self) -> Guards:
        """All checks together."""
        for look in self._unread:
            look()
        visible: dict[type, set[str]] = {}
        for check in self._lasting:
            if isinstance(check, ModuleCheck):
                if check.type not in visible:
                    visible[check.type] = self.names & {name for cls in check.type.__mro__ for name in cls.__dict__}
                check.finish(self.names, visible[check.type], self.dynamic)
        counts = self._counts if self.dynamic else ()
        return Guards([*self._checks, *counts, *(late() for late in self._late)], self._lasting, self.began)


_BY_TYPE: tuple[tuple[Any, Callable[[Watcher, Any, Place], None]], ...] = (
    (FIXED, Watcher._nothing),
    (Tensor, Watcher._tensor),
    (Module, Watcher._module),
    (np.ndarray, Watcher._array),
    (types.FunctionType, Watcher._function),
    (types.MethodType, Watcher._method),
    (functools.partial, Watcher._partial),
    (type, Watcher._class),
    (types.ModuleType, Watcher._python_module),
    (LISTS, Watcher._sequence),
    (tuple, Watcher._fixed_sequence),
    (set, Watcher._sequence),
    (frozenset, Watcher._fixed_sequence),
    ((dict, types.MappingProxyType), Watcher._mapping),
    ((types.BuiltinFunctionType, types.MethodWrapperType, type(np.random.RandomState.rand)), Watcher._builtin),
    (functools._lru_cache_wrapper, Watcher._cached),
    ((staticmethod, classmethod, property, functools.cached_property, functools.partialmethod), Watcher._wrapper),
    (ContextVar, Watcher._context),
    (weakref.ref, Watcher._weak),
    (RANDOM, Watcher._random),
    (io.IOBase, Watcher._file),
    (Iterator, Watcher._iterator),
)


_ENVIRONMENT = (os.getenv.__code__, *(getattr(type(os.environ), n).__code__ for n in ("__getitem__", "__iter__")))


def _functions_of(code: types.CodeType) -> Iterator[types.FunctionType]:
    """The functions of this code, wherever they are; this looks through all there is."""
    return (found for found in gc.get_referrers(code) if isinstance(found, types.FunctionType))
