"""Reading Python objects and classes without running their code, and checks of what was read."""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from ...base.structs import struct
from ...nn.module import Module
from .checks import ABSENT, Check, array_snapshot, attribute, class_entry, raw_entry
from .code import Place, is_internal, is_library_code, is_library_module
from .values import FIXED

_HEAP = 1 << 9


@struct
class Fields:
    """The attributes of an object when it was first reached; those that code may read become checks."""

    owner: Any
    values: Mapping[str, Any]
    check: Callable[[str, Any], Check | None]
    place: Place
    library: bool = False
    """Whether library code reads them too."""
    always: frozenset[str] = frozenset()
    """Names that are read although they occur in no code."""
    taken: set[str] = field(default_factory=set)


def is_python_class(kind: type) -> bool:
    """Whether a class was made by a ``class`` statement, or in the same way."""
    return bool(kind.__flags__ & _HEAP)


def is_special(name: str) -> bool:
    """Whether a name is special to Python, such as ``__len__``."""
    return name.startswith("__") and name.endswith("__")


def implicit_names(visible: Mapping[str, object]) -> Iterator[str]:
    """The special methods of a class that are called without being named in code."""
    for name, entry in visible.items():
        if is_special(name) and isinstance(entry, types.FunctionType) and name not in _EXPLICIT:
            yield name


_EXPLICIT = frozenset(
    {"__init__", "__new__", "__init_subclass__", "__class_getitem__", "__set_name__"}
    | {"__del__", "__repr__", "__setattr__"}
)
"""Special methods that do not matter for an object that already exists."""


def plain(value: object) -> bool:
    """Whether a value is a plain Python object, with its attributes in a dict or in slots."""
    kind = type(value)
    slots = any("__slots__" in cls.__dict__ for cls in kind.__mro__)
    return kind is types.SimpleNamespace or (is_python_class(kind) and (hasattr(value, "__dict__") or slots))


def is_derived(kind: type) -> bool:
    """Whether library code reads attributes of such objects: the class, or a base, belongs to a library.

    Everything that :class:`Module` itself reads is checked anyway.
    """
    own = (cls for cls in kind.__mro__ if cls.__module__ not in ("builtins", "abc", "typing") and cls is not Module)
    return any(is_library_module(cls.__module__) for cls in own)


def holds_users(value: object) -> bool:
    """Whether a library's function is a wrapper around something of the user's, such as a decorator makes."""
    stack, seen = [value], set()
    while stack:
        top = stack.pop()
        if id(top) in seen or isinstance(top, FIXED) or (is_internal(type(top)) and not isinstance(top, Module)):
            continue
        seen.add(id(top))
        if isinstance(top, types.FunctionType) and is_library_code(top.__code__, top.__globals__):
            stack.extend(cell.cell_contents for cell in top.__closure__ or () if _filled(cell))
        elif isinstance(top, tuple | list | dict):
            stack.extend(top.values() if isinstance(top, dict) else top)
        elif not isinstance(top, type | types.ModuleType | types.BuiltinFunctionType):
            return True
    return False


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return False
    return True


def reads_itself(kind: type) -> bool:
    """Whether reading an attribute runs code of the class."""
    quiet: tuple[object, ...] = (object.__getattribute__, threading.local.__getattribute__)
    return kind.__getattribute__ not in quiet


def own_fields(value: object) -> dict[str, object]:
    """The attributes in the object's own dict and slots; ABSENT for an empty slot."""
    try:
        space = value.__dict__ if isinstance(value, threading.local) else object.__getattribute__(value, "__dict__")
        own = dict(space)
    except AttributeError:
        own = {}
    for cls in type(value).__mro__:
        for name, member in cls.__dict__.items():
            if isinstance(member, types.MemberDescriptorType) and name not in own:
                try:
                    own[name] = member.__get__(value)
                except AttributeError:
                    own[name] = ABSENT
    return own


def own_field(value: object, name: str) -> object:
    return own_fields(value).get(name, ABSENT)


def instance_check(owner: object, own: Collection[str], name: str, was: object) -> Check:
    """A check of an attribute of a Python object: its own, or otherwise that of its class."""
    entry = class_entry(type(owner), name)
    described = hasattr(type(entry), "__get__") and not isinstance(entry, types.MemberDescriptorType)
    if not (reads_itself(type(owner)) or described) and (
        name in own or not isinstance(entry, types.MemberDescriptorType)
    ):
        return attribute(owner, name, was if name in own else entry)
    if name not in own and not reads_itself(type(owner)) and hasattr(owner, "__dict__"):
        return Check("{0} not in {1}.__dict__", (name, owner), lambda: name not in owner.__dict__, True)
    now = own_field(owner, name)
    return Check("{0}({1}, {2}) is {3}", (own_field, owner, name, now), functools.partial(own_field, owner, name), now)


def class_check(owner: type, name: str, was: object) -> Check:
    """A check of an entry of a class: functions and plain values as attributes, other descriptors unbound."""
    plain = isinstance(was, types.FunctionType) or not hasattr(type(was), "__get__")
    if plain and type(owner) is type:
        return attribute(owner, name, was)
    return raw_entry(owner, name, class_entry(owner, name))


def array_of(value: object) -> tuple[object, ...]:
    return array_snapshot(np.asarray(value))


def shows_memory(value: Any) -> bool:
    """Whether an object supports the buffer protocol (a bytearray, an ``array.array``, a ctypes value)."""
    try:
        memoryview(value).release()
    except (TypeError, BufferError):
        return False
    return True
