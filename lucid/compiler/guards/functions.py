"""The checks of what functions that ran have read: globals, closures, defaults, imports."""

from __future__ import annotations

import functools
import gc
import os
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import TraceError
from ...graph.trace import shown
from ...nn.module import Module
from ...tensor.grad_mode import is_grad_enabled
from ...tensor.tensor import Tensor
from . import checks
from .checks import ABSENT, Guards, ModuleCheck
from .code import BY_NAME, Place, Read, Step, is_library_code, is_library_frame, is_library_module, reads, user_line
from .objects import Fields, holds_users, own_fields, plain, reads_itself
from .reach import Reach
from .values import BY_ANY_NAME, NAMED, STATES, told_by


class Collector(Reach):
    """Collects checks of everything that traced code reads."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[int, types.CodeType] = {}
        self._functions: dict[int, list[types.FunctionType]] = {}
        self._unread: list[Callable[[], None]] = []
        self._frozen: _Frozen | None = None

    def guards(self) -> Guards:
        """All checks together."""
        self._frozen = None
        for look in self._unread:
            look()
        return super().guards()

    # ------------------------------------------------------------ code that runs

    def begins(self, frame: types.FrameType) -> None:
        """Handle the first run of a function's code in this trace."""
        code = frame.f_code
        self.begun[id(code)] = code
        if is_library_frame(frame):
            self._name((*code.co_names, code.co_name), library=True)
            if code in _ENVIRONMENT:
                self.look(os.environ, Place("os.environ", user_line(frame)))
            told = told_by(code)
            if told is not None:
                self.ask(told)
            return
        found = reads(code)
        self._here = code
        self._name((*found.names, code.co_name), found.dynamic)
        if "f_globals" in found.names:
            self._space(frame.f_globals, Place("f_globals", user_line(frame)))
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
            known = self._functions[id(code)] = self._functions_of(frame)
        for function in known or ():
            self._bound(function)
        self._work()

    def _functions_of(self, frame: types.FrameType) -> list[types.FunctionType]:
        """All functions that have the code that runs; this searches all objects."""
        code = frame.f_code
        found = [one for one in gc.get_referrers(code) if type(one) is types.FunctionType]
        if gc.get_freeze_count():  # the collector knows what frozen objects refer to, but not what refers to them
            self._frozen = self._frozen or _Frozen()
            known = set(map(id, found))
            found += (one for one in self._frozen.of(frame) if id(one) not in known)
            if not found:
                raise TraceError(
                    f"{code.co_qualname} ({user_line(frame)}) cannot be found after gc.freeze(), and what it closes "
                    f"over would be kept as it is for ever: keep it in a variable, an attribute, a list or a dict"
                )
        return found

    def captured(self, tensor: Tensor) -> None:
        """Handle a tensor that the graph reads: itself, and as the gradient of a known tensor."""
        self.look(tensor, Place("a tensor", ""))
        for check in tuple(self._lasting):
            for owner in (check.tensors if isinstance(check, ModuleCheck) else check).tensors:
                if owner.grad is tensor:
                    self._slot(owner, "grad", checks.attribute(owner, "grad", tensor))

    def _function(self, value: types.FunctionType, place: Place) -> None:
        code = value.__code__
        if value in STATES:
            self.mode_read = self.mode_read or value is is_grad_enabled
            self.ask(value)
        elif value in NAMED:
            self._named()
        self._functions.setdefault(id(code), []).append(value)
        library = is_library_code(code, value.__globals__)
        if holds_users(value) if library else id(code) in self.begun:
            self._bound(value)
        if value.__dict__:
            space = value.__dict__
            self._add(Fields(space, dict(space), lambda name, was: checks.entry(space, name, was), place))
            self._put((space.get("__wrapped__"),), place)

    def _bound(self, function: types.FunctionType) -> None:
        """The closure and defaults of a function that runs."""
        code = function.__code__
        place = Place(function.__qualname__, f"{shown(code.co_filename)}:{code.co_firstlineno}")
        self._checks.append(checks.attribute(function, "__defaults__", function.__defaults__))
        self._checks.append(checks.attribute(function, "__code__", code))
        self.look(function.__defaults__, place)
        if function.__kwdefaults__:
            self._checks.append(checks.attribute(function, "__kwdefaults__", function.__kwdefaults__))
            self.look(function.__kwdefaults__, place)
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        if is_library_code(code, function.__globals__):  # a library's wrapper around something of the user's
            for cell in cells.values():
                self._cell(cell, (), place)
            return
        for read in reads(code).found:
            if read.kind == "closure":
                self._cell(cells[read.name], read.steps, Place.of(read, code))

    def _cell(self, cell: types.CellType, steps: Sequence[Step], place: Place) -> None:
        try:
            value = cell.cell_contents
        except ValueError:  # it is filled while tracing, if at all
            return
        self._slot(cell, "cell_contents", checks.attribute(cell, "cell_contents", value))
        self._follow(value, steps, place)

    def _global(self, read: Read, space: dict[str, object], builtins: Mapping[str, object], place: Place) -> None:
        value = space.get(read.name, ABSENT)
        self._slot(space, read.name, checks.entry(space, read.name, value))
        if value is not ABSENT:
            self._follow(value, read.steps, place)
        elif read.name == "globals":
            self._space(space, place)
        elif read.name == "__import__":
            self._named()
        elif any(builtins.get(read.name) is function for function in BY_ANY_NAME):
            self._name((), True)

    def _import(self, read: Read, space: Mapping[str, object], place: Place, *, last: bool = False) -> None:
        """A module that a function imports; one that is not loaded yet is looked up at the end of the trace."""
        within = str(space.get("__package__") or "")
        parents = [within.rsplit(".", up)[0] for up in range(within.count(".") + 1)] if within else []
        names = (read.name, read.name.partition(".")[0], *(f"{parent}.{read.name}".rstrip(".") for parent in parents))
        found = {name: sys.modules[name] for name in names if name in sys.modules}
        for name, module in found.items():
            if not is_library_module(name):  # it may be replaced
                self._slot(sys.modules, name, checks.entry(sys.modules, name, module))
            self.look(module, place)
        if not found and not last:
            self._unread.append(functools.partial(self._import, read, space, place, last=True))

    def _space(self, space: dict[str, object], place: Place) -> None:
        """Globals that are read as a dict: all of them by identity, and the content of those that the code names."""
        self._slot(space, "all", checks.mapping(space))
        texts = reads(self._here).texts if self._here is not None else ()
        words = {word for text in texts for word in re.findall(r"\w+", text)}
        self._put([value for name, value in space.items() if name in words], place)

    def _named(self) -> None:
        """A module that is looked up by a name in the code."""
        if self._here is not None:
            for text in reads(self._here).texts:
                if text in sys.modules:
                    self.look(sys.modules[text], Place(text, code=self._here, name=text))

    def _follow(self, value: object, steps: Sequence[Step], place: Place) -> None:
        """Follow attributes and items that are read in a chain, then everything reachable from the last value."""
        for at, (kind, key) in enumerate(steps):
            found = self._item(value, key) if kind == "item" else self._attribute(value, key)
            if found is ABSENT:
                rest = [name for kind, name in steps[at:] if kind == "attribute"]
                self._name(rest, not BY_NAME.isdisjoint(rest))
                break
            value = found
        self.look(value, place)

    def _item(self, value: Any, key: object) -> object:
        if type(value) not in (dict, list, tuple):
            return ABSENT
        try:
            found = value[key]
        except (LookupError, TypeError):
            return ABSENT
        self._slot(value, ("item", type(key), key), checks.entry(value, key, found))
        return found

    def _attribute(self, value: object, name: str) -> object:
        """The value of an attribute if it can be read without running code (adding its check); otherwise ABSENT."""
        if name == "__dict__" and type(getattr(value, name, None)) is dict:
            self._slot(value, name, checks.attribute(value, name, value.__dict__))
            return value.__dict__
        if isinstance(value, types.ModuleType | types.FunctionType):
            space = value.__dict__
            if name not in space:
                if name in _OF_FUNCTIONS and isinstance(value, types.FunctionType):
                    self._bound(value)
                    if name == "__globals__":
                        self._space(value.__globals__, Place(name, code=self._here, name=name))
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


_ENVIRONMENT = (os.getenv.__code__, *(getattr(type(os.environ), n).__code__ for n in ("__getitem__", "__iter__")))


_OF_FUNCTIONS = frozenset({"__closure__", "__defaults__", "__kwdefaults__", "__globals__", "__code__"})


class _Frozen:
    """Functions by their code, including those that ``gc.freeze()`` hides from the garbage collector.

    They are searched for among everything reachable from modules and frames: fully once per trace, and later from new
    frames only.
    """

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}
        """By id; holding an object keeps its id valid."""
        self._found: dict[types.CodeType, list[types.FunctionType]] = {}

    def of(self, frame: types.FrameType) -> list[types.FunctionType]:
        """The functions that have the code of a frame."""
        roots: list[object] = [sys.modules]
        one: types.FrameType | None = frame
        while one is not None:
            roots += (one.f_globals, dict(one.f_locals))
            one = one.f_back
        self._look(roots)
        return self._found.get(frame.f_code, [])

    def _look(self, reached: Sequence[object]) -> None:
        mine = {id(self), id(self._seen), id(self._found)}
        while reached:
            fresh = {id(one): one for one in reached if id(one) not in self._seen and id(one) not in mine}
            self._seen |= fresh
            for one in fresh.values():
                if type(one) is types.FunctionType:  # isinstance could run an object's own code
                    self._found.setdefault(one.__code__, []).append(one)
            reached = list(filter(gc.is_tracked, gc.get_referents(*fresh.values())))  # others refer to nothing
