"""What workers that share the outputs of one row read and write."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..shared.cut import per_block


class Share(NamedTuple):
    """The row, and of some outputs their weights, bias, zeros, and place in the result."""

    row: Any
    weights: Any
    bias: Any
    zeros: Any
    made: Any


def bind_shares(work: Any, row: Any, weight: Any, bias: Any, zeros: Any, out: Any) -> list[list[Share]]:
    """For each range of outputs what it takes."""

    def share(outputs: tuple[int, int]) -> Share:
        part = slice(*outputs)
        return Share(row, weight[part].T, None if bias is None else bias[:, part], zeros[:, part], out[:, part])

    return per_block(share, work)
