"""Views of what each piece of a product of rows with weights reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from .cut import Deal, Steps, per_block
from .panels_views import small_products


class Piece(NamedTuple):
    """A part of a product: rows ``r0`` to ``r1`` and outputs ``c0`` to ``c1`` (exclusive)."""

    r0: int
    r1: int
    c0: int
    c1: int

    @property
    def rows(self) -> slice:
        return slice(self.r0, self.r1)

    @property
    def columns(self) -> slice:
        return slice(self.c0, self.c1)

    @property
    def outputs(self) -> tuple[int, int]:
        """Its range of outputs: the first, and the one after the last."""
        return self.c0, self.c1

    @property
    def size(self) -> tuple[int, int]:
        """The number of rows, and of outputs."""
        return self.r1 - self.r0, self.c1 - self.c0


class PieceViews(NamedTuple):
    """The views of one piece: its batches of products, and its results, bias (or floor) and residual, run by run."""

    products: Steps
    runs: Array
    bias: Array | None
    residual: Array | None


def bind_pieces(
    work: Deal[Piece], tile: int, rows: Array, weights: Sequence[tuple[tuple[int, int], int, Array]], results: Array,
    bias: Array | None, residual: Array | None,
) -> list[list[PieceViews]]:  # fmt: skip
    """The views of each piece.

    Parameters
    ----------
    work
        The pieces of each worker.
    tile
        Rows of a run, to which the bias is added at once; 1 if pieces have only some of the outputs.
    rows, results, residual
        Matrices of all rows.
    weights
        For each range of outputs: the range, the rows of a block of products, and the panels of the weights
        (by groups, if they have four axes).
    bias
        Repeated ``tile`` times; for a ``tile`` of 1, of all outputs.
    """
    matrices = {outputs: (block, panels) for outputs, block, panels in weights}
    return per_block(lambda p: _views(p, tile, rows, matrices, results, bias, residual), work)


def _views(
    p: Piece, tile: int, rows: Array, weights: Mapping[tuple[int, int], tuple[int, Array]], results: Array,
    bias: Array | None, residual: Array | None,
) -> PieceViews:  # fmt: skip
    own = results[p.rows, p.columns]
    runs = own if tile == 1 else as_view(results[p.rows], -1, tile * results.shape[1])
    block, panels = weights[p.outputs]
    return PieceViews(
        list(small_products(*_in_groups(p, rows, panels, own), block)), runs,
        bias if bias is None or tile > 1 else bias[p.columns],
        None if residual is None else as_view(residual[p.rows, p.columns], runs.shape),
    )  # fmt: skip


def _in_groups(p: Piece, rows: Array, panels: Array, own: Array) -> tuple[Array, Array, Array]:
    """A piece's rows, panels and results; as batches with a leading axis of groups, if the panels have one."""
    if panels.ndim == 3:
        return rows[p.rows], panels, own
    (count, outputs), groups, depth = p.size, len(panels), panels.shape[-2]
    first = p.c0 * groups // outputs * depth
    read = as_view(rows[p.rows, first : first + groups * depth], count, groups, depth)
    results = as_view(own, count, groups, outputs // groups)
    return read.transpose(1, 0, 2), panels, results.transpose(1, 0, 2)
