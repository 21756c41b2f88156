"""Sums over the last axes of an array as products with a column of ones, which are five times as fast."""

from __future__ import annotations

import math

from ....graph.types import TensorType, is_float
from ...program.emitter import Emitter, Operand
from ..elementwise import filled, scalar

LONGEST_ROW = 1 << 12
"""The longest row whose sum by BLAS is as accurate as pairwise summation."""


def in_rows(x: TensorType, axes: tuple[int, ...]) -> bool:
    """Whether the axes are the last ones of a row-major array of floats, with rows that are not too long."""
    lead = x.rank - len(axes)
    last = x.order is None and axes == tuple(range(lead, x.rank)) and is_float(x.dtype)
    return last and 0 < math.prod(x.concrete[lead:]) <= LONGEST_ROW


def sum_rows(k: Emitter, x: Operand, axes: tuple[int, ...], total: Operand, count: int = 1) -> None:
    """Write the sum over the last axes, divided by ``count``; ``total`` lacks these axes, or has them with size 1."""
    rows = math.prod(x.shape[: x.type.rank - len(axes)])
    width = math.prod(x.shape[x.type.rank - len(axes) :])
    column = k.use(filled(1.0 / count, x.dtype, (width, 1)), "column")
    k.line(f"{k.reshaped(x, (rows, width), 'rows')}.dot({column}, out={k.target(total, (rows, 1), 'sums')})")


def sum_over(k: Emitter, x: Operand, axes: tuple[int, ...], total: Operand, count: int = 1) -> None:
    """Write the sum over any axes, divided by ``count``; ``total`` has these axes with size 1."""
    plain = x.contiguous and total.contiguous and total.type.order is None
    if plain and not k.exact and in_rows(x.type, axes):
        sum_rows(k, x, axes, total, count)
        return
    k.line(f"np.add.reduce({x}, axis={axes}, keepdims=True, out={total})")
    if count != 1:
        k.line(f"np.divide({total}, {scalar(k, float(count), x.dtype)}, out={total})")
