"""Parts of tensors: sliding windows along an axis, splits, single slices and elements, and differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from ...base.arrays import Array
from ...base.checks import integer, shown
from ...errors import OptionError, ShapeError
from ..assume import is_at_least
from ..dims import Dim, as_dim
from ..opdef import AbstractTensor, T
from ..types import bool_, broadcast_shapes
from . import elementwise as ew
from . import shape as sh
from .algebra import meshgrid
from .composite import ne
from .indexing import index_with
from .put import counted
from .slices import flip, piece
from .subscript import getitem


def unfold(x: AbstractTensor, dimension: int, size: int, step: int) -> AbstractTensor:
    """Windows of ``size`` along an axis, ``step`` apart; their elements are a new last axis (``Tensor.unfold``).

    They are views of ``x``, and not written to where they overlap.
    """
    axis = sh.normal_axis("unfold", dimension, x.type.rank, scalar=True)
    size, step = integer("unfold", "size", size, 0), integer("unfold", "step", step, 1)
    lane = x if x.type.rank else sh.reshape(x, 1)
    length = lane.type.shape[axis]
    if not is_at_least(length, size, likely=True):
        raise ShapeError(f"unfold: there is no window of {size} elements along axis {axis} of {x.type}")
    starts = counted(x, (length - size) // step + 1) * step
    places = sh.unsqueeze(starts, 1) + counted(x, size)
    windows = index_with(lane, (axis,), [places])
    order = [*range(axis + 1), *range(axis + 2, lane.type.rank + 1), axis + 1]
    windows = sh.permute(windows, order)
    found: AbstractTensor = windows if x.type.rank else sh.squeeze(windows, 0)

    def see(array: Array) -> Array:
        flat = array if array.ndim else array.reshape(1)
        every = np.lib.stride_tricks.sliding_window_view(flat, size, axis, writeable=True)
        seen: Array = every[(*[slice(None)] * axis, slice(None, None, step))]
        return seen if array.ndim else seen[0]

    found.part_of(x, lambda whole: unfold(whole, dimension, size, step), see, several=step < size)
    return found


def select(x: T, dim: int, index: Dim) -> T:
    """The slice at ``index`` along ``dim``, which it does not have."""
    axis = sh.normal_axis("select", dim, x.type.rank)
    return getitem(x, (*(slice(None),) * axis, as_dim(index, "select")))


def take(x: AbstractTensor, index: AbstractTensor) -> AbstractTensor:
    """The elements of the flat tensor at ``index``, in its shape."""
    return index_with(sh.flatten(x), (0,), [index])


def tensor_split(x: T, indices_or_sections: int | Sequence[Dim], dim: int = 0) -> tuple[T, ...]:
    """``x`` cut along ``dim`` at the given indices, or into a number of parts whose sizes differ by 1 at most."""
    axis = sh.normal_axis("tensor_split", dim, x.type.rank)
    whole = x.type.shape[axis]
    if isinstance(indices_or_sections, list | tuple):
        ends = [_within(as_dim(at, "tensor_split"), whole) for at in indices_or_sections]
    else:
        count = integer("tensor_split", "indices_or_sections", indices_or_sections, 1)
        ends = list(accumulate((whole + count - i) // count for i in range(1, count)))
    starts, ends = [0, *ends], [*ends, whole]
    sizes = [b - a for a, b in zip(starts, ends, strict=True)]
    return tuple(
        piece(x, axis, start, size if is_at_least(size, 0) else 0) for start, size in zip(starts, sizes, strict=True)
    )


def _within(place: Dim, whole: Dim) -> Dim:
    """A position, counted from the end if negative, clamped to between 0 and ``whole``."""
    place = place if is_at_least(place, 0) else whole + place
    if not is_at_least(place, 0):
        return 0
    return place if is_at_least(whole, place) else whole


def _split_along(name: str, least: int, axis_of: Callable[[int], int], doc: str) -> Callable[..., tuple[T, ...]]:
    """``hsplit`` and its relatives: a split into equal parts or at indices, along an axis that depends on the rank."""

    def parted(x: T, indices_or_sections: int | Sequence[Dim]) -> tuple[T, ...]:
        if x.type.rank < least:
            raise ShapeError(f"{name}: needs a tensor of rank {least} or more, got {x.type}")
        axis = axis_of(x.type.rank)
        size = x.type.shape[axis]
        count = indices_or_sections if isinstance(indices_or_sections, int) else 0
        if count > 0 and not is_at_least(size // count * count, size, likely=True):
            raise ShapeError(f"{name}: axis {axis} of {x.type} does not divide into {count} parts")
        return tensor_split(x, indices_or_sections, axis)

    parted.__name__ = parted.__qualname__ = name
    parted.__doc__ = doc
    return parted


hsplit = _split_along(
    "hsplit", 1, lambda rank: min(rank - 1, 1), "``x`` cut into equal parts, or at indices, along its second axis."
)
vsplit = _split_along("vsplit", 2, lambda rank: 0, "``x`` cut into equal parts, or at indices, along its first axis.")
dsplit = _split_along("dsplit", 3, lambda rank: 2, "``x`` cut into equal parts, or at indices, along its third axis.")


def diff(
    x: AbstractTensor,
    n: int = 1,
    dim: int = -1,
    prepend: AbstractTensor | None = None,
    append: AbstractTensor | None = None,
) -> AbstractTensor:
    """The ``n``-th differences of neighbours along ``dim``, ``prepend`` and ``append`` included; of bools, changes."""
    count = integer("diff", "n", n, 0)
    if not x.type.rank:
        raise ShapeError("diff: a scalar has no neighbours")
    axis = sh.normal_axis("diff", dim, x.type.rank)
    whole = [part for part in (prepend, x, append) if part is not None]
    x = sh.concat(whole, axis) if len(whole) > 1 else x
    for _ in range(count):
        size = x.type.shape[axis]
        if not is_at_least(size, 1):
            return x
        later, earlier = piece(x, axis, 1, size - 1), piece(x, axis, 0, size - 1)
        x = ne(later, earlier) if x.type.dtype == bool_ else ew.sub(later, earlier)
    return x


def rot90(x: T, k: int = 1, dims: Sequence[int] = (0, 1)) -> T:
    """``x`` rotated ``k`` times by 90 degrees, from the first of two axes towards the second."""
    axes = sh.normal_axes("rot90", dims, x.type.rank)
    if len(axes) != 2:
        raise OptionError(f"rot90: dims are two different axes, got {shown(dims)}")
    turns = k % 4
    if turns == 2:
        return flip(x, axes)
    if turns == 1:
        return sh.transpose(flip(x, axes[1]), *axes)
    return flip(sh.transpose(x, *axes), axes[1]) if turns else x


def broadcast_tensors(*operands: AbstractTensor) -> tuple[AbstractTensor, ...]:
    """Each tensor in the shape that all broadcast to."""
    shape = broadcast_shapes("broadcast_tensors", *(x.type.shape for x in operands))
    return tuple(sh.expand(x, shape) for x in operands)


def cartesian_prod(*operands: AbstractTensor) -> AbstractTensor:
    """The Cartesian product of vectors, a row for each combination; a single vector is returned as it is."""
    if any(x.type.rank != 1 for x in operands):
        raise ShapeError(f"cartesian_prod: needs vectors, got {', '.join(str(x.type) for x in operands)}")
    grids = meshgrid(*operands)
    return sh.stack([sh.flatten(grid) for grid in ew.promote(*grids)], 1) if len(grids) > 1 else grids[0]
