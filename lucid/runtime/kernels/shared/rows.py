"""Products of many rows with weights: of pixels in a 1x1 convolution, of vectors in a linear layer.

Threads share the rows; where these are few, the outputs, so that every weight is packed once. What follows the product
runs on each piece while it is in the cache. In groups, where each part of a row has weights of its own,
the products are one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ....base.structs import struct
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from .cut import deal, pieces
from .epilogue import Epilogue, pixels_of_run, tiled
from .loop import BlockLoop
from .panels import WIDEST, WIDTHS, cut_for, in_panels, multiply_lines, product_of
from .panels_views import turn_panels
from .rows_views import Piece, PieceViews, bind_pieces

LEAST_ROWS = 128
"""Rows of a product, where there are so many: with fewer it spends its time streaming the weights."""


@struct(frozen=True)
class Rows:
    """The numbers of such a product.

    Attributes
    ----------
    rows, depth, outputs
        Of each row so many outputs are made, each of ``depth`` numbers.
    passes
        How often what follows goes over the result.
    groups
        The numbers of a row, and its outputs, fall into so many groups, which have nothing to do with each other.
    """

    rows: int
    depth: int
    outputs: int
    passes: int
    groups: int = 1

    @property
    def numbers(self) -> int:
        """Of a row."""
        return self.depth * self.groups

    def parted(self, outputs: int) -> tuple[int, int]:
        """Of how many groups so many outputs are, and how many of each."""
        each = max(1, self.outputs // self.groups)
        return (outputs // each, each) if self.groups > 1 else (1, outputs)


@struct(frozen=True)
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
    """The most rows of a piece that leave room in the second-level cache."""
    return max(1, 3 * this_machine().l2 // 4 // (itemsize * (p.numbers + p.outputs)))


def row_runs(p: Rows, itemsize: int, threads: int) -> list[tuple[int, int]]:
    """The rows in runs, equally many for each worker."""
    share, most = -(-p.rows // threads), max(most_rows(p, itemsize), LEAST_ROWS)
    return [(a + c, a + d) for a, b in pieces(p.rows, share) for c, d in pieces(b - a, most)]


def cuts(p: Rows, runs: Iterable[tuple[int, int]], itemsize: int, threads: int) -> dict[PieceCut, Work]:
    """Ways to share the work, by these runs of rows or by outputs, with what the busiest worker does."""
    found = [_cut(deal([Piece(a, b, 0, p.outputs) for a, b in runs], threads))]
    if p.outputs >= 16 * threads and (threads > 1 or (p.groups == 1 and not in_panels(p.outputs))):
        most = max(64, this_machine().l2 // 4 // max(1, p.rows * itemsize))
        found.append(_cut([Piece(0, p.rows, c, d) for c, d in mine] for mine in _shares(p, most, threads)))
    return {cut: _work(p, cut, itemsize) for cut in found}


def _shares(p: Rows, most: int, threads: int) -> Iterator[list[tuple[int, int]]]:
    """The outputs of each worker, in ranges of at most so many; of whole groups, where there are several."""
    if p.groups == 1:
        for a, b in pieces(p.outputs, -(-p.outputs // threads)):
            yield [(a + c, a + d) for c, d in _ranges(b - a, most)]
        return
    groups, each = p.parted(p.outputs)
    for a, b in pieces(groups, -(-groups // threads)):
        yield [((a + c) * each, (a + d) * each) for c, d in pieces(b - a, most // each)]


def _ranges(outputs: int, most: int) -> list[tuple[int, int]]:
    """Outputs in ranges of at most so many, each of whole panels; those that fill no panel in one of their own."""
    width = next((width for width in WIDTHS if outputs % width == 0), WIDEST)
    panels = outputs // width
    found = [(a * width, b * width) for a, b in pieces(panels, max(1, most // width))]
    return [*found, *([(panels * width, outputs)] if panels * width < outputs else [])]


def _cut(work: Iterable[Iterable[Piece]]) -> PieceCut:
    return PieceCut(tuple(map(tuple, work)))


def _work(p: Rows, cut: PieceCut, itemsize: int) -> Work:
    sizes = [[piece.size for piece in mine] for mine in cut.pieces]
    return Work.of_busiest(sizes, lambda size: _piece_work(p, *size, itemsize), math.prod)


def _piece_work(p: Rows, rows: int, outputs: int, itemsize: int) -> Work:
    machine, result = this_machine(), rows * outputs * itemsize
    resident = p.depth * outputs * itemsize <= machine.l2 // 2
    groups, each = p.parted(outputs)
    product = product_of(machine, rows, p.depth, each, itemsize, resident)._replace(times=groups)
    inside, moved = result + rows * p.depth * groups * itemsize <= machine.l2, 2 * p.passes * result
    return Work(
        (product,),
        near=moved if inside else 0.0,
        far=0.0 if inside else moved,
        loops=rows * groups if p.groups > 1 else 0,  # a row's numbers of one group are a run of their own
        calls=1 + p.passes,
    )


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
        *epilogue.activation_lines(loop, v.runs, y.shape),
    )
    loop.emit()


def _weights(k: Emitter, p: Rows, every: Sequence[Piece]) -> list[tuple[tuple[int, int], int, Operand]]:
    """For each range of outputs that, the rows of a block of its products, and its panels.

    These are (panels, depth, width), in groups (groups, panels, depth, width). Weights that change from run to run are
    one panel, as they lie: BLAS packs them sooner.
    """
    most: dict[tuple[int, int], int] = {}
    for piece in every:
        most[piece.outputs] = max(most.get(piece.outputs, 0), piece.size[0])
    return [((a, b), *_panels(k, p, a, b, rows)) for (a, b), rows in most.items()]


def _panels(k: Emitter, p: Rows, a: int, b: int, rows: int) -> tuple[int, Operand]:
    """The rows of a block, and the panels of these outputs."""
    w = k.ins[1]
    groups, outputs = p.parted(b - a)
    if w.phase is not Phase.STATE:
        w = w if w.shape[1] == p.depth else k.laid_out(w)  # of one tap they are seen as rows however they lie
        parted = k.seen(f"{w}[{a}:{b}]", (groups, 1, outputs, p.depth))
        whole = k.view(w, f"{parted}.transpose(0, 1, 3, 2)", (groups, 1, p.depth, outputs), label="panels")
        return rows, whole if p.groups > 1 else k.view(w, f"{whole}[0]", whole.shape[1:], label="panel")
    cut = cut_for(k, rows, p.depth, outputs)
    with k.once(w):
        panels = k.scratch(((b - a) // cut.width, p.depth, cut.width), w.dtype, "packed")
        k.line(f"{k.use(turn_panels)}({w}[{a}:{b}].reshape({b - a}, {p.depth}), {panels})")
    if p.groups > 1:
        panels = k.target(panels, (groups, outputs // cut.width, p.depth, cut.width), "groups")
    return cut.rows, panels
