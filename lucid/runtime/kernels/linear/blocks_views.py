"""What workers that share the outputs of one row read and write."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..shared.cut import per_block


class ColumnViews(NamedTuple):
    """The row, and of some outputs their weights, bias, and place in the result."""

    row: Any
    weights: Any
    bias: Any
    made: Any


def bind_columns(work: Any, row: Any, weight: Any, bias: Any, out: Any) -> list[list[ColumnViews]]:
    """For each range of outputs what it takes."""

    def share(outputs: tuple[int, int]) -> ColumnViews:
        part = slice(*outputs)
        return ColumnViews(row, weight[part].T, None if bias is None else bias[:, part], out[:, part])

    return per_block(share, work)
