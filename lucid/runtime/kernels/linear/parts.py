"""Products of matrices that workers share: each makes some matrices of a batch, some rows or some columns.

What they multiply are views of what is there; nothing is packed first. So it is for weights that change from run to
run, and for products of two results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from ....base.structs import struct
from ...planning.machine import this_machine
from ...planning.registry import Way
from ...planning.work import FORK, Product, Work
from ...program.emitter import Emitter, Operand
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop
from .parts_views import Part, PartViews, bind_parts

ROWS, COLUMNS = 4, 16
"""Rows and columns of a part are a multiple of so many: those that BLAS makes at once."""


@struct(frozen=True)
class Matrices:
    """The numbers of a product, or of a batch of them.

    Attributes
    ----------
    made
        The shape of the result; its last two axes are rows and columns.
    depth
        Numbers that are multiplied and added for each of its numbers.
    itemsize
        Bytes of each.
    alone
        Whether there is one right matrix for all.
    """

    made: tuple[int, ...]
    depth: int
    itemsize: int
    alone: bool = True


@struct(frozen=True)
class PartCut:
    """How the work is cut: the part of each worker."""

    parts: tuple[Part, ...]
    rank: int

    def __str__(self) -> str:
        if not self.parts:
            return "nothing"
        part = self.parts[0]
        return f"{part.last - part.first} {('columns', 'rows', 'matrices')[min(self.rank - 1 - part.axis, 2)]}"


# ---------------------------------------------------------------- ways to cut it


def ways_of(m: Matrices, threads: int, work: Callable[[tuple[int, ...]], Work] | None = None) -> list[Way]:
    """The whole, or shares of each axis of the result; ``work`` is what it takes to make a part of some shape."""
    one, rank = work or partial(product_work, m), len(m.made)
    if threads == 1 or 0 in m.made:
        whole = () if 0 in m.made else (Part(0, 0, m.made[0]),)
        return [Way(LOOP + one(m.made), PartCut(whole, rank))]
    return [_share(m, axis, threads, one) for axis in range(rank)]


LOOP = Work(calls=1)


def _share(m: Matrices, axis: int, threads: int, one: Callable[[tuple[int, ...]], Work]) -> Way:
    size, rank = m.made[axis], len(m.made)
    least = (COLUMNS, ROWS, 1)[min(rank - 1 - axis, 2)]
    share = min(size, -(-size // (threads * least)) * least)
    parts = tuple(Part(axis, first, min(first + share, size)) for first in range(0, size, share))
    work = LOOP + one((*m.made[:axis], share, *m.made[axis + 1 :]))
    if len(parts) > 1:
        work += FORK + _crossing(m, axis, len(parts))
    return Way(work, PartCut(parts, rank))


def _crossing(m: Matrices, axis: int, workers: int) -> Work:
    """What each worker reads that another has made, and the other way round: from one core's cache to another's.

    Nodes before and after are taken to share rows, as loops over elements and updates do: so has what is cut by columns
    been made by all, and is read by all.
    """
    *batch, rows, columns = m.made
    left, right, made = rows * m.depth, m.depth * columns, rows * columns
    numbers = (left + (right + made) / workers, right, 0)[min(len(m.made) - 1 - axis, 2)]
    return Work(far=2 * (1 - 1 / workers) * numbers * math.prod(batch) * m.itemsize)


def product_work(m: Matrices, made: tuple[int, ...]) -> Work:
    """What it takes to make a part of this shape."""
    machine, (*batch, rows, columns) = this_machine(), made
    packed = m.itemsize != 4 or rows * m.depth * columns > machine.unpacked
    resident = m.depth * columns * m.itemsize <= machine.l2 // 2
    times = math.prod(batch)
    product = Product(rows, m.depth, columns, m.itemsize, packed, resident, times)
    left = 2 * packed * times * rows * m.depth * m.itemsize  # BLAS packs that too, which counts where it is the larger
    return Work((product,), near=left, loops=times, calls=1)


# ---------------------------------------------------------------- the kernel


def multiply_parts(k: Emitter, left: Operand, right: Operand, made: Operand, bias: Operand | None = None) -> None:
    """The loop over the parts of ``made = activation(left @ right + bias)``."""
    if not k.way.parts:
        return
    epilogue = Epilogue.of(k.node, k.ins)
    loop = BlockLoop(k, [[part] for part in k.way.parts])
    v = loop.parts(loop.bind("parts", bind_parts, loop.blocks, left, right, bias, made), PartViews)
    loop.line(
        f"np.matmul({v.left}, {v.right}, out={v.made})",
        *epilogue.terms(v.made, None if bias is None else v.bias),
        *epilogue.activation_lines(loop, v.made, made.shape),
    )
    loop.emit()
