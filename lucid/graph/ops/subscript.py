"""``x[...]``: subscripts, translated into a slice, a reshape and an indexing op.

The rules are PyTorch's (integers select first, then tensors index), and NumPy's negative steps work too.
"""

from __future__ import annotations

from dataclasses import field
from types import EllipsisType
from typing import TypeAlias

import numpy as np

from ...base.arrays import Array
from ...base.checks import shown
from ...base.structs import struct
from ...errors import OptionError, ShapeError
from ..assume import is_at_least
from ..dims import Dim, SymDim, as_dim
from ..opdef import AbstractTensor, T
from ..types import Shape, bool_, format_shape
from .data_dependent import cut_short, indices
from .indexing import index_with
from .shape import reshape
from .slices import take_slice
from .source import constant


@struct
class _Parts:
    """The subscript by axis; ``shape`` is that of the sliced tensor without dropped axes."""

    starts: list[Dim] = field(default_factory=list)
    sizes: list[Dim] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    shape: list[Dim] = field(default_factory=list)
    indices: list[tuple[int, AbstractTensor]] = field(default_factory=list)

    def take(self, start: Dim, size: Dim, step: int = 1, *, keep: bool = True) -> None:
        self.starts.append(start)
        self.sizes.append(size)
        self.steps.append(step)
        if keep:
            self.shape.append(size)


def getitem(x: T, key: object) -> T:
    """``x[key]``: ints, slices, ``None``, ``...``, integer arrays or tensors, and bool masks.

    Raises
    ------
    ShapeError
        Too many indices, or an index out of range.
    """
    items = [_plain(x, item) for item in (key if isinstance(key, tuple) else (key,))]
    used = sum(_axes_used(item) for item in items)
    if items.count(...) > 1:
        raise ShapeError("x[...]: an index can have only one ellipsis")
    if used > x.type.rank:
        raise ShapeError(f"x[...]: {used} indices for a tensor of rank {x.type.rank} ({x.type})")
    if ... not in items:
        items.append(...)
    free, parts = x.type.rank - used, _Parts()
    x = _cut_short(x, items, free)
    for item in items:
        _consume(x, item, parts, free)
    y = reshape(take_slice(x, parts.starts, parts.sizes, parts.steps), tuple(parts.shape))
    if parts.indices:
        axes = tuple(axis for axis, _ in parts.indices)
        y = index_with(y, axes, [index for _, index in parts.indices])
    return y


def _cut_short(x: T, items: list[_Item], free: int) -> T:
    """``x`` cut at the stops of slices of axes with data-dependent sizes, which may be smaller than these."""
    axis = 0
    for number, item in enumerate(items):
        if isinstance(item, slice) and x.is_found(x.type.shape[axis]):
            start, stop = (as_dim(bound or 0, "x[...]: a slice") for bound in (item.start, item.stop))
            ahead = isinstance(start, int) and start >= 0 and item.step in (None, 1)
            if ahead and isinstance(stop, int) and stop > 0:
                x, items[number] = cut_short(x, stop, axis), slice(item.start, None)
        axis += free if item is ... else _axes_used(item)
    return x


_BOOLS = (bool, np.bool_)
_ARRAYS = (list, tuple, range, np.ndarray)


class _Mask(tuple[AbstractTensor, ...]):
    """A bool mask as the indices where it is true, a vector for each axis; ``shape`` is that of the mask."""

    shape: Shape


class _Index:
    """An integer tensor (wrapped, because tensors compare element-wise)."""

    def __init__(self, tensor: AbstractTensor) -> None:
        self.tensor = tensor


_Item: TypeAlias = "EllipsisType | slice | Dim | _Index | _Mask | None"


def _plain(x: AbstractTensor, item: object) -> _Item:
    """One item as None, ``...``, a slice, a dim, an :class:`_Index` or a :class:`_Mask`."""
    if item is None or item is ... or isinstance(item, slice):
        return item
    if isinstance(item, _BOOLS):
        raise OptionError(f"x[...]: the bool {shown(item)} is no index; a mask needs as many elements as the axis")
    if isinstance(item, AbstractTensor):
        return _mask(x, item) if item.type.dtype == bool_ else _Index(item)
    if isinstance(item, _ARRAYS):
        try:
            array = np.asarray(item)
        except ValueError as error:
            raise OptionError(f"x[...]: {shown(item)} is no index: {error}") from error
        if array.dtype.kind == "b":
            return _mask(x, array)
        if array.size == 0 and not isinstance(item, np.ndarray):
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise OptionError(f"x[...]: an array of {array.dtype} is no index; use integers or bools")
        return _Index(constant(x, array))
    if hasattr(item, "sym") or isinstance(item, SymDim) or hasattr(item, "__index__"):
        return as_dim(item, "x[...]")
    raise OptionError(
        f"x[...]: {shown(item)} is no index; use ints, slices, None, ..., integer arrays or tensors, or bool masks"
    )


def _mask(x: AbstractTensor, mask: AbstractTensor | Array) -> _Mask:
    shape = mask.type.shape if isinstance(mask, AbstractTensor) else mask.shape
    if not shape:
        raise OptionError("x[...]: a mask of rank 0 is no index")
    if isinstance(mask, AbstractTensor):
        found = _Mask(indices(mask))
    else:  # an array's true elements are known within a graph too
        found = _Mask(constant(x, places) for places in mask.nonzero())
    found.shape = shape
    return found


def _axes_used(item: _Item) -> int:
    if isinstance(item, _Mask):
        return len(item)
    return 0 if item is None or item is ... else 1


def _consume(x: AbstractTensor, item: _Item, parts: _Parts, free: int) -> None:
    """Process one item of the subscript; ``...`` stands for ``free`` axes."""
    axis = len(parts.starts)
    shape = x.type.shape
    if item is ...:
        for dim in shape[axis : axis + free]:
            parts.take(0, dim)
    elif item is None:
        parts.shape.append(1)
    elif isinstance(item, slice):
        parts.take(*normal_slice(item, shape[axis]))
    elif isinstance(item, _Mask):
        if shape[axis : axis + len(item)] != item.shape:
            raise ShapeError(
                f"x[mask]: the mask of shape {format_shape(item.shape)} does not fit axes {axis} to "
                f"{axis + len(item) - 1} of {x.type}"
            )
        for offset, places in enumerate(item):
            parts.indices.append((len(parts.shape), places))
            parts.take(0, shape[axis + offset])
    elif isinstance(item, _Index):
        parts.indices.append((len(parts.shape), item.tensor))
        parts.take(0, shape[axis])
    else:
        parts.take(_position(item, shape[axis], axis), 1, keep=False)


def _position(index: Dim, dim: Dim, axis: int) -> Dim:
    if isinstance(index, int) and isinstance(dim, int) and not -dim <= index < dim:
        raise ShapeError(f"x[...]: index {index} is out of range for axis {axis} of size {dim}")
    return index if is_at_least(index, 0) else dim + index


def normal_slice(item: slice, dim: Dim) -> tuple[Dim, Dim, int]:
    """First index, number of elements and step of a slice of an axis of size ``dim`` (``slice.indices``)."""
    bounds = (item.start, item.stop, item.step)
    start, stop, step = (None if v is None else as_dim(v, "x[...]: a slice") for v in bounds)
    step = 1 if step is None else step
    if isinstance(step, SymDim) or step == 0:
        raise OptionError(f"x[...]: the step of a slice must be an int other than 0, got {step}")
    low, high = (0, dim) if step > 0 else (-1, dim - 1)  # the range of start and stop
    first = _bound(start, low if step > 0 else high, dim, low, high)
    last = _bound(stop, high if step > 0 else low, dim, low, high)
    away = last - first if step > 0 else first - last
    if not is_at_least(away, 0, likely=True):
        return 0, 0, step
    stride = abs(step)
    return first, away if stride == 1 else (away + (stride - 1)) // stride, step


FAR = 1 << 27
"""A bound from here on is assumed to be beyond the end of any axis."""


def _bound(bound: Dim | None, default: Dim, dim: Dim, low: Dim, high: Dim) -> Dim:
    if bound is None:
        return default
    if is_at_least(bound, 0):
        return bound if is_at_least(high, bound, likely=not isinstance(bound, int) or bound < FAR) else high
    return dim + bound if is_at_least(dim + bound, low, likely=True) else low
