"""Collating samples into a batch: numbers and arrays are stacked, their nesting is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from copy import copy

import numpy as np

from ..base.checks import shown
from ..errors import DTypeError, OptionError, ShapeError
from ..tensor.creation import as_tensor
from ..tensor.tensor import Tensor

_TEXTS = (str, bytes)


def default_collate(batch: Sequence[object]) -> object:
    """Make a batch from samples.

    Tensors, arrays and NumPy numbers are stacked; Python floats become float64, ints int64, bools bool; strings become
    a list, or a tuple if samples are tuples or lists. Dicts become dicts of batches; tuples and lists become lists of
    batches, named tuples named tuples. Anything else in a sample is an error that says where it is.
    """
    batch = list(batch)
    if not batch:
        raise OptionError("default_collate: a batch has at least one sample")
    return _collate(batch, "")


def _collate(batch: Sequence[object], path: str) -> object:
    first = batch[0]
    if isinstance(first, Tensor | np.ndarray | np.generic):
        return _stacked(batch, path)
    if isinstance(first, bool | int | float):
        return _numbers(batch, path)
    if isinstance(first, _TEXTS):
        return batch
    if isinstance(first, Mapping):
        return _dicts(first, batch, path)
    if isinstance(first, Sequence):
        columns = [_collate(column, f"{path}[{i}]") for i, column in enumerate(_columns(len(first), batch, path))]
        return _named(type(first), columns) if _is_named(first) else columns
    raise DTypeError(
        f"default_collate: {_at(path)} is {shown(first)}; samples are tensors, arrays, numbers, strings, and dicts, "
        f"tuples and lists of these: give the DataLoader a collate_fn that makes batches of others"
    )


def _dicts(first: Mapping[object, object], batch: Sequence[object], path: str) -> Mapping[object, object]:
    for one in batch:
        if not isinstance(one, Mapping) or not first.keys() <= one.keys():
            raise OptionError(f"default_collate: {_at(path)} is {shown(first)} and {shown(one)}, which lacks a key")
    rows = [one for one in batch if isinstance(one, Mapping)]
    return _alike(first, {key: _collate([row[key] for row in rows], f"{path}[{shown(key)}]") for key in first})


def _alike(given: Mapping[object, object], made: dict[object, object]) -> Mapping[object, object]:
    """A mapping of the same type with other values, if one can be made; otherwise a dict."""
    if type(given) is dict or not isinstance(given, MutableMapping):
        return made
    found = copy(given)
    found.update(made)
    return found


def _is_named(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _named(kind: Callable[..., object], values: Sequence[object]) -> object:
    """A named tuple."""
    return kind(*values)


def _columns(count: int, batch: Sequence[object], path: str) -> Iterator[tuple[object, ...]]:
    """The first elements of all samples, then the second, and so on."""
    rows: list[Sequence[object]] = []
    for one in batch:
        if not isinstance(one, Sequence) or len(one) != count:
            raise OptionError(f"default_collate: {_at(path)} has {count} parts, and in another sample is {shown(one)}")
        rows.append(one)
    return (tuple(row[i] for row in rows) for i in range(count))


def _stacked(batch: Sequence[object], path: str) -> Tensor:
    arrays = [one.numpy() if isinstance(one, Tensor) else np.asarray(one) for one in batch]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ShapeError(
            f"default_collate: {_at(path)} has the shapes {shown(shapes)}; samples of a batch have one shape"
        )
    if arrays[0].dtype.kind not in "fbiu":
        raise DTypeError(f"default_collate: {_at(path)} is an array of {arrays[0].dtype}; a batch holds numbers")
    return as_tensor(np.stack(arrays))


def _numbers(batch: Sequence[object], path: str) -> Tensor:
    try:
        array = np.asarray(batch)
    except (OverflowError, ValueError) as error:
        raise DTypeError(f"default_collate: {_at(path)}: {error}") from error
    if array.dtype.kind == "O" and all(isinstance(one, int) for one in batch):
        raise DTypeError(f"default_collate: {_at(path)} is an int of more than 64 bits, which no tensor holds")
    if array.ndim != 1 or array.dtype.kind not in "fbiu":
        raise DTypeError(f"default_collate: {_at(path)} is a number, and in another sample something else")
    return Tensor(array)


def _at(path: str) -> str:
    return f"sample{path}"


def default_convert(data: object) -> object:
    """The data with arrays and NumPy numbers as tensors; applied by loaders without batches."""
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        return as_tensor(array) if array.dtype.kind in "fbiu" else data
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, Mapping):
        return _alike(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        made = [default_convert(one) for one in data]
        return _named(type(data), made) if _is_named(data) else made
    return data
