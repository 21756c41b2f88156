"""What workers that share the outputs of one row read and write."""

from __future__ import annotations

from typing import NamedTuple

from ....base.arrays import Array
from ..shared.cut import Deal, per_block


class ColumnViews(NamedTuple):
    """The row, and of some outputs their weights, bias, and place in the result."""

    row: Array
    weights: Array
    bias: Array | None
    made: Array


def bind_columns(
    work: Deal[tuple[int, int]], row: Array, weight: Array, bias: Array | None, out: Array
) -> list[list[ColumnViews]]:
    """For each range of outputs what it takes."""

    def share(outputs: tuple[int, int]) -> ColumnViews:
        part = slice(*outputs)
        return ColumnViews(row, weight[part].T, None if bias is None else bias[:, part], out[:, part])

    return per_block(share, work)
