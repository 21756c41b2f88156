"""Poolings as steps ``out = f(a, b)``, over rows and then over columns, and the views that the steps work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

from ....base.arrays import Array
from ....graph.windows import Axis, Tap, taps_of
from .cut import Block

#: A key into an array.
At: TypeAlias = "tuple[slice | EllipsisType, ...]"
#: The number of an array (below), and a key into it.
Part: TypeAlias = "tuple[int, At]"
#: The result of a step, and its two operands.
Step: TypeAlias = "tuple[Part, Part, Part]"

#: A call without arguments.
Call: TypeAlias = "Callable[[], object]"

X, ROWS, Y, LEAST, PAD = range(5)
"""Numbers of the arrays in steps: input, maxima over rows, output, neutral element, and value of the padding."""


def window_steps(rows: Axis, cols: Axis, block: Block, shift: tuple[int, int, int] = (0, 0, 0)) -> Iterator[Step]:
    """Steps that reduce the windows of a block, over rows and then over columns.

    ``shift`` is the image, channel and row at which the array X starts.
    """
    n, c, r0, r1 = block.images, block.channels, block.r0, block.r1
    xn, xc = (slice(s.start - by, s.stop - by) for s, by in zip((n, c), shift, strict=False))
    inner = slice(0, n.stop - n.start), slice(0, c.stop - c.start)
    row_taps, col_taps = list(rows.taps(r0, r1).values()), list(cols.taps().values())
    if not row_taps or not col_taps:  # windows in the padding only
        yield (Y, (n, c, slice(r0, r1))), (LEAST, (...,)), (LEAST, (...,))
        return
    if cols.kernel == 1:
        across = cols.source(col_taps[0])
        yield from _reduction(
            row_taps, r0, r1,
            lambda first, last: (Y, (n, c, slice(first, last))),
            lambda tap: (X, (xn, xc, rows.source(tap, shift[2]), across)),
        )  # fmt: skip
        return
    number = X if rows.kernel == 1 else ROWS
    where: tuple[slice, ...] = (*inner, slice(0, r1 - r0))
    if rows.kernel == 1:
        where = (xn, xc, rows.source(row_taps[0], shift[2]))
    else:
        yield from _reduction(
            row_taps, r0, r1,
            lambda first, last: (ROWS, (*inner, slice(first - r0, last - r0))),
            lambda tap: (X, (xn, xc, rows.source(tap, shift[2]))),
        )  # fmt: skip
    yield from _reduction(
        col_taps, 0, cols.count,
        lambda first, last: (Y, (n, c, slice(r0, r1), slice(first, last))),
        lambda tap: (number, (*where, cols.source(tap))),
    )  # fmt: skip


def _reduction(
    taps: Sequence[Tap], low: int, high: int, target: Callable[[int, int], Part], source: Callable[[Tap], Part]
) -> Iterator[Step]:
    """Steps that reduce over the taps of one axis.

    ``target(first, last)`` is the part of the result for these windows, ``source(tap)`` the part that a tap reads.
    """
    full = [tap for tap in taps if (tap.first, tap.last) == (low, high)]
    operands = [source(tap) for tap in full[:2]]
    operands += [(LEAST, (...,))] * (2 - len(operands))
    yield target(low, high), operands[0], operands[1]
    begun = full[:2]
    for tap in taps:
        if tap in begun:
            begun = [other for other in begun if other is not tap]
        else:
            part = target(tap.first, tap.last)
            yield part, part, source(tap)


def padding_steps(rows: Axis, cols: Axis, block: Block) -> Iterator[Step]:
    """Steps that combine windows at the border with the value of the padding."""
    whole = block.images, block.channels
    for run in rows.padded(block.r0, block.r1):
        yield (Y, (*whole, run)), (Y, (*whole, run)), (PAD, (...,))
    for run in cols.padded(0, cols.count):
        yield (Y, (*whole, block.rows, run)), (Y, (*whole, block.rows, run)), (PAD, (...,))


def bind_steps(
    steps: Sequence[Sequence[Sequence[Step]]], x: Array, rows: Sequence[Array | None], y: Array, least: Array,
    pad: Array | None,
) -> list[list[list[tuple[Array, Array, Array]]]]:  # fmt: skip
    """Views for the steps of each block of each worker, which has a row buffer of its own."""
    bound = []
    for mine, held in zip(steps, rows, strict=True):
        arrays: tuple[Any, ...] = (x, held, y, least, pad)
        bound.append(
            [[(arrays[i][o], arrays[j][a], arrays[k][b]) for (i, o), (j, a), (k, b) in block] for block in mine]
        )
    return bound


def tap_parts(rows: Axis, cols: Axis) -> list[tuple[int, At, At]]:
    """For each tap that is in the image for any window: its number, the elements it reads, and the windows."""
    return [(number, (..., *elements), (..., *windows)) for number, elements, windows in taps_of((rows, cols))]
