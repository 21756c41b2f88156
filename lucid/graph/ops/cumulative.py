"""Running products, extrema and sums of exponentials along an axis, by recursive doubling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import DTypeError, TraceError
from ..opdef import AbstractTensor
from ..types import bool_, is_float
from . import elementwise as ew
from .composite import ge, le, logical_or
from .indexing import gather
from .put import counted
from .reduce import summed
from .shape import concat, expand, normal_axis, reshape
from .slices import piece
from .sorting import Ordered
from .source import full
from .special import logaddexp

Join = Callable[[Sequence[AbstractTensor], Sequence[AbstractTensor]], Sequence[AbstractTensor]]


def _joined(
    op: str, lanes: Sequence[AbstractTensor], axis: int, idle: Sequence[float], join: Join
) -> Sequence[AbstractTensor]:
    """The inclusive scan with the associative ``join(earlier, later)``; ``idle`` is its neutral element."""
    type_ = lanes[0].type
    size = type_.shape[axis]
    if not isinstance(size, int):
        raise TraceError(f"{op}: axis {axis} of {type_} has no known size; compile with that size fixed")
    step = 1
    while step < size:
        before = (*type_.shape[:axis], step, *type_.shape[axis + 1 :])
        earlier = [
            concat([full(lane, number, before), piece(lane, axis, 0, size - step)], axis)
            for lane, number in zip(lanes, idle, strict=True)
        ]
        lanes = join(earlier, lanes)
        step *= 2
    return lanes


def cumprod(x: AbstractTensor, dim: int, dtype: object = None) -> AbstractTensor:
    """Running product along ``dim``, whose size must be known, in ``dtype``."""
    x = summed(x, dtype)
    axis = normal_axis("cumprod", dim, x.type.rank, scalar=True)
    return _joined("cumprod", [x], axis, [1], lambda a, b: [a[0] * b[0]])[0] if x.type.rank else x


def logcumsumexp(x: AbstractTensor, dim: int) -> AbstractTensor:
    """Logarithm of the running sum of exponentials along ``dim``, whose size must be known; without overflow."""
    if not is_float(x.type.dtype):
        raise DTypeError(f"logcumsumexp: needs floating-point numbers, got {x.type}")
    axis = normal_axis("logcumsumexp", dim, x.type.rank, scalar=True)
    if not x.type.rank:
        return x.apart((x,))  # type: ignore[no-any-return]
    return _joined("logcumsumexp", [x], axis, [-math.inf], lambda a, b: [logaddexp(a[0], b[0])])[0]


def cummax(x: AbstractTensor, dim: int) -> Ordered:
    """The running maximum along ``dim``, whose size must be known, and its index; of equal elements the last.

    NaN is larger than all.
    """
    return _extremum("cummax", x, dim, ge)


def cummin(x: AbstractTensor, dim: int) -> Ordered:
    """The running minimum along ``dim``, whose size must be known, and its index; of equal elements the last.

    NaN is smaller than all.
    """
    return _extremum("cummin", x, dim, le)


def _extremum(
    op: str, x: AbstractTensor, dim: int, wins: Callable[[AbstractTensor, AbstractTensor], AbstractTensor]
) -> Ordered:
    axis = normal_axis(op, dim, x.type.rank, scalar=True)
    lane = x if x.type.rank else reshape(x, 1)
    size = lane.type.shape[axis]
    numbers = reshape(counted(lane, size), (size, *(1,) * (lane.type.rank - 1 - axis)))
    places = expand(numbers, lane.type.shape)

    def join(earlier: Sequence[AbstractTensor], later: Sequence[AbstractTensor]) -> Sequence[AbstractTensor]:
        taken = logical_or(wins(later[0], earlier[0]), ew.isnan(later[0]))
        return [ew.where(taken, b, a) for a, b in zip(earlier, later, strict=True)]

    _, found = _joined(op, [lane, places], axis, [_idle(lane, largest=wins is ge), 0], join)
    found = reshape(found, x.type.shape)
    return Ordered(gather(x, dim, found), found)


def _idle(x: AbstractTensor, *, largest: bool) -> float:
    """The neutral element of the maximum, or of the minimum if not ``largest``."""
    dtype = x.type.dtype
    if is_float(dtype):
        return -math.inf if largest else math.inf
    if dtype == bool_:
        return not largest
    limits = np.iinfo(dtype.name)
    return int(limits.min if largest else limits.max)
