"""Checks: each reads again one thing that a trace has read, and says whether it is unchanged.

A check holds a reference to the value it compares with, so that no other object can get its address. The checks of a
trace are compiled into one function that compares by identity; if that fails, each check compares by value.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import is_
from types import CodeType
from typing import Any, Final

import numpy as np

from ...base import changes
from ...base.arrays import Array
from ...errors import TraceError, from_handler
from ...nn.module import Module
from ...nn.tables import OWN, TABLES, tensors_of
from ...tensor.tensor import Tensor
from ..arguments import static_key

ABSENT: Final = type("Absent", (), {"__repr__": lambda self: "<absent>"})()


def same(now: Any, was: Any) -> bool:
    """Whether a trace cannot tell two values apart: one object, or two equal ones that cannot change."""
    if now is was:
        return True
    if type(now) is not type(was):
        return False
    if isinstance(now, tuple):
        return len(now) == len(was) and all(map(same, now, was))
    try:
        return bool(static_key(now) == static_key(was))
    except TraceError:
        return False


class Check:
    """A check of one thing that was read.

    Attributes
    ----------
    source
        An expression that is true if nothing has changed; ``{0}``, ``{1}``… stand for the operands.
    operands
        The objects that occur in the expression.
    read
        Reads the thing again; may raise if it no longer exists.
    was
        What was read.
    """

    __slots__ = ("operands", "read", "source", "was")

    def __init__(self, source: str, operands: tuple[object, ...], read: Callable[[], object], was: object) -> None:
        self.source, self.operands, self.read, self.was = source, operands, read, was

    def holds(self) -> bool:
        try:
            return same(self.read(), self.was)
        except Exception as error:
            if from_handler(error):
                raise
            return False  # whatever the reason, it can no longer be read


def entry(holder: Any, key: object, was: object) -> Check:
    """A check of ``holder[key]`` in a dict, list or tuple; ABSENT if a dict does not have the key."""
    if was is ABSENT:
        return Check("{0} not in {1}", (key, holder), lambda: ABSENT if key not in holder else None, was)
    return Check("{0}[{1}] is {2}", (holder, key, was), lambda: holder[key], was)


def attribute(owner: object, name: str, was: object) -> Check:
    """A check of ``owner.name``, if reading it runs no code of the user's."""
    if name.isidentifier() and name.isascii() and not keyword.iskeyword(name):
        return Check(f"{{0}}.{name} is {{1}}", (owner, was), lambda: getattr(owner, name), was)
    return Check("{0}({1}, {2}) is {3}", (getattr, owner, name, was), lambda: getattr(owner, name), was)


def raw_entry(owner: type, name: str, was: object) -> Check:
    """A check of a class's entry ``name``, possibly inherited, without binding it: a property, a class method…"""
    return Check("{0}({1}, {2}) is {3}", (class_entry, owner, name, was), lambda: class_entry(owner, name), was)


def class_entry(owner: type, name: str) -> object:
    """The entry of the first class in the method resolution order that has one; otherwise ABSENT."""
    for cls in owner.__mro__:
        found = cls.__dict__.get(name, ABSENT)
        if found is not ABSENT:
            return found
    return ABSENT


def called(function: Callable[[], object], was: object) -> Check:
    """A check of what a function without arguments returns: a small value, compared by equality."""
    return Check("{0}({1}(), {2})", (same, function, was), function, was)


def size(owner: object) -> Check:
    """A check of the number of an object's (or class's) own attributes."""
    was = len(owner.__dict__)
    return Check("len({0}.__dict__) == {1}", (owner, was), lambda: len(owner.__dict__), was)


def missing(owner: object, names: frozenset[str]) -> Check:
    """A check that an object has none of these attributes, for which code may have looked."""
    return Check("{0}.isdisjoint({1}.__dict__)", (names, owner), lambda: names.isdisjoint(owner.__dict__), True)


def sequence(holder: Any) -> Check:
    """A check of the items of a list, set or deque, in order."""
    was = tuple(holder)
    text = "len({0}) == {1} and all(map({2}, {0}, {3}))"
    return Check(text, (holder, len(was), is_, was), lambda: tuple(holder), was)


def mapping(holder: Any) -> Check:
    """A check of the keys and values of a dict, in order."""
    keys, values = tuple(holder), tuple(holder.values())
    text = "len({0}) == {1} and all(map({2}, {0}, {3})) and all(map({2}, {0}.values(), {4}))"
    operands = (holder, len(keys), is_, keys, values)
    return Check(text, operands, lambda: (tuple(holder), tuple(holder.values())), (keys, values))


def content(holder: object, snapshot: Callable[[Any], object]) -> Check:
    """A check of an object's content by a ``snapshot`` of it, such as the bytes of an array or a buffer."""
    was = snapshot(holder)
    return Check("{0}({1}) == {2}", (snapshot, holder, was), lambda: snapshot(holder), was)


def array_snapshot(array: Array) -> tuple[object, ...]:
    """Everything that a trace can read from an array."""
    mask = np.asarray(array.mask).tobytes() if isinstance(array, np.ma.MaskedArray) else b""
    return array.shape, array.dtype, array.strides, array.tobytes(), mask


class TensorCheck:
    """A check of the properties of tensors that a trace depends on; their changes are counted."""

    __slots__ = ("tensors", "was")

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors
        self.was = self._read()

    def _read(self) -> list[object]:
        return [(t.requires_grad, t._array.dtype, t._array.shape) for t in self.tensors]

    def holds(self) -> bool:
        return self._read() == self.was


class ModuleCheck:
    """A check of what a trace reads from a module; setting its attributes is counted.

    Attributes
    ----------
    fields
        The module's own attributes when it was first reached; those in ``read`` are compared.
    """

    def __init__(self, module: Module) -> None:
        self.module, self.type = module, type(module)
        self.tables = [(name, mapping(module.__dict__[name])) for name in TABLES]
        self.tensors = TensorCheck(tensors_of(module))
        self.fields = {k: v for k, v in module.__dict__.items() if k not in OWN}
        self.size = len(module.__dict__)
        self.read: list[tuple[str, object]] = []
        self.count: int | None = None
        """The number of its attributes, if a trace may have read any of them."""

    def finish(self, names: set[str], missing: set[str], any_name: bool) -> None:
        """Select the attributes that code may have read: those of these names (or any), and those it did not find."""
        wanted = (self.fields.keys() if any_name else self.fields.keys() & names) | missing
        self.read = [(name, self.fields.get(name, ABSENT)) for name in {*wanted, "training"}]
        self.count = self.size if any_name else None

    def holds(self) -> bool:
        module, own = self.module, self.module.__dict__
        return (
            type(module) is self.type
            and all(own[name] is check.operands[0] and check.holds() for name, check in self.tables)
            and self.tensors.holds()
            and all(same(own.get(name, ABSENT), was) for name, was in self.read)
            and (self.count is None or len(own) == self.count)
        )


class Guards:
    """All that a trace depends on besides its arguments.

    Attributes
    ----------
    unchanged
        Compares, by identity, everything whose changes are not counted; None if there is no such thing.
    seen
        The count of changes of models at which everything that is counted was last found unchanged.
    """

    def __init__(self, checks: Sequence[Check], lasting: Sequence[ModuleCheck | TensorCheck], seen: int) -> None:
        self.checks, self.lasting, self.seen = tuple(checks), tuple(lasting), seen
        self.unchanged: Callable[[], bool] | None = None if not checks else _compiled(self.checks)

    def hold(self) -> bool:
        """Whether tracing again would give the same result."""
        now = changes.of_models.now
        if self.seen != now:
            if not all(check.holds() for check in self.lasting):
                return False
            self.seen = now
        return self.unchanged is None or self.unchanged() or all(check.holds() for check in self.checks)


CHUNK = 50
"""How many checks one expression joins: the recursion of Python's compiler is limited."""


@lru_cache(maxsize=64)
def _code(text: str) -> CodeType:
    """The code of a text, cached: traces of a function for different arguments nearly always have the same."""
    return compile(text, "<lucid guards>", "exec")


def _compiled(checks: Sequence[Check]) -> Callable[[], bool]:
    """All checks as one function. Its text contains only generated names, and attributes that are identifiers."""
    names: dict[int, str] = {}
    operands: list[object] = []

    def named(operand: object) -> str:
        if id(operand) not in names:
            names[id(operand)] = f"a{len(operands)}"
            operands.append(operand)
        return names[id(operand)]

    lines = []
    for start in range(0, len(checks), CHUNK):
        part = [check.source.format(*map(named, check.operands)) for check in checks[start : start + CHUNK]]
        lines.append(f"            if not ({' and '.join(part)}):\n                return False\n")
    text = "".join(
        [
            f"def make({', '.join(names.values())}):\n    def hold():\n        try:\n",
            *lines,
            "            return True\n        except Exception as error:\n            if from_handler(error):\n"
            "                raise\n            return False\n    return hold\n",
        ]
    )
    space: dict[str, Any] = {"from_handler": from_handler}
    exec(_code(text), space)  # noqa: S102 - our own text, in which only identifiers are the user's
    make: Callable[..., Callable[[], bool]] = space.pop("make")  # left among its own globals, it would be a cycle
    return make(*operands)
