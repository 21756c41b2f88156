"""Writing values into tensors at indices or where a mask is true."""

from __future__ import annotations

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
from .shape import broadcast_to, flatten, reshape
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
