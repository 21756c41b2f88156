"""Repeating elements, each as often as a tensor says."""

from __future__ import annotations

import numpy as np

from ...errors import DTypeError, OptionError, ShapeError, TraceError
from ..assume import is_equal
from ..dims import Dim, as_dim
from ..opdef import AbstractTensor
from ..types import int64
from .composite import all_, eq
from .data_dependent import known
from .expect import expect
from .indexing import index_select
from .promotion import cast
from .put import counted
from .reduce import cumsum
from .searching import searchsorted
from .shape import broadcast_to, flatten, normal_axis
from .shape import repeat_interleave as repeat_alike

_NAME = "repeat_interleave"


def repeat_interleave(
    x: AbstractTensor, repeats: object = None, dim: int | None = None, output_size: Dim | None = None
) -> AbstractTensor:
    """Each element (or each slice along ``dim``) several times in a row; without ``dim`` of the flat tensor.

    Parameters
    ----------
    x
        What is repeated; alone it says how often 0, 1, 2, … are.
    repeats
        How often: a number, or a vector with one for each.
    dim
        The axis of the slices.
    output_size
        How many there are in the end; a model that is compiled cannot know it where ``repeats`` is computed.
    """
    if repeats is None:
        return _numbers(x, output_size)
    if isinstance(repeats, list | tuple | np.ndarray):
        repeats = x.constant(np.asarray(repeats))
    array = known(repeats) if isinstance(repeats, AbstractTensor) else None
    if array is not None and array.shape == (1,) and array.dtype.kind in "iu":
        repeats = int(array[0])
    if not isinstance(repeats, AbstractTensor) or not repeats.type.rank:
        return repeat_alike(x, repeats, dim)  # type: ignore[arg-type]  # it says what a count is
    x = flatten(x) if dim is None else x
    axis = normal_axis(_NAME, 0 if dim is None else dim, x.type.rank)
    size = x.type.shape[axis]
    if repeats.type.rank != 1 or not (repeats.type.shape[0] == 1 or is_equal(repeats.type.shape[0], size)):
        raise ShapeError(f"{_NAME}: repeats is a number or a vector of {size}, got {repeats.type}")
    repeats = repeats if is_equal(repeats.type.shape[0], size) else broadcast_to(repeats, (size,))
    return index_select(x, axis, _numbers(repeats, output_size))


def _numbers(counts: AbstractTensor, size: Dim | None) -> AbstractTensor:
    """The indices 0, 1, 2, …, each repeated ``counts[i]`` times; ``size`` is their number, if known."""
    if counts.type.rank != 1 or counts.type.dtype.kind not in "iu":
        raise DTypeError(f"{_NAME}: repeats are a vector of integers, got {counts.type}")
    array = known(counts)
    if array is not None:
        if (array < 0).any():
            raise OptionError(f"{_NAME}: repeats must not be negative, got {array.min()}")
        if size is not None and as_dim(size, _NAME) != array.sum():
            raise ShapeError(f"{_NAME}: output_size is {size}, the repeats add up to {array.sum()}")
        return counts.constant(np.repeat(np.arange(array.size), array))
    if size is None:
        raise TraceError(
            f"{_NAME} has a data-dependent shape, which a static graph cannot hold; give output_size, or the "
            f"repeats as a list"
        )
    ends, size = cumsum(cast(counts, int64), 0), as_dim(size, _NAME)
    right = eq(ends[-1:], size) if size else eq(ends, 0)
    ends = expect(ends, all_(right), True, f"{_NAME}: output_size is not what the repeats add up to")
    return searchsorted(ends, counted(ends, size), right=True)
