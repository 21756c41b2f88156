"""``nonzero``, ``masked_select``, ``unique`` and ``bincount``, whose results have data-dependent sizes."""

from __future__ import annotations

import numpy as np

from ...base.checks import integer
from ...errors import DTypeError, OptionError, ShapeError
from ..opdef import AbstractTensor, apply
from ..types import bool_, broadcast_shapes, is_float
from .data_dependent import different, indices, places
from .indexing import INDEX_ADD, IndexAddAttrs, concrete_array, index_with
from .shape import expand, normal_axis, reshape


def nonzero(x: AbstractTensor, as_tuple: bool = False) -> AbstractTensor | tuple[AbstractTensor, ...]:
    """The int64 indices of elements other than 0, in a row for each (with ``as_tuple``, a vector for each axis)."""
    return indices(x) if as_tuple else places(x)


def argwhere(x: AbstractTensor) -> AbstractTensor:
    """The int64 indices of elements other than 0, in a row for each."""
    return places(x)


def masked_select(x: AbstractTensor, mask: AbstractTensor) -> AbstractTensor:
    """The elements of ``x`` where ``mask`` holds, as a vector; both are broadcast."""
    if mask.type.dtype != bool_:
        raise DTypeError(f"masked_select: the mask must be bool, got {mask.type}")
    shape = broadcast_shapes("masked_select", x.type.shape, mask.type.shape)
    if not shape:
        x, mask, shape = reshape(x, (1,)), reshape(mask, (1,)), (1,)
    return index_with(expand(x, shape), tuple(range(len(shape))), indices(expand(mask, shape)))


def unique(
    x: AbstractTensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> AbstractTensor | tuple[AbstractTensor, ...]:
    """The distinct elements, or slices along ``dim``, in order; NaNs are all distinct, as in PyTorch.

    With ``return_inverse`` also which of them each element is, with ``return_counts`` how many there are of each.
    """
    axis = None if dim is None else normal_axis("unique", dim, x.type.rank)
    values, _, inverse, counts = different(x, axis, nan_alike=False)
    inverse = reshape(inverse, x.type.shape) if axis is None else inverse
    more = [one for one, wanted in ((inverse, return_inverse), (counts, return_counts)) if wanted]
    return (values, *more) if more else values


def bincount(x: AbstractTensor, weights: AbstractTensor | None = None, minlength: int = 0) -> AbstractTensor:
    """How often each integer from 0 on occurs in the vector ``x``, or the sums of the ``weights`` of these."""
    least = integer("bincount", "minlength", minlength, 0)
    if x.type.rank != 1 or x.type.dtype.kind not in "iu":
        raise ShapeError(f"bincount: needs a vector of integers, got {x.type}")
    array = concrete_array(x, "bincount", "lucid.nn.functional.one_hot(x, most).sum(0) counts to a size that is known")
    if array.size and array.min() < 0:
        raise OptionError(f"bincount: counts numbers from 0 on, got {array.min()}")
    count = max(least, int(array.max()) + 1 if array.size else 0)
    if weights is None:
        return x.constant(np.bincount(array, minlength=count).astype(np.int64))
    if weights.type.shape != x.type.shape or not is_float(weights.type.dtype):
        raise ShapeError(f"bincount: the weights must be floats of the shape of {x.type}, got {weights.type}")
    return apply(INDEX_ADD, IndexAddAttrs((0,), (count,)), weights, x)
