"""The checks that a value read by traced code, and everything reachable from it, are unchanged."""

from __future__ import annotations

import enum
import functools
import io
import sys
import types
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from ...base import changes
from ...base.arrays import Array
from ...errors import TraceError
from ...nn.module import Module
from ...nn.tables import hooks_of
from ...tensor.tensor import Tensor
from ...tensor.traced import TracedTensor
from . import checks
from .checks import ABSENT, Check, Guards, ModuleCheck, TensorCheck
from .code import Place, is_internal, is_library_module
from .objects import (
    Fields,
    array_of,
    class_check,
    implicit_names,
    instance_check,
    is_derived,
    is_python_class,
    is_special,
    own_fields,
    plain,
    reads_itself,
    shows_memory,
)
from .values import BY_ANY_NAME, EFFECTS, FIXED, LISTS, RANDOM, cached, held, random_state

ITEMS = 1_000_000
"""The most values that a trace may depend on, as all are compared at each call."""

CHECKS = 50_000
"""The most objects, lists and dicts that may hold them."""

ARRAY_BYTES = 1 << 26
"""The largest array on whose content a trace may depend; tensors may have any size."""


class Reach(ABC):
    """Collects checks of values that traced code reads, and of everything reachable from them.

    Attributes
    ----------
    dynamic
        Whether attributes may have been read by names that do not occur in the code that ran.
    mode_read
        Whether the code may have asked if gradients are recorded.
    """

    def __init__(self) -> None:
        self.began = changes.of_models.now
        self._names: set[str] = set()
        """Names of attributes that user code has read; the next set includes those that library code has read."""
        self._all_names: set[str] = set()
        self.dynamic = False
        self.mode_read = False
        self.consumed: list[tuple[object, object, Place]] = []
        self._checks: list[Check] = []
        self._lasting: list[ModuleCheck | TensorCheck] = []
        self._held: dict[int, object] = {}
        self._methods: dict[int, str] = {}
        """For the id of a type, the name of the method that handles its values (one of which keeps the type alive)."""
        self._slots: set[tuple[int, object]] = set()
        self._waiting: dict[str, list[Fields]] = {}
        self._sizes: list[Check] = []
        self._instances: list[tuple[object, Collection[str]]] = []
        self._late: list[Callable[[], Check]] = []
        self._queue: list[tuple[object, Place]] = []
        self._working = False
        self._here: types.CodeType | None = None
        self._items = 0

    def ask(self, function: Callable[[], object]) -> None:
        """Check, at each call, that a built-in function without arguments still returns the same."""
        self._slot(function, "()", checks.called(function, function()))

    def _name(self, names: Iterable[str], dynamic: bool = False, *, library: bool = False) -> None:
        """Note that attributes of these names (of any name if ``dynamic``) may be read from now on.

        Library code reads only attributes of its own classes and of classes derived from them.
        """
        fresh = set(names) - (self._all_names if library else self._names)
        self._all_names |= fresh
        if not library:
            self._names |= fresh
        waiting = [f for name in fresh for f in self._waiting.get(name, ()) if f.library or not library]
        if dynamic and not self.dynamic:
            self.dynamic = True
            waiting = [f for several in self._waiting.values() for f in several]
        for fields in waiting:
            self._take(fields)
        self._work()

    def _take(self, fields: Fields) -> None:
        """Add checks for the attributes that may have been read."""
        known = self._all_names if fields.library else self._names
        wanted = (fields.values.keys() & known) | (fields.values.keys() & fields.always)
        everything = self.dynamic or isinstance(fields.owner, types.SimpleNamespace)
        any_name = {name for name in fields.values if not is_special(name)} - wanted if everything else set()
        for name in (wanted | any_name) - fields.taken:
            fields.taken.add(name)
            value = fields.values[name]
            check = fields.check(name, value)
            if check is not None:
                self._checks.append(check)
            if id(type(value)) in _FIXED:
                continue
            place = fields.place.attribute(name, self._here)
            self._queue.append((value, replace(place, lenient=True) if name in any_name else place))

    def _add(self, fields: Fields) -> None:
        self._take(fields)
        for name in fields.values.keys() - fields.taken:
            self._waiting.setdefault(name, []).append(fields)

    def _slot(self, owner: object, key: object, check: Check) -> None:
        if (id(owner), key) not in self._slots:
            self._slots.add((id(owner), key))
            self._checks.append(check)  # which holds the owner

    # ------------------------------------------------------------ values

    def look(self, value: object, place: Place) -> None:
        """Collect checks of a value and of everything reachable from it."""
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
                if self._items > ITEMS or len(self._checks) > CHECKS:
                    raise TraceError(
                        f"{place} leads to more than {CHECKS:,} objects or {ITEMS:,} values, which would all be "
                        f"compared at each call: pass what the model needs of it as an argument, or keep numbers in "
                        f"a tensor or buffer"
                    )
                if id(value) not in self._held or self._held[id(value)] is not value:
                    self._held[id(value)] = value
                    self._look(value, place)
        finally:
            self._working = False

    def _put(self, values: Iterable[object], place: Place) -> None:
        self._queue.extend((value, place) for value in values)

    def _look(self, value: object, place: Place) -> None:
        kind = type(value)
        if id(kind) in _FIXED:
            return
        if id(value) in _BY_ANY_NAME:
            self._name((), True)
        method = self._methods.get(id(kind))
        if method is None:
            claimed = _claimed(value)
            classes = [kind] if claimed is kind else [kind, claimed]
            of = (method for types_, method in _BY_TYPE for one in classes if issubclass(one, types_))
            method = next(of, "_object")
            if claimed is kind:  # otherwise the next value of this type may claim another class
                self._methods[id(kind)] = method
        getattr(self, method)(value, place)

    def _nothing(self, value: object, place: Place) -> None:
        if isinstance(value, FIXED) and is_python_class(type(value)) and not is_library_module(type(value).__module__):
            self._attributes(value, place)

    def _tensor(self, value: Tensor, place: Place) -> None:
        if not isinstance(value, TracedTensor):
            self._lasting.append(TensorCheck([value]))

    def _array(self, value: Array, place: Place) -> None:
        if value.dtype.hasobject:
            self._checks.append(checks.content(value, lambda a: tuple(map(id, a.ravel().tolist()))))
            self._put(value.ravel().tolist(), place)
            return
        if value.nbytes > ARRAY_BYTES:
            raise TraceError(
                f"{place} is an array of {value.nbytes:,} bytes, which would be compared at each call: "
                f"make it a buffer of the module, or a tensor"
            )
        self._checks.append(checks.content(value, checks.array_snapshot))

    def _module(self, value: Module, place: Place) -> None:
        for module in value.modules():
            if id(module) in self._held and self._held[id(module)] is module and module is not value:
                continue
            self._held[id(module)] = module
            if hasattr(
                module, "__guarded__"
            ):  # a compiled model: the attributes that it sets at each call do not matter
                self._put(module.__guarded__(), place)
                continue
            check = ModuleCheck(module)
            self._lasting.append(check)
            self._add(
                Fields(module, check.fields, functools.partial(module_check, module), place, is_derived(type(module)))
            )
            self._put(hooks_of(module), place)
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
            visible: dict[str, object] = {"forward": cls.forward} if issubclass(cls, Module) else {}
            for base in reversed(cls.__mro__):
                if base in bases:
                    visible.update(base.__dict__)
            self._checks.append(checks.size(cls))
            always = frozenset({"forward", *implicit_names(visible)})
            self._add(Fields(cls, visible, functools.partial(class_check, cls), place, is_derived(cls), always))
        if not bases and issubclass(value, Module):
            self._slot(value, "forward", class_check(value, "forward", value.forward))

    @abstractmethod
    def _function(self, value: types.FunctionType, place: Place) -> None:
        """A function: what it reads is collected when it runs."""

    def _method(self, value: types.MethodType, place: Place) -> None:
        self._put((value.__func__, value.__self__), place)

    def _builtin(self, value: object, place: Place) -> None:
        self._put((getattr(value, "__self__", None),), place)

    def _partial(self, value: functools.partial[object], place: Place) -> None:
        for name in ("func", "args", "keywords"):  # __setstate__ and unpickling set these
            self._slot(value, name, checks.attribute(value, name, getattr(value, name)))
        self._put((value.func, value.args, value.keywords), place)

    def _wrapper(self, value: object, place: Place) -> None:
        parts = [getattr(value, name, None) for name in ("__func__", "fget", "func")]
        self._put(filter(None, parts), place)

    def _cached(self, value: Any, place: Place) -> None:
        """An ``lru_cache``: its counts of misses and entries and, for user functions, its content."""
        self._put((value.__wrapped__,), place)
        self._late.append(lambda: checks.called(lambda: value.cache_info()[1::2], value.cache_info()[1::2]))
        if not is_library_module(value.__wrapped__.__module__):
            self._put(cached(value), place)
            self._late.append(lambda: checks.called(functools.partial(cached, value), cached(value)))

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

    def _subclass(self, value: object, place: Place) -> None:
        if not is_library_module(type(value).__module__):
            self._attributes(value, place)

    def _context(self, value: ContextVar[object], place: Place) -> None:
        self._checks.append(checks.called(functools.partial(value.get, ABSENT), value.get(ABSENT)))
        self._put((value.get(ABSENT),), place)

    def _weak(self, value: weakref.ref[object], place: Place) -> None:
        self._checks.append(checks.called(value, value()))
        self._put((value(),), place)

    def _random(self, value: object, place: Place) -> None:
        self.consumed.append((value, random_state(value), place))

    def _file(self, value: io.IOBase, place: Place) -> None:
        if value not in (sys.stdin, sys.stdout, sys.stderr) and not value.closed and value.readable():
            self._iterator(value, place)

    def _iterator(self, value: object, place: Place) -> None:
        if is_python_class(type(value)) and plain(value):  # a user's class: its position is in its attributes
            self._object(value, place)
            return
        if place.lenient:
            return
        raise TraceError(
            f"{place} leads to a {type(value).__name__}, which gives something else each time it is asked: what it "
            f"gave while the model was traced would be kept for ever. Take from it outside and pass that as an argument"
        )

    def _object(self, value: object, place: Place) -> None:
        if isinstance(value, EFFECTS) or value is ABSENT:
            return
        if hasattr(type(value), "__array__"):
            self._checks.append(checks.content(value, array_of))
        if shows_memory(value):
            self._checks.append(checks.content(value, bytes))
        elif plain(value):
            self._attributes(value, place)
        elif callable(value) and not hasattr(type(value), "__get__"):
            self._opaque(value, place)
        elif not (hasattr(type(value), "__get__") or place.lenient):
            raise TraceError(
                f"{place} leads to a {type(value).__module__}.{type(value).__qualname__}, and whether it changes "
                f"cannot be seen: what the model read of it while it was traced would be kept for ever. Read what the "
                f"model needs outside and pass it as an argument, or keep it in a module's attribute as a number, "
                f"string, list, dict or array"
            )

    def _opaque(self, value: object, place: Place) -> None:
        """A callable that is not Python code, such as an ``operator.methodcaller``: it may call what it holds."""
        kept = held(value)
        if not all(isinstance(one, FIXED) for one in kept):
            self._checks.append(checks.called(functools.partial(held, value), kept))
            self._put(kept, replace(place, lenient=True))

    def _attributes(self, value: object, place: Place) -> None:
        """A Python object: the attributes in its dict and slots, and its class."""
        kind = type(value)
        if is_internal(kind):
            return
        values = own_fields(value)
        own = frozenset(name for name, one in values.items() if one is not ABSENT)
        for cls in kind.__mro__:
            if not is_library_module(cls.__module__):
                values.update((name, ABSENT) for name in cls.__dict__ if name not in values)
        self._slot(value, "__class__", checks.attribute(value, "__class__", kind))
        if hasattr(value, "__dict__") and not reads_itself(kind):
            self._instances.append((value, values.keys()))
            self._sizes.append(checks.size(value))
        self._add(Fields(value, values, functools.partial(instance_check, value, own), place, is_derived(kind)))
        self._put((kind,), place)

    # ------------------------------------------------------------ the end

    def guards(self) -> Guards:
        """All checks together."""
        self._checks.extend((*self._of_tensors(), *self._missing()))
        modules = [check for check in self._lasting if isinstance(check, ModuleCheck)]
        for kind in {check.type for check in modules}:
            known = (self._all_names if is_derived(kind) else self._names) | {"forward"}
            missing = known & {name for cls in kind.__mro__ for name in cls.__dict__}
            if not is_library_module(kind.__module__):
                missing |= self._names
            for check in modules:
                if check.type is kind:
                    check.finish(known, missing, self.dynamic)
        sizes = self._sizes if self.dynamic else ()
        return Guards([*self._checks, *sizes, *(late() for late in self._late)], self._lasting, self.began)

    def _missing(self) -> Iterator[Check]:
        """Checks that objects still lack the attributes that user code may have looked for without success."""
        for owner, present in self._instances:
            names = frozenset(self._names.difference(present))
            if names:
                yield checks.missing(owner, names)

    def _of_tensors(self) -> Iterator[Check]:
        """Checks of ``grad`` and ``version``, if user code names them, as their changes are not counted."""
        for name in self._names & {"grad", "version"}:
            for check in self._lasting:
                for owner in (check.tensors if isinstance(check, ModuleCheck) else check).tensors:
                    yield checks.attribute(owner, name, getattr(owner, name))


_FIXED, _BY_ANY_NAME = (frozenset(map(id, those)) for those in (FIXED, BY_ANY_NAME))

_BY_TYPE: tuple[tuple[Any, str], ...] = (
    (FIXED, "_nothing"),
    (Tensor, "_tensor"),
    (Module, "_module"),
    (np.ndarray, "_array"),
    (types.FunctionType, "_function"),
    (types.MethodType, "_method"),
    (functools.partial, "_partial"),
    (type, "_class"),
    (types.ModuleType, "_python_module"),
    (LISTS, "_sequence"),
    (tuple, "_fixed_sequence"),
    (set, "_sequence"),
    (frozenset, "_fixed_sequence"),
    ((dict, types.MappingProxyType), "_mapping"),
    ((types.BuiltinFunctionType, types.MethodWrapperType, type(np.random.RandomState.rand)), "_builtin"),
    (functools._lru_cache_wrapper, "_cached"),
    ((staticmethod, classmethod, property, functools.cached_property, functools.partialmethod), "_wrapper"),
    (ContextVar, "_context"),
    (np.ufunc, "_opaque"),
    (weakref.ref, "_weak"),
    (RANDOM, "_random"),
    (io.IOBase, "_file"),
    (Iterator, "_iterator"),
)


def _claimed(value: object) -> type:
    """The class that a value claims to have."""
    try:
        said: object = value.__class__
    except Exception:  # noqa: BLE001 - what C made may know no such attribute, or warn of it
        return type(value)
    return said if isinstance(said, type) else type(value)


def module_check(module: Module, name: str, was: object) -> Check | None:
    """A check of a module's attribute: setting one is counted, but a user's class may bypass that."""
    if is_library_module(type(module).__module__) or name not in module.__dict__:
        return None
    return checks.entry(module.__dict__, name, was)
