"""Arguments and results of a compiled function: tensors as a flat list, everything else as a hashable structure.

Calls with equal structures may share a trace, so a structure holds every scalar with its type, and nothing that could
change unnoticed. Containers are restored as they were: subclasses of list, tuple and dict with their attributes, and
dataclasses.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct
from ..base.texts import encoded, is_array_of_texts
from ..errors import TraceError
from ..graph.maps import Maps
from ..graph.texts import Text
from ..graph.types import wide, widened
from ..tensor.grad_mode import is_grad_enabled
from ..tensor.tensor import Tensor

Structure: TypeAlias = "tuple[Any, ...]"

LEAF: Structure = ("leaf",)
TEXT = "text"
OF_TEXTS: Structure = (TEXT, LEAF)
MAPS = "maps"
LEAVES = frozenset({"leaf", TEXT, MAPS})
"""Kinds of structures that are one tensor."""
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, np.ufunc)
_PLAIN = (bool, int, str, bytes, type(None), type(...), np.dtype, type, Enum)


_TENSORS = (Tensor, np.ndarray)


def flatten(value: object, kinds: tuple[type, ...] = _TENSORS, *, results: bool = False) -> tuple[list[Any], Structure]:
    """The tensors and arrays in nested lists, tuples, dicts and dataclasses, and the structure around them.

    With ``results``, errors are worded for what a function returns rather than for its arguments.
    """
    leaves: list[object] = []
    try:
        return leaves, _flatten(value, leaves, kinds)
    except RecursionError:
        kind = "results" if results else "arguments"
        raise TraceError(f"the {kind} contain themselves, or are nested too deeply") from None
    except _UnknownError as error:
        raise TraceError(error.about_results if results else str(error)) from None


def _computable(array: Array) -> Array:
    """The array in a type that is computed with; a copy is read-only, as changes of it would be lost."""
    found = widened(array)
    if found is not array:
        found.flags.writeable = False
    return found


def _flatten(value: Any, leaves: list[object], kinds: tuple[type, ...]) -> Structure:
    if is_array_of_texts(value):
        value = Text(encoded(value, roomy=True))
    if isinstance(value, kinds):
        leaves.append(_computable(value) if isinstance(value, np.ndarray) else value)
        return LEAF
    if isinstance(value, Text):
        return (TEXT, _flatten(value.codes, leaves, kinds))
    if isinstance(value, Maps):
        return (MAPS, value.labels, _flatten(value.scores, leaves, kinds))
    kind = type(value)
    if isinstance(value, tuple):
        return ("tuple", kind, *[_flatten(item, leaves, kinds) for item in value])
    if kind is list:
        return ("list", *[_flatten(item, leaves, kinds) for item in value])
    if kind is dict:
        return ("dict", *_pairs(value, leaves, kinds))
    if isinstance(value, list | dict) or (is_dataclass(kind) and not isinstance(value, kinds)):
        return _flatten_object(value, leaves, kinds)
    return ("static", *static_key(value), Static(value))


def _pairs(
    value: dict[object, object], leaves: list[object], kinds: tuple[type, ...]
) -> list[tuple[object, Structure]]:
    if not all(isinstance(key, str | int) for key in value):
        key = next(key for key in value if not isinstance(key, str | int))
        raise _UnknownError(
            f"a dict among the arguments has a key of type {type(key).__name__}: its keys must be strings or ints",
            f"a dict among the results has a key of type {type(key).__name__}: its keys must be strings or ints",
        )
    return [(key, _flatten(item, leaves, kinds)) for key, item in dict.items(value)]


@struct(frozen=True)
class Kind:
    """A class of containers, and what is needed besides items and attributes to make an instance."""

    cls: type
    default_factory: Callable[[], object] | None = None

    def make(self, items: Sequence[Any], attributes: Sequence[tuple[str, object]]) -> object:
        """A new container, made without ``__init__``, whose arguments are unknown."""
        make: Any = self.cls.__new__
        new: object = make(self.cls)
        if isinstance(new, list):
            list.extend(new, items)
        elif isinstance(new, dict):
            put = OrderedDict.__setitem__ if isinstance(new, OrderedDict) else dict.__setitem__
            for key, item in items:
                put(new, key, item)
        if isinstance(new, defaultdict):
            new.default_factory = self.default_factory
        for name, item in attributes:
            object.__setattr__(new, name, item)
        return new


def _flatten_object(value: object, leaves: list[object], kinds: tuple[type, ...]) -> Structure:
    """A subclass of list or dict, or a dataclass: items, then attributes (a dataclass's fields among them)."""
    items: object = ("none",)
    if isinstance(value, list):
        items = ("list", *[_flatten(item, leaves, kinds) for item in value])
    elif isinstance(value, dict):
        items = ("dict", *_pairs(value, leaves, kinds))
    names = [f.name for f in fields(value) if hasattr(value, f.name)] if is_dataclass(value) else []
    held = {**{name: getattr(value, name) for name in names}, **getattr(value, "__dict__", {})}
    kind = Kind(type(value), value.default_factory if isinstance(value, defaultdict) else None)
    return ("object", kind, items, ("dict", *_pairs(held, leaves, kinds)))


class _UnknownError(TraceError):
    """A value that is neither a tensor nor a constant nor a known container.

    There is one message for arguments and one for results.
    """

    def __init__(self, about_arguments: str, about_results: str) -> None:
        super().__init__(about_arguments)
        self.about_results = about_results


class Static:
    """A value within a structure. All compare equal: the key beside each tells them apart."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static)

    def __hash__(self) -> int:
        return 0


def static_key(value: object) -> tuple[object, ...]:
    """A hashable stand-in that is equal only for values a trace cannot tell apart."""
    if isinstance(value, float | complex | np.generic):
        return type(value), repr(value)  # tells 0.0 from -0.0, and NaN is equal to itself
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, slice):
        return slice, *(static_key(part) for part in (value.start, value.stop, value.step))
    if isinstance(value, frozenset):
        return frozenset, frozenset(map(static_key, value))
    if isinstance(value, range):
        return range, value
    if isinstance(value, _FUNCTIONS):
        return type(value), value
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise _UnknownError(
        f"an argument of type {kind} may change without the compiled model noticing; pass tensors, "
        f"numbers, strings, functions, or lists, tuples and dicts of them",
        f"a result of type {kind} cannot be made anew at each call of the compiled model; return tensors, numbers, "
        f"strings, functions, or lists, tuples, dicts and dataclasses of them",
    )


Unflatten: TypeAlias = "Callable[[Iterator[object]], Any]"
"""Rebuilds a nested value from an iterator over its tensors."""


def unflatten(structure: Structure, leaves: Sequence[object]) -> Any:
    """The inverse of :func:`flatten`."""
    return unflattener(structure)(iter(leaves))


def unflattener(structure: Structure) -> Unflatten:
    """:func:`unflatten` for one structure, prepared once for many calls."""
    kind, *parts = structure
    if kind == "leaf":
        return next
    if kind == TEXT:
        text = unflattener(parts[0])
        return lambda rest: Text(text(rest))
    if kind == MAPS:
        labels, scores = parts[0], unflattener(parts[1])
        return lambda rest: Maps(scores(rest), labels)
    if kind == "tuple":
        cls, each = parts[0], list(map(unflattener, parts[1:]))
        if cls is tuple:
            return lambda rest: tuple([make(rest) for make in each])
        return lambda rest: tuple.__new__(cls, [make(rest) for make in each])
    if kind == "list":
        items = list(map(unflattener, parts))
        return lambda rest: [make(rest) for make in items]
    if kind == "dict":
        entries = [(key, unflattener(part)) for key, part in parts]
        return lambda rest: {key: make(rest) for key, make in entries}
    if kind == "object":
        return _object_unflattener(*parts)
    value = parts[-1].value
    return lambda rest: value


def _object_unflattener(kind: Kind, items: Structure, attributes: Structure) -> Unflatten:
    held, named = None if items[0] == "none" else unflattener(items), unflattener(attributes)

    def make(rest: Iterator[object]) -> object:
        found = [] if held is None else held(rest)
        return kind.make(list(found.items()) if isinstance(found, dict) else found, list(named(rest).items()))

    return make


def _within(structure: Structure) -> Iterator[Structure]:
    """The structures directly within another."""
    kind, *parts = structure
    for part in parts if kind in ("tuple", "list", "object") else [part for _, part in parts] if kind == "dict" else ():
        if isinstance(part, tuple) and part[0] != "none":
            yield part


def structures(structure: Structure) -> Iterator[Structure]:
    """A structure and all structures in it."""
    yield structure
    for part in _within(structure):
        yield from structures(part)


def statics(structure: Structure) -> Iterator[object]:
    """The values in a structure that are neither tensors nor containers."""
    return (part[-1].value for part in structures(structure) if part[0] == "static")


def leaf_structures(structure: Structure) -> Iterator[Structure]:
    """The structure at each tensor, in order: the tensor itself, a text made of codes, or a map made of scores."""
    if structure[0] in LEAVES:
        yield structure
    else:
        for part in _within(structure):
            yield from leaf_structures(part)


def _counts(name: str, wanted: int, got: int) -> str:
    if name:
        return f"{name} has {wanted} entries, got {got}"
    return f"it was compiled for {wanted} positional input{'s' * (wanted != 1)}, the call has {got}"


def arranged(structure: Structure, value: Any, name: str = "") -> list[object]:
    """The tensors of ``value`` in the order of a structure; raises TraceError where it has another."""
    kind, *parts = structure
    if kind == "leaf":
        if isinstance(value, _TENSORS):
            return [_computable(value) if isinstance(value, np.ndarray) else value]
        raise TraceError(f"{name or 'an input'} is a tensor, got a {type(value).__name__}")
    if kind == "dict" and type(value) is dict and set(value) == {key for key, _ in parts}:
        items = [(part, value[key], f"{name}.{key}" if name else str(key)) for key, part in parts]
    elif kind in ("tuple", "list") and flatten(value)[1][0] == kind:
        parts = parts[1:] if kind == "tuple" else parts
        if len(value) != len(parts):
            raise TraceError(_counts(name, len(parts), len(value)))
        labels = [f"{name}[{i}]" if name else "" for i in range(len(parts))]
        items = list(zip(parts, value, labels, strict=True))
    else:
        leaves, given = flatten(value)
        if given == structure:
            return leaves
        wanted = [key for key, _ in parts] if kind == "dict" else kind
        got = list(value) if isinstance(value, dict) else f"a {type(value).__name__}"
        raise TraceError(f"{name or 'the call'} is {wanted}, got {got}")
    return [leaf for part, item, label in items for leaf in arranged(part, item, label)]


def leaf_names(structure: Structure, prefix: str, unnamed: str = "input") -> Iterable[str]:
    """A readable name for every leaf, in order: ``x``, ``x.0``, ``x.mask``; in a list without a prefix ``input_0``."""
    kind, *parts = structure
    if kind in LEAVES:
        yield prefix
    elif kind == "dict":
        for key, part in parts:
            yield from leaf_names(part, f"{prefix}.{key}" if prefix else str(key), unnamed)
    elif kind == "object":
        for part in parts[1:]:
            yield from leaf_names(part, prefix, unnamed)
    elif kind in ("tuple", "list"):
        for i, part in enumerate(parts[1:] if kind == "tuple" else parts):
            yield from leaf_names(part, f"{prefix}.{i}" if prefix else f"{unnamed}_{i}", unnamed)


DEEPEST = 100
"""How deep a file may nest arguments and results."""


def to_json(structure: Structure, depth: int = 0) -> object:
    """A structure as JSON; raises TraceError for values that a file cannot hold."""
    if depth > DEEPEST:
        raise TraceError(f"arguments or results nested more than {DEEPEST} deep cannot be saved")
    kind, *parts = structure
    if kind in ("leaf", TEXT):
        return [kind]
    if kind == MAPS:
        return [kind, *parts[0]]
    if kind == "tuple":
        return ["tuple", *(to_json(part, depth + 1) for part in parts[1:])]  # a named tuple comes back as a plain one
    if kind == "object":  # a subclass of list or dict as a plain one, a dataclass as a dict of its fields
        _, items, attributes = parts
        if items[0] == "list" and len(attributes) > 1:
            raise TraceError("a list with attributes, among the arguments or results, cannot be saved")
        return to_json(items if items[0] == "list" else ("dict", *items[1:], *attributes[1:]), depth)
    if kind == "list":
        return ["list", *(to_json(part, depth + 1) for part in parts)]
    if kind == "dict":
        return ["dict", *([key, to_json(part, depth + 1)] for key, part in parts)]
    value = parts[-1].value
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return ["static", value]
    raise TraceError(f"a {type(value).__name__} among the arguments or results cannot be saved")


def from_json(data: Any, depth: int = 0) -> Structure:
    """The inverse of :func:`to_json`; raises TraceError for anything else."""
    if depth > DEEPEST:
        raise TraceError(f"a structure of arguments is nested more than {DEEPEST} deep")
    match data:
        case ["leaf"]:
            return LEAF
        case ["text"]:
            return OF_TEXTS
        case ["maps", *labels] if {type(label) for label in labels} in ({int}, {str}):
            return (MAPS, tuple(labels), LEAF)
        case ["tuple", *parts]:
            return ("tuple", tuple, *(from_json(part, depth + 1) for part in parts))
        case ["list", *parts]:
            return ("list", *(from_json(part, depth + 1) for part in parts))
        case ["dict", *parts] if all(map(_is_item, parts)) and len({key for key, _ in parts}) == len(parts):
            return ("dict", *((key, from_json(part, depth + 1)) for key, part in parts))
        case ["static", None | bool() | int() | float() | str() as value]:
            return ("static", *static_key(value), Static(value))
    raise TraceError(f"not a structure of arguments: {str(data)[:60]}")


def _is_item(part: object) -> bool:
    return isinstance(part, list) and len(part) == 2 and type(part[0]) in (str, int)


def array_signature(args: tuple[object, ...]) -> tuple[object, ...] | None:
    """A key for calls with arrays and tensors without gradients: calls with equal keys run alike; None for others."""
    found: list[object] = [is_grad_enabled()]
    for x in args:
        if type(x) is np.ndarray:
            array = x
        elif type(x) is Tensor and not x.requires_grad:
            array = x._array
        else:
            return None
        if array.dtype.itemsize < 4 and wide(array.dtype) != array.dtype:
            return None
        found.append((type(x), array.shape, array.dtype, array.strides))
    return tuple(found)
