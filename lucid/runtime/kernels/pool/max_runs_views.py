"""What a max pooling over long runs of memory reads and writes: its numbers, and the calls for each block."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ....base.arrays import Array
from ....base.structs import struct
from ....graph.windows import Axis, real
from ...program.views import as_view
from ..shared.cut import Block, even_pieces, per_block, pieces
from ..shared.pooling_views import Call

#: How far apart the windows are that are joined, in memory and in the numbers of their taps; None where columns go.
Level: TypeAlias = "tuple[int, int] | None"


def _doubled(axis: Axis, apart: int, number: int) -> Iterator[tuple[int, int]]:
    """What joins the taps along an axis: two windows of some taps are one of up to twice as many."""
    taps = 1
    while taps < axis.kernel:
        more = min(taps, axis.kernel - taps)
        yield more * axis.dilation * apart, more * number
        taps += more


CODED, PIXEL = 2.5, 70
"""How many maxima take as long as one with its code, and as to copy a pixel besides its numbers."""


@struct(frozen=True)
class MaxRuns:
    """A pooling of ``planes`` images (of a channel each, where channels do not lie innermost).

    What the windows see of a plane is ``height`` times ``width`` pixels of ``step`` elements: the image, or where a
    window sees more than that a copy of it within the least of numbers. It is ``coded`` where somebody asks who won.
    """

    rows: Axis
    cols: Axis
    planes: int
    step: int
    coded: bool = True

    @property
    def height(self) -> int:
        return max(self.rows.before + self.rows.size, self.rows.held(self.rows.count))

    @property
    def width(self) -> int:
        """Of a copy a multiple of the stride, so that every so many pixels begin at the same place of each row."""
        stride = self.cols.stride
        return -(-self._seen // stride) * stride if self.padded else self.cols.size

    @property
    def _seen(self) -> int:
        return max(self.cols.before + self.cols.size, self.cols.held(self.cols.count))

    @property
    def padded(self) -> bool:
        return (self.height, self._seen) != (self.rows.size, self.cols.size)

    @property
    def row(self) -> int:
        return self.width * self.step

    @cached_property
    def fewer(self) -> int:
        """Of how many columns one is left before rows are joined: that at which windows begin.

        That copies numbers, and pixels one by one; then as many are joined as there are windows along a row.
        """
        stride, joins = self.cols.stride, len(list(_doubled(self.rows, 0, 0)))
        saved = joins * (stride - 1) * self.step * (CODED if self.coded else 1)
        copied = self.step * (1 + self.coded / 4) + (PIXEL if self.step > 1 else 0)
        return stride if saved > copied and self.width % stride == 0 else 1

    @cached_property
    def levels(self) -> list[Level]:
        """How windows are joined: along the columns, and then along the rows of the columns that are left."""
        across, down = (
            list(_doubled(axis, apart, number))
            for axis, apart, number in (
                (self.cols, self.step, 1),
                (self.rows, self.row // self.fewer, self.cols.kernel),
            )
        )
        return [*across, *([None] if self.fewer > 1 else []), *down]

    @property
    def passes(self) -> float:
        """How often the numbers are gone over, all or what is left of them."""
        where = self.levels.index(None) if None in self.levels else len(self.levels)
        return where + (len(self.levels) - where) / self.fewer

    @property
    def windows(self) -> int:
        """How many results lie side by side when windows are joined."""
        return self.step * (self.cols.count if self.fewer == self.cols.stride else 1)

    def blocks(self, most: int, least: int, workers: int) -> list[Block]:
        """Planes, or rows of windows of a single one: so many that they see up to ``most`` numbers.

        There are as many for each worker, where they then see ``least`` numbers.
        """
        plane = self.height * self.row
        if most >= plane:
            cut = even_pieces(self.planes, most // plane, -(-least // plane), workers)
            return [Block(a, b, 0, self.rows.count, 0, self.step) for a, b in cut]
        some = pieces(self.rows.count, most // (self.row * self.rows.stride))
        return [Block(p, p + 1, a, b, 0, self.step) for p in range(self.planes) for a, b in some]

    def lines(self, block: Block) -> tuple[int, int]:
        """The first and the last row that a block's windows see."""
        if block.r1 - block.r0 == self.rows.count:
            return 0, self.height
        first = block.r0 * self.rows.stride
        return first, first + self.rows.held(block.r1 - block.r0)

    def size(self, block: Block) -> int:
        """Numbers that a block's windows see."""
        first, last = self.lines(block)
        return (block.n1 - block.n0) * (last - first) * self.row

    def first_taps(self) -> Array:
        """For each window the number of its first tap that lies in the image."""
        down, right = ([axis.inside(o).low for o in range(axis.count)] for axis in (self.rows, self.cols))
        return np.add.outer(np.multiply(down, self.cols.kernel), right)

    def corners(self, block: Block, run: Array, down: int = 0, right: int = 0, fewer: int = 1) -> Array:
        """What lies at one tap of a block's windows, in elements that lie as its input does, or in fewer columns."""
        first, last = self.lines(block)
        shape = (block.n1 - block.n0, self.step, block.r1 - block.r0, self.cols.count)
        row = self.row // fewer
        strides = ((last - first) * row, 1, row * self.rows.stride, self.step * self.cols.stride // fewer)
        offset = down * self.rows.dilation * self.row + right * self.cols.dilation * self.step
        size = run.itemsize
        return np.ndarray(shape, run.dtype, run, offset * size, tuple(size * stride for stride in strides))


class Room(NamedTuple):
    """A worker's memory: a padded copy of its input; maxima and codes by turns; who won, and codes of who may.

    What is not needed is None, or empty.
    """

    copy: Array | None
    maxima: Sequence[Array]
    codes: Sequence[Array]
    won: Array
    candidates: Array


#: Maxima, their codes if not all are 0, and how many of them there are.
State: TypeAlias = "tuple[Array, Array | None, int]"

#: The least of numbers, and what padding holds where it competes.
Pads: TypeAlias = "tuple[Array, Array | None]"


def bind_max_calls(
    runs: MaxRuns, work: Sequence[Sequence[Block]], x: Array, y: Array, index: Array | None,
    room: Sequence[Sequence[Any]], least: Array, pad: Array | None,
) -> list[list[list[Call]]]:  # fmt: skip
    """The calls for each block of each worker."""
    x = as_view(x.transpose(0, 2, 3, 1) if runs.step > 1 else x, runs.planes, runs.rows.size, runs.cols.size, runs.step)
    y, index = _as_planes(y, runs), None if index is None else _as_planes(index, runs)
    binders = [_Binder(runs, x, y, index, Room(*memory), (least, pad)) for memory in room]
    return per_block(lambda block, binder: list(binder.block(block)), work, binders)


def _as_planes(x: Array, runs: MaxRuns) -> Array:
    """An array in the pooling's memory order as (planes, channels that lie innermost, rows, columns)."""
    return x if runs.step > 1 else as_view(x, runs.planes, 1, *x.shape[2:])


class _Binder:
    """Makes the calls of one worker; blocks of one size share those that work in its memory only."""

    def __init__(self, runs: MaxRuns, x: Array, y: Array, index: Array | None, room: Room, pads: Pads) -> None:
        self.runs, self.x, self.y, self.index, self.room = runs, x, y, index, room
        self.least, self.pad = pads
        self.known: dict[tuple[int, int], tuple[list[Call], list[Array]]] = {}

    def block(self, block: Block) -> Iterator[Call]:
        """The calls for one block."""
        first, last = self.runs.lines(block)
        key = block.n1 - block.n0, block.r1 - block.r0
        if self.room.copy is None:
            run = as_view(self.x[block.images, first:last], -1)
        else:
            run = self.room.copy[: self.runs.size(block)]
            yield from self._fill(block, run, first, last)
        results = [self.runs.corners(block, run)]
        if self.runs.levels:
            calls, state = self._level(0, (run, None, run.size), run.size)
            yield from calls
            if key not in self.known:
                self.known[key] = self._rest(block, state, run.size)
            rest, results = self.known[key]
            yield from rest
        at = block.images, slice(None), block.rows
        y = self.y[at]
        yield partial(np.copyto, y, results[0])
        codes = None
        if self.index is not None:
            codes = self.index[at]
            yield partial(np.copyto, codes, results[1] if results[1:] else codes.dtype.type(0))
            if y.dtype.kind == "f":
                yield partial(mark_nan, self.runs, block, run, y, codes)
        yield from self._edges(block, y, codes)

    def _fill(self, block: Block, run: Array, first: int, last: int) -> Iterator[Call]:
        """Copies the image. What lies beside it stays; rows above and below may have been another block's."""
        rows, cols = self.runs.rows, self.runs.cols
        copy = as_view(run, block.n1 - block.n0, last - first, self.runs.width, self.runs.step)
        down = real(first - rows.before, last - first, rows.size)
        right = real(-cols.before, self.runs.width, cols.size)
        yield partial(np.copyto, copy[:, down.places, right.places], self.x[block.images, down.source])
        for part in (copy[:, : down.low], copy[:, down.high :]):
            if part.size:
                yield partial(np.copyto, part, self.least)

    def _rest(self, block: Block, state: State, full: int) -> tuple[list[Call], list[Array]]:
        """The calls after those that read the input, and the results at the corners of the windows."""
        calls: list[Call] = []
        for number in range(1, len(self.runs.levels)):
            more, state = self._level(number, state, full)
            calls += more
        return calls, [self.runs.corners(block, x, fewer=self.runs.fewer) for x in state[:2] if x is not None]

    def _level(self, number: int, state: State, full: int) -> tuple[list[Call], State]:
        """The calls for one level, and what they make; the input has ``full`` numbers."""
        (m, c, size), level = state, self.runs.levels[number]
        n, d = self.room.maxima[number % 2], self.room.codes[number % 2] if self.room.codes else None
        if level is None:
            # what windows would see beyond the end is copied too, and comes to nothing: no window begins there
            return list(self._fewer(full, m, c, n, d)), (n, None if c is None else d, full // self.runs.fewer)
        size -= level[0]
        return list(self._join(level, size, m, c, n, d)), (n, d, size)

    def _join(
        self, joined: tuple[int, int], size: int, m: Array, c: Array | None, n: Array, d: Array | None
    ) -> Iterator[Call]:
        """Joins the windows of the maxima ``m``, whose codes are ``c`` (or all 0), to those of ``n`` and ``d``."""
        apart, number = joined
        a, b = m[:size], m[apart : apart + size]
        yield partial(np.maximum, a, b, out=n[:size])
        if d is None:
            return
        won, candidates = self.room.won[:size], self.room.candidates[:size]
        yield partial(np.greater, b, a, won)
        if c is None:
            yield partial(np.multiply, won.view(np.uint8), d.dtype.type(number), d[:size])
        else:
            yield partial(np.add, c[apart : apart + size], c.dtype.type(number), candidates)
            yield partial(np.multiply, candidates, won.view(np.uint8), candidates)
            yield partial(np.maximum, c[:size], candidates, out=d[:size])

    def _fewer(self, full: int, m: Array, c: Array | None, n: Array, d: Array | None) -> Iterator[Call]:
        """Leaves the columns at which windows begin."""
        fewer, step = self.runs.fewer, self.runs.step
        for source, target in ((m, n), (c, d)):
            if source is not None and target is not None:
                yield every(source[:full], target[: full // fewer], fewer, step)

    def _edges(self, block: Block, y: Array, codes: Array | None) -> Iterator[Call]:
        """Lets the first element win where all are the least of numbers, as padding is; then padding competes."""
        rows, cols = self.runs.rows, self.runs.cols
        if codes is not None:
            above, left = (-(-axis.before // axis.stride) for axis in (rows, cols))
            for edge in ((slice(0, max(0, above - block.r0)), slice(None)), (slice(None), slice(0, left))):
                at = (..., *edge)
                if y[at].size:
                    yield partial(tie, self.runs, block, edge, y[at], self.least, codes[at])
        if self.pad is None:
            return
        runs = [
            (slice(run.start - block.r0, run.stop - block.r0), slice(None)) for run in rows.padded(block.r0, block.r1)
        ]
        runs += [(slice(None), run) for run in cols.padded(0, cols.count)]
        for run in runs:
            at = (..., *run)
            if codes is not None:
                yield partial(compete, y[at], self.pad, codes[at], rows.kernel * cols.kernel)
            yield partial(np.maximum, y[at], self.pad, out=y[at])


def every(source: Array, target: Array, apart: int, step: int) -> Call:
    """Copies one of ``apart`` pixels to where they lie side by side, each of them ``step`` numbers.

    Every second number is the lower half of one of twice its bytes, which NumPy finds twice as quickly as by steps.
    """
    wide = {1: np.uint16, 2: np.uint32, 4: np.uint64}.get(source.itemsize)
    if wide is not None and apart == 2 and step == 1 and sys.byteorder == "little":
        kind = np.dtype(f"u{source.itemsize}")
        return partial(np.copyto, target.view(kind), source.view(wide), casting="unsafe")
    return partial(np.copyto, as_view(target, -1, step), as_view(source, -1, apart, step)[:, 0])


def tie(runs: MaxRuns, block: Block, edge: tuple[slice, slice], y: Array, least: Array, codes: Array) -> None:
    """Where the maximum is the least of numbers, the code is that of the first element."""
    tied = np.equal(y, least)
    if tied.any():
        np.copyto(codes, runs.first_taps()[block.rows][edge], where=tied, casting="unsafe")


def compete(y: Array, pad: Array, codes: Array, code: int) -> None:
    """Where padding is greater, its code is the one."""
    np.copyto(codes, codes.dtype.type(code), where=np.greater(pad, y))


def mark_nan(runs: MaxRuns, block: Block, run: Array, y: Array, codes: Array) -> None:
    """NaN is greater than nothing: let the code of each window that holds one be that of its first."""
    if not np.isnan(y.max()):
        return
    rows, cols = runs.rows, runs.cols
    if rows.kernel * cols.kernel <= y.size:
        for i, j in reversed(list(product(range(rows.kernel), range(cols.kernel)))):
            tap = runs.corners(block, run, i, j)
            np.copyto(codes, codes.dtype.type(i * cols.kernel + j), where=np.isnan(tap))
        return
    corners, size = runs.corners(block, run), run.itemsize
    steps = rows.dilation * runs.row * size, cols.dilation * runs.step * size
    for at in np.argwhere(np.isnan(y)):
        offset = int(np.dot(at, corners.strides))
        window = np.ndarray((rows.kernel, cols.kernel), run.dtype, run, offset, steps)
        codes[tuple(at)] = np.argmax(np.isnan(window))
