"""Products of many rows with weights: of pixels in a 1x1 convolution, of vectors in a linear layer.

Threads share the rows or, if these are few, the outputs, so that every weight is packed only once. The epilogue runs on
each piece while it is in the cache. In a grouped layer, each part of a row has weights of its own; the products of all
groups are one batch.
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
"""The least number of rows of a piece: with fewer, a product spends its time streaming the weights."""


@struct(frozen=True)
class Rows:
    """The sizes of such a product.

    Attributes
    ----------
    rows, depth, outputs
        The number of rows, of numbers of a row that each output is a sum over, and of outputs of a row.
    passes
        How many passes the epilogue makes over the result.
    groups
        The number of independent groups into which the numbers of a row, and its outputs, are divided.
    """

    rows: int
    depth: int
    outputs: int
    passes: int
    groups: int = 1

    @property
    def numbers(self) -> int:
        """How many numbers a row has."""
        return self.depth * self.groups

    def parted(self, outputs: int) -> tuple[int, int]:
        """The number of groups that this many outputs belong to, and the outputs of each."""
        each = max(1, self.outputs // self.groups)
        return (outputs // each, each) if self.groups > 1 else (1, outputs)


@struct(frozen=True)
class PieceCut:
    """How the work is cut: the pieces of each worker. Formats as the size of the first one."""

    pieces: tuple[tuple[Piece, ...], ...]

    def __str__(self) -> str:
        return "{} pixels x {} outputs".format(*self.pieces[0][0].size) if self.pieces else "nothing"

    def by_outputs(self, p: Rows) -> bool:
        """Whether workers share the outputs."""
        return any(piece.outputs != (0, p.outputs) for mine in self.pieces for piece in mine)


# ---------------------------------------------------------------- ways to cut it


def most_rows(p: Rows, itemsize: int) -> int:
    """The most rows of a piece whose rows and results take three quarters of the second-level cache."""
    return max(1, 3 * this_machine().l2 // 4 // (itemsize * (p.numbers + p.outputs)))


def row_runs(p: Rows, itemsize: int, threads: int) -> list[tuple[int, int]]:
    """The rows cut into runs, equally many for each worker."""
    share, most = -(-p.rows // threads), max(most_rows(p, itemsize), LEAST_ROWS)
    return [(a + c, a + d) for a, b in pieces(p.rows, share) for c, d in pieces(b - a, most)]


def cuts(p: Rows, runs: Iterable[tuple[int, int]], itemsize: int, threads: int) -> dict[PieceCut, Work]:
    """Ways to share the work, by these runs of rows or by outputs, each with the work of the busiest worker."""
    ways = [_cut(deal([Piece(a, b, 0, p.outputs) for a, b in runs], threads))]
    if p.outputs >= 16 * threads and (threads > 1 or (p.groups == 1 and not in_panels(p.outputs))):
        most = max(64, this_machine().l2 // 4 // max(1, p.rows * itemsize))
        ways.append(_cut([Piece(0, p.rows, c, d) for c, d in share] for share in _shares(p, most, threads)))
    return {cut: _work(p, cut, itemsize) for cut in ways}


def _shares(p: Rows, most: int, threads: int) -> Iterator[list[tuple[int, int]]]:
    """The outputs of each worker in ranges of at most ``most``; of whole groups, if there are several."""
    if p.groups == 1:
        for a, b in pieces(p.outputs, -(-p.outputs // threads)):
            yield [(a + c, a + d) for c, d in _ranges(b - a, most)]
        return
    groups, each = p.parted(p.outputs)
    for a, b in pieces(groups, -(-groups // threads)):
        yield [((a + c) * each, (a + d) * each) for c, d in pieces(b - a, most // each)]


def _ranges(outputs: int, most: int) -> list[tuple[int, int]]:
    """Outputs in ranges of at most ``most``, each of whole panels; a remainder is a range of its own."""
    width = next((width for width in WIDTHS if outputs % width == 0), WIDEST)
    panels = outputs // width
    ranges = [(a * width, b * width) for a, b in pieces(panels, max(1, most // width))]
    return [*ranges, *([(panels * width, outputs)] if panels * width < outputs else [])]


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
        loops=rows * groups if p.groups > 1 else 0,  # an inner loop for each row of each group
        calls=1 + p.passes,
    )


# ---------------------------------------------------------------- the kernel


def multiply_rows(
    loop: BlockLoop[Piece], p: Rows, rows: Operand, y: Operand, bias: Operand | None, residual: Operand | None = None
) -> None:
    """Write the loop over pieces of ``y = activation(rows @ weights + bias + residual)``."""
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
    """The weights of each range of outputs: (range, rows of a block, panels).

    Panels have shape (panels, depth, width), or (groups, panels, depth, width). Weights that change from run to run are
    left to BLAS, as one panel that views them in place: it packs them faster.
    """
    most: dict[tuple[int, int], int] = {}
    for piece in every:
        most[piece.outputs] = max(most.get(piece.outputs, 0), piece.size[0])
    return [((a, b), *_panels(k, p, a, b, rows)) for (a, b), rows in most.items()]


def _panels(k: Emitter, p: Rows, a: int, b: int, rows: int) -> tuple[int, Operand]:
    """The rows of a block, and the panels of outputs ``a`` to ``b``."""
    w = k.ins[1]
    groups, outputs = p.parted(b - a)
    if w.phase is not Phase.STATE:
        w = w if w.shape[1] == p.depth else k.laid_out(w)  # with a single tap, any memory order can be viewed as rows
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
