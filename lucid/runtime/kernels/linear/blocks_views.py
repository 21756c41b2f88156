"""Views for workers that share the outputs of one row."""

from __future__ import annotations

from typing import NamedTuple

from ....base.arrays import Array
from ..shared.cut import Deal, per_block


class ColumnViews(NamedTuple):
    """The row, the weights (depth, outputs) and bias of some outputs, and their part of the result."""

    row: Array
    weights: Array
    bias: Array | None
    result: Array


def bind_columns(
    work: Deal[tuple[int, int]], row: Array, weight: Array, bias: Array | None, out: Array
) -> list[list[ColumnViews]]:
    """The views for each range of outputs."""

    def share(outputs: tuple[int, int]) -> ColumnViews:
        part = slice(*outputs)
        return ColumnViews(row, weight[part].T, None if bias is None else bias[:, part], out[:, part])

    return per_block(share, work)
