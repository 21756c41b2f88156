"""What can be read from a Python object or class without running its code, and checks of it."""

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
from .checks import ABSENT, Check, array_picture, attribute, class_entry, raw_entry
from .code import Place, is_internal, is_library_code, is_library_module
from .values import FIXED

_HEAP = 1 << 9


@struct
class Fields:
    """Attributes of one object, as they were when it was first reached; those that are read become checks."""

    owner: Any
    values: Mapping[str, Any]
    check: Callable[[str, Any], Check | None]
    place: Place
    library: bool = False
    """Whether a library's code reads them too."""
    always: frozenset[str] = frozenset()
    """Names that are read without standing in any code."""
    taken: set[str] = field(default_factory=set)


def is_python_class(kind: type) -> bool:
    """Whether a class was made by a ``class`` statement, or as one would be."""
    return bool(kind.__flags__ & _HEAP)


def is_special(name: str) -> bool:
    """Whether a name is one of Python's own, such as ``__len__``."""
    return name.startswith("__") and name.endswith("__")


def implicit_names(visible: Mapping[str, object]) -> Iterator[str]:
    """The special methods of a class, which are called without being named."""
    for name, entry in visible.items():
        if is_special(name) and isinstance(entry, types.FunctionType) and name not in _EXPLICIT:
            yield name


_EXPLICIT = frozenset(
    {"__init__", "__new__", "__init_subclass__", "__class_getitem__", "__set_name__"}
    | {"__del__", "__repr__", "__setattr__"}
)
"""Special methods that tell nothing of an object that exists already."""


def plain(value: object) -> bool:
    """Whether a value is a Python object, whose attributes stand in a dict or slots."""
    kind = type(value)
    slots = any("__slots__" in cls.__dict__ for cls in kind.__mro__)
    return kind is types.SimpleNamespace or (is_python_class(kind) and (hasattr(value, "__dict__") or slots))


def is_derived(kind: type) -> bool:
    """Whether a library's code reads attributes of such an object: its class is the library's, or derived from one.

    Of what :class:`Module` itself reads, all is checked anyway.
    """
    own = (cls for cls in kind.__mro__ if cls.__module__ not in ("builtins", "abc", "typing") and cls is not Module)
    return any(is_library_module(cls.__module__) for cls in own)


def holds_users(value: object) -> bool:
    """Whether a library's function, as a decorator makes one, is a wrapper around something of the user's."""
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
    """The attributes that stand in the object itself: in its dict and its slots, ABSENT where a slot is empty."""
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
    """An attribute of a Python object: as it stands in the object, or, where it does not, in its class."""
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
    """An entry of a class: functions and plain values as they are read, other descriptors as they stand."""
    plain = isinstance(was, types.FunctionType) or not hasattr(type(was), "__get__")
    if plain and type(owner) is type:
        return attribute(owner, name, was)
    return raw_entry(owner, name, class_entry(owner, name))


def array_of(value: object) -> tuple[object, ...]:
    return array_picture(np.asarray(value))


def shows_memory(value: Any) -> bool:
    """Whether an object shows its memory (a bytearray, an ``array.array``, a ctypes value)."""
    try:
        memoryview(value).release()
    except (TypeError, BufferError):
        return False
    return True
