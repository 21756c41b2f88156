"""Writing values at places given by an index or a mask, and ``kthvalue``, under PyTorch's names."""

from __future__ import annotations

from ...base.checks import integer
from ...errors import DTypeError, ShapeError
from ..opdef import AbstractTensor
from ..types import bool_, int64, product
from .bounds import clip
from .composite import all_, le
from .elementwise import where
from .expect import expect
from .indexing import index_with
from .promotion import cast
from .put import counted, put
from .reduce import cumsum
from .shape import broadcast_to, flatten, normal_axis, reshape, squeeze
from .slices import piece
from .sorting import Ordered, sort
from .source import full
from .subscript import getitem


def index_put(
    x: AbstractTensor, indices: tuple[object, ...], values: AbstractTensor, accumulate: bool = False
) -> AbstractTensor:
    """``x`` with ``values`` at ``x[indices]``; with ``accumulate`` they are added, also several for one place."""
    shape = x.type.shape
    if values.type.dtype != x.type.dtype:
        raise DTypeError(f"index_put: needs values of {x.type.dtype.name}, got {values.type}")
    numbers = getitem(reshape(counted(x, product(shape)), shape), tuple(indices))
    spread = flatten(broadcast_to(values, numbers.type.shape))
    return reshape(put(flatten(x), (0,), [flatten(numbers)], spread, "add" if accumulate else "set"), shape)


def masked_scatter(x: AbstractTensor, mask: AbstractTensor, source: AbstractTensor) -> AbstractTensor:
    """``x`` with consecutive elements of ``source`` where ``mask`` is true."""
    if mask.type.dtype != bool_:
        raise DTypeError(f"masked_scatter: the mask must be bool, got {mask.type}; a comparison makes one: mask != 0")
    if source.type.dtype != x.type.dtype:
        raise DTypeError(f"masked_scatter: needs a source of {x.type.dtype.name}, got {source.type}")
    marks = flatten(cast(broadcast_to(mask, x.type.shape), int64))
    if source.type.size == 0:
        raise ShapeError(f"masked_scatter: the source {source.type} holds nothing")
    order, count = cumsum(marks, 0), full(marks, source.type.size, ())
    words = "masked_scatter: the mask holds at more places than the source has elements"
    order = expect(order, all_(le(order, count)), True, words)
    taken = index_with(flatten(source), (0,), [clip(order - 1, 0)])
    return where(mask, reshape(taken, x.type.shape), x)


def kthvalue(x: AbstractTensor, k: int, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The ``k``-th smallest element along ``dim``, counted from 1, and its index; NaN is larger than all numbers."""
    values, indices = sort(x, dim)
    if not x.type.rank:
        integer("kthvalue", "k", k, 1, 1)
        return Ordered(values, indices)
    size = x.type.shape[dim]
    place = integer("kthvalue", "k", k, 1, *([size] if isinstance(size, int) else [])) - 1
    axis = normal_axis("kthvalue", dim, x.type.rank)
    found = Ordered(piece(values, axis, place, 1), piece(indices, axis, place, 1))
    return found if keepdim else Ordered(squeeze(found.values, axis), squeeze(found.indices, axis))
