"""Products of many rows with weights: of pixels in a 1x1 convolution, of vectors in a linear layer.

Threads share the rows; where these are few, the outputs, so that every weight is packed once. What follows the product
runs on each piece while it is in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...planning.machine import this_machine
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from .cut import deal, pieces
from .epilogue import Epilogue, pixels_of_run, tiled
from .loop import BlockLoop
from .panels import WIDEST, cut_for, in_panels, multiply_lines, product_of
from .panels_views import turn_panels
from .rows_views import Piece, PieceViews, bind_pieces

LEAST_ROWS = 128
"""Rows of a product, where there are so many: with fewer it spends its time streaming the weights."""


@dataclass(frozen=True)
class Rows:
    """The numbers of such a product.

    Attributes
    ----------
    rows, depth, outputs
        Of ``rows`` times ``depth`` numbers as many outputs are made of each row.
    passes
        How often what follows goes over the result.
    """

    rows: int
    depth: int
    outputs: int
    passes: int


@dataclass(frozen=True)
class PieceCut:
    """How the work is cut: the pieces of each worker."""

    pieces: tuple[tuple[Piece, ...], ...]

    def __str__(self) -> str:
        return "{} pixels x {} outputs".format(*self.pieces[0][0].size) if self.pieces else "nothing"

    def by_outputs(self, p: Rows) -> bool:
        """Whether workers share the outputs."""
        return any(piece.outputs != (0, p.outputs) for mine in self.pieces for piece in mine)


# ---------------------------------------------------------------- ways to cut it


def most_rows(p: Rows, itemsize: int) -> int:
    """Rows of a piece that leave the second-level cache room."""
    return max(1, 3 * this_machine().l2 // 4 // (itemsize * (p.depth + p.outputs)))


def row_runs(p: Rows, itemsize: int, threads: int) -> list[tuple[int, int]]:
    """The rows in runs, as many for each worker."""
    share, most = -(-p.rows // threads), max(most_rows(p, itemsize), LEAST_ROWS)
    return [(a + c, a + d) for a, b in pieces(p.rows, share) for c, d in pieces(b - a, most)]


def cuts(p: Rows, runs: Iterable[tuple[int, int]], itemsize: int, threads: int) -> dict[PieceCut, Work]:
    """Ways to share the work, by these runs of rows or by outputs, with what the busiest worker does."""
    found = [_cut(deal([Piece(a, b, 0, p.outputs) for a, b in runs], threads))]
    if p.outputs >= 16 * threads and (threads > 1 or not in_panels(p.outputs)):
        most = max(64, this_machine().l2 // 4 // max(1, p.rows * itemsize))
        shares = pieces(p.outputs, -(-p.outputs // threads))
        found.append(_cut([Piece(0, p.rows, a + c, a + d) for c, d in _ranges(b - a, most)] for a, b in shares))
    return {cut: _work(p, cut, itemsize) for cut in found}


def _ranges(outputs: int, most: int) -> list[tuple[int, int]]:
    """Outputs in ranges of at most so many; those that fill no panel in one of their own."""
    whole = outputs if in_panels(outputs) else outputs // WIDEST * WIDEST
    return [*pieces(whole, most), *([(whole, outputs)] if whole < outputs else [])]


def _cut(work: Iterable[Iterable[Piece]]) -> PieceCut:
    return PieceCut(tuple(map(tuple, work)))


def _work(p: Rows, cut: PieceCut, itemsize: int) -> Work:
    sizes = [[piece.size for piece in mine] for mine in cut.pieces]
    return Work.of_busiest(sizes, lambda size: _piece_work(p, *size, itemsize), math.prod)


def _piece_work(p: Rows, rows: int, outputs: int, itemsize: int) -> Work:
    machine, result = this_machine(), rows * outputs * itemsize
    resident = p.depth * outputs * itemsize <= machine.l2 // 2
    product = product_of(machine, rows, p.depth, outputs, itemsize, resident)
    inside, moved = result + rows * p.depth * itemsize <= machine.l2, 2 * p.passes * result
    return Work((product,), near=moved if inside else 0.0, far=0.0 if inside else moved, calls=1 + p.passes)


# ---------------------------------------------------------------- the kernel


def multiply_rows(
    loop: BlockLoop[Piece], p: Rows, rows: Operand, y: Operand, bias: Operand | None, residual: Operand | None = None
) -> None:
    """The loop over pieces of ``y = activation(rows @ weights + bias + residual)``, all of them matrices."""
    k = loop.k
    epilogue = Epilogue.of(k.node, k.ins)
    shared = k.way.by_outputs(p)
    tile = 1 if shared else pixels_of_run(p.outputs, (piece.size[0] for piece in loop.every))
    weights = _weights(k, p, loop.every)
    row = None if bias is None else tiled(k, bias, tile)
    views = loop.bind("products", bind_pieces, loop.blocks, tile, rows, weights, y, row, residual)
    v = loop.parts(views, PieceViews)
    loop.line(
        multiply_lines(k, v.products),
        *epilogue.terms(v.runs, None if row is None else v.bias, None if residual is None else v.residual),
        *epilogue.activation_lines(k, v.runs, y.shape),
    )
    loop.emit()


def _weights(k: Emitter, p: Rows, every: Sequence[Piece]) -> list[tuple[tuple[int, int], int, Operand]]:
    """For each range of outputs that, the rows of a block of its products, and its panels (panels, depth, width)."""
    most: dict[tuple[int, int], int] = {}
    for piece in every:
        most[piece.outputs] = max(most.get(piece.outputs, 0), piece.size[0])
    packed, w = [], k.ins[1]
    with k.once(w):
        for (a, b), rows in most.items():
            cut = cut_for(k, rows, p.depth, b - a)
            panels = k.scratch(((b - a) // cut.width, p.depth, cut.width), w.dtype, "packed")
            k.line(f"{k.use(turn_panels)}({w}[{a}:{b}].reshape({b - a}, {p.depth}), {panels})")
            packed.append(((a, b), cut.rows, panels))
    return packed
