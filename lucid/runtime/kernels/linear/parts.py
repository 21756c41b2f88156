"""Products of matrices that workers share: each computes some matrices of a batch, some rows or some columns.

The operands are views; nothing is packed in advance. That suits weights that change from run to run, and products of
two computed values.
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
"""The rows and columns of a part are multiples of these, which BLAS computes at once in registers."""


@struct(frozen=True)
class Matrices:
    """The sizes of a product, or of a batch of them.

    Attributes
    ----------
    shape
        The shape of the result; its last two axes are rows and columns.
    depth
        The number of products that are added up for each element of the result.
    itemsize
        Bytes of a number.
    alone
        Whether there is a single right matrix, for all left ones.
    """

    shape: tuple[int, ...]
    depth: int
    itemsize: int
    alone: bool = True


@struct(frozen=True)
class PartCut:
    """How the work is cut: the part of each worker, of a result with ``rank`` axes."""

    parts: tuple[Part, ...]
    rank: int

    def __str__(self) -> str:
        if not self.parts:
            return "nothing"
        part = self.parts[0]
        return f"{part.last - part.first} {('columns', 'rows', 'matrices')[min(self.rank - 1 - part.axis, 2)]}"


# ---------------------------------------------------------------- ways to cut it


def ways_of(m: Matrices, threads: int, work: Callable[[tuple[int, ...]], Work] | None = None) -> list[Way]:
    """The ways to share a product: by each axis of the result, or not at all for one thread.

    ``work`` returns the work of computing a part of a given shape; by default :func:`product_work`.
    """
    work_of, rank = work or partial(product_work, m), len(m.shape)
    if threads == 1 or 0 in m.shape:
        whole = () if 0 in m.shape else (Part(0, 0, m.shape[0]),)
        return [Way(LOOP + work_of(m.shape), PartCut(whole, rank))]
    return [_share(m, axis, threads, work_of) for axis in range(rank)]


LOOP = Work(calls=1)


def _share(m: Matrices, axis: int, threads: int, work_of: Callable[[tuple[int, ...]], Work]) -> Way:
    size, rank = m.shape[axis], len(m.shape)
    least = (COLUMNS, ROWS, 1)[min(rank - 1 - axis, 2)]
    share = min(size, -(-size // (threads * least)) * least)
    parts = tuple(Part(axis, first, min(first + share, size)) for first in range(0, size, share))
    work = LOOP + work_of((*m.shape[:axis], share, *m.shape[axis + 1 :]))
    if len(parts) > 1:
        work += FORK + _crossing(m, axis, len(parts))
    return Way(work, PartCut(parts, rank))


def _crossing(m: Matrices, axis: int, workers: int) -> Work:
    """Data that one worker has written and another reads, before or after: it moves from core to core.

    Neighbouring nodes are assumed to be shared by rows, as element-wise loops and updates are. Columns of an operand
    have then been written by all workers, and columns of the result are read by all.
    """
    *batch, rows, columns = m.shape
    left, right, result = rows * m.depth, m.depth * columns, rows * columns
    numbers = (left + (right + result) / workers, right, 0)[min(len(m.shape) - 1 - axis, 2)]
    return Work(far=2 * (1 - 1 / workers) * numbers * math.prod(batch) * m.itemsize)


def product_work(m: Matrices, shape: tuple[int, ...]) -> Work:
    """The work of computing a part of this shape."""
    machine, (*batch, rows, columns) = this_machine(), shape
    packed = m.itemsize != 4 or rows * m.depth * columns > machine.unpacked
    resident = m.depth * columns * m.itemsize <= machine.l2 // 2
    times = math.prod(batch)
    product = Product(rows, m.depth, columns, m.itemsize, packed, resident, times)
    left = 2 * packed * times * rows * m.depth * m.itemsize  # BLAS packs the left matrix too, which may be the larger
    return Work((product,), near=left, loops=times, calls=1)


# ---------------------------------------------------------------- the kernel


def multiply_parts(k: Emitter, left: Operand, right: Operand, out: Operand, bias: Operand | None = None) -> None:
    """Write the loop over the parts of ``out = activation(left @ right + bias)``."""
    if not k.way.parts:
        return
    epilogue = Epilogue.of(k.node, k.ins)
    loop = BlockLoop(k, [[part] for part in k.way.parts])
    v = loop.parts(loop.bind("parts", bind_parts, loop.blocks, left, right, bias, out), PartViews)
    loop.line(
        f"np.matmul({v.left}, {v.right}, out={v.result})",
        *epilogue.terms(v.result, None if bias is None else v.bias),
        *epilogue.activation_lines(loop, v.result, out.shape),
    )
    loop.emit()
