"""States as JSON and arrays: nested dicts, lists and tuples of numbers, strings and arrays, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.checks import shown
from ..errors import FileError
from .container import TENSOR_TYPES

State: TypeAlias = object

DEEPEST = 32
"""How deep states may be nested."""

LARGEST_INT = 1 << 1024
"""The largest int that is written: readers of JSON limit the number of digits."""

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def pack(state: State) -> tuple[object, dict[str, Array]]:
    """A state as JSON, and its arrays by path, such as ``model/0.weight``."""
    arrays: dict[str, Array] = {}
    return _packed(state, "", arrays, DEEPEST), arrays


def _packed(value: State, path: str, arrays: dict[str, Array], depth: int) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        if not -LARGEST_INT <= value <= LARGEST_INT:
            raise FileError(f"a state cannot be saved: at {path or 'its top'} is an int of more than 1024 bits")
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else {"float": repr(number)}
    if hasattr(value, "__array__"):
        return {"array": _kept(np.asarray(value), path, arrays)}
    if not depth:
        raise FileError(f"a state cannot be saved: at {path} it is nested more than {DEEPEST} deep")
    if isinstance(value, list | tuple):
        items = [_packed(one, f"{path}/{i}", arrays, depth - 1) for i, one in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        for kind, name in ((str, "dict"), (int, "numbered")):
            if all(type(key) is kind for key in value):
                return {name: [[key, _packed(one, f"{path}/{key}", arrays, depth - 1)] for key, one in value.items()]}
        raise FileError(f"a state cannot be saved: the keys at {path or 'its top'} are not all strings, or all ints")
    raise FileError(
        f"a state cannot be saved: at {path or 'its top'} is {shown(value)}; "
        f"states are dicts, lists and tuples of numbers, texts and arrays"
    )


def _kept(array: Array, path: str, arrays: dict[str, Array]) -> str:
    """The name under which an array is saved: its path, with a number if that is taken."""
    if array.dtype.name not in TENSOR_TYPES:
        raise FileError(f"a state cannot be saved: at {path} is an array of {array.dtype}")
    name = plain = path.lstrip("/").replace("@", "_") or "array"
    while name in arrays:
        name = f"{plain}~{len(arrays)}"
    arrays[name] = array
    return name


def unpack(data: object, arrays: Mapping[str, Array]) -> State:
    """The inverse of :func:`pack`; every array must occur exactly once.

    Raises
    ------
    FileError
        If the data are not a packed state.
    """
    left = dict(arrays)
    state = _unpacked(data, left, DEEPEST)
    if left:
        raise FileError(f"the array {min(left)[:60]!r} has no place in it")
    return state


def _unpacked(data: object, left: dict[str, Array], depth: int) -> State:
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if depth < 0:
        raise FileError(f"it is nested more than {DEEPEST} deep")
    match data:
        case list(items):
            return [_unpacked(one, left, depth - 1) for one in items]
        case {"tuple": list(items), **rest} if not rest:
            return tuple(_unpacked(one, left, depth - 1) for one in items)
        case {"float": str(text), **rest} if not rest and text in _FLOATS:
            return _FLOATS[text]
        case {"array": str(name), **rest} if not rest:
            if name not in left:
                raise FileError(f"the array {name[:60]!r} is not there, or in two places")
            return left.pop(name)
        case {"dict": list(items), **rest} if not rest:
            return _mapping(items, str, left, depth)
        case {"numbered": list(items), **rest} if not rest:
            return _mapping(items, int, left, depth)
    raise FileError(f"it holds something that is not a state: {shown(data)}")


def _mapping(items: list[object], kind: type, left: dict[str, Array], depth: int) -> dict[object, State]:
    found: dict[object, State] = {}
    for one in items:
        if not isinstance(one, list) or len(one) != 2 or type(one[0]) is not kind or one[0] in found:
            raise FileError(f"it holds something that is not an entry of a dict: {shown(one)}")
        found[one[0]] = _unpacked(one[1], left, depth - 1)
    return found
