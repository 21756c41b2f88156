"""The arrays that the pieces of a product of rows with weights read and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from .cut import Deal, Steps, per_block
from .panels_views import small_products


class Piece(NamedTuple):
    """Some rows of a product, and some outputs of them."""

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
        """The first of its outputs, and the one after the last."""
        return self.c0, self.c1

    @property
    def size(self) -> tuple[int, int]:
        """The number of rows, and of outputs of each."""
        return self.r1 - self.r0, self.c1 - self.c0


class PieceViews(NamedTuple):
    """Of one piece: its products, what they make by runs, and what is added to these or compared with them."""

    products: Steps
    runs: Array
    bias: Array | None
    residual: Array | None


def bind_pieces(
    work: Deal[Piece], tile: int, rows: Array, weights: Sequence[tuple[tuple[int, int], int, Array]], made: Array,
    bias: Array | None, residual: Array | None,
) -> list[list[PieceViews]]:  # fmt: skip
    """The views of each piece.

    Parameters
    ----------
    work
        The pieces of each worker.
    tile
        Rows of a run, which ``bias`` is as long as; 1 where pieces share the outputs.
    rows, made, residual
        Matrices of all rows.
    weights
        For each range of outputs that, the rows of a block of products, and the panels of its weights; where these are
        those of groups, each goes with its own part of a row.
    bias
        Of a run, or of a row and at least as long.
    """
    matrices = {outputs: (block, panels) for outputs, block, panels in weights}
    return per_block(lambda p: _views(p, tile, rows, matrices, made, bias, residual), work)


def _views(
    p: Piece, tile: int, rows: Array, weights: Mapping[tuple[int, int], tuple[int, Array]], made: Array,
    bias: Array | None, residual: Array | None,
) -> PieceViews:  # fmt: skip
    own = made[p.rows, p.columns]
    runs = own if tile == 1 else as_view(made[p.rows], -1, tile * made.shape[1])
    block, panels = weights[p.outputs]
    return PieceViews(
        list(small_products(*_in_groups(p, rows, panels, own), block)), runs,
        bias if bias is None or tile > 1 else bias[p.columns],
        None if residual is None else as_view(residual[p.rows, p.columns], runs.shape),
    )  # fmt: skip


def _in_groups(p: Piece, rows: Array, panels: Array, own: Array) -> tuple[Array, Array, Array]:
    """A piece's rows, weights and results, as (groups, rows, numbers of a group) if the weights are in groups."""
    if panels.ndim == 3:
        return rows[p.rows], panels, own
    (count, outputs), groups, depth = p.size, len(panels), panels.shape[-2]
    first = p.c0 * groups // outputs * depth
    read = as_view(rows[p.rows, first : first + groups * depth], count, groups, depth)
    made = as_view(own, count, groups, outputs // groups)
    return read.transpose(1, 0, 2), panels, made.transpose(1, 0, 2)
