"""Max pooling over long runs of memory: its sizes, and the calls for each block."""

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

#: The distance of the windows that a level combines, in memory and in tap numbers; None: columns are dropped.
Level: TypeAlias = "tuple[int, int] | None"


def _doubled(axis: Axis, apart: int, number: int) -> Iterator[tuple[int, int]]:
    """The levels that combine the taps along an axis: two windows of some taps become one of up to twice as many."""
    taps = 1
    while taps < axis.kernel:
        more = min(taps, axis.kernel - taps)
        yield more * axis.dilation * apart, more * number
        taps += more


CODED, PIXEL = 2.5, 70
"""The time of a maximum with its code, and of copying a pixel besides its numbers, in maxima."""


@struct(frozen=True)
class MaxRuns:
    """A pooling of ``planes`` images (single channels, unless images are channels last).

    A plane, as windows see it, has ``height`` times ``width`` pixels of ``step`` elements: the image or, if windows
    exceed it, a copy padded with the lowest number. It is ``coded`` if the codes of winners are wanted.
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
        """The columns of a plane; for a copy, a multiple of the stride, so that rows can be reduced alike."""
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
        """The ratio by which columns are reduced to those at which windows begin, before rows are combined; 1 if not.

        This costs a copy, pixel by pixel, and saves work on the rows.
        """
        stride, joins = self.cols.stride, len(list(_doubled(self.rows, 0, 0)))
        saved = joins * (stride - 1) * self.step * (CODED if self.coded else 1)
        copied = self.step * (1 + self.coded / 4) + (PIXEL if self.step > 1 else 0)
        return stride if saved > copied and self.width % stride == 0 else 1

    @cached_property
    def levels(self) -> list[Level]:
        """The levels of combining windows: along the columns, and then along the rows of the remaining columns."""
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
        """The number of passes over all elements; a pass over the remaining columns counts in proportion."""
        where = self.levels.index(None) if None in self.levels else len(self.levels)
        return where + (len(self.levels) - where) / self.fewer

    @property
    def windows(self) -> int:
        """The number of adjacent results when windows have been combined."""
        return self.step * (self.cols.count if self.fewer == self.cols.stride else 1)

    def blocks(self, most: int, least: int, workers: int) -> list[Block]:
        """Blocks of planes, or of rows of windows of a single plane, that read up to ``most`` elements.

        All workers get equally many blocks, unless these would read less than ``least``.
        """
        plane = self.height * self.row
        if most >= plane:
            cut = even_pieces(self.planes, most // plane, -(-least // plane), workers)
            return [Block(a, b, 0, self.rows.count, 0, self.step) for a, b in cut]
        some = pieces(self.rows.count, most // (self.row * self.rows.stride))
        return [Block(p, p + 1, a, b, 0, self.step) for p in range(self.planes) for a, b in some]

    def lines(self, block: Block) -> tuple[int, int]:
        """The range of rows that a block's windows read."""
        if block.r1 - block.r0 == self.rows.count:
            return 0, self.height
        first = block.r0 * self.rows.stride
        return first, first + self.rows.held(block.r1 - block.r0)

    def size(self, block: Block) -> int:
        """The number of elements that a block's windows read."""
        first, last = self.lines(block)
        return (block.n1 - block.n0) * (last - first) * self.row

    def first_taps(self) -> Array:
        """For each window, the number of its first tap that is in the image."""
        down, right = ([axis.inside(o).low for o in range(axis.count)] for axis in (self.rows, self.cols))
        return np.add.outer(np.multiply(down, self.cols.kernel), right)

    def corners(self, block: Block, run: Array, down: int = 0, right: int = 0, fewer: int = 1) -> Array:
        """A view of one tap of all windows of a block, in memory laid out like its input, or with fewer columns."""
        first, last = self.lines(block)
        shape = (block.n1 - block.n0, self.step, block.r1 - block.r0, self.cols.count)
        row = self.row // fewer
        strides = ((last - first) * row, 1, row * self.rows.stride, self.step * self.cols.stride // fewer)
        offset = down * self.rows.dilation * self.row + right * self.cols.dilation * self.step
        size = run.itemsize
        return np.ndarray(shape, run.dtype, run, offset * size, tuple(size * stride for stride in strides))


class Room(NamedTuple):
    """A worker's scratch: a padded copy of its input; buffers of maxima and codes, used in turn; a mask of the later
    windows that win, and their codes. Those that are not needed are None, or empty.
    """

    copy: Array | None
    maxima: Sequence[Array]
    codes: Sequence[Array]
    won: Array
    candidates: Array


#: Maxima, their codes (None if all are 0), and their number.
State: TypeAlias = "tuple[Array, Array | None, int]"

#: The lowest number, and the value of the padding if it counts.
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
    """An array in the pooling's memory order viewed as (planes, channels of a channels-last image, rows, columns)."""
    return x if runs.step > 1 else as_view(x, runs.planes, 1, *x.shape[2:])


class _Binder:
    """Makes the calls of one worker; blocks of equal size share those that use only its scratch."""

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
        """Copy the image, and clear the padding above and below, where another block may have had rows."""
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
        """The calls for one level, and the state after it; the input has ``full`` elements."""
        (m, c, size), level = state, self.runs.levels[number]
        n, d = self.room.maxima[number % 2], self.room.codes[number % 2] if self.room.codes else None
        if level is None:
            # elements beyond the end are copied too, which is harmless, as no window begins there
            return list(self._fewer(full, m, c, n, d)), (n, None if c is None else d, full // self.runs.fewer)
        size -= level[0]
        return list(self._join(level, size, m, c, n, d)), (n, d, size)

    def _join(
        self, joined: tuple[int, int], size: int, m: Array, c: Array | None, n: Array, d: Array | None
    ) -> Iterator[Call]:
        """Combine the windows with maxima ``m`` and codes ``c`` (None if all 0); results go to ``n`` and ``d``."""
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
        """Drop all columns but those at which windows begin."""
        fewer, step = self.runs.fewer, self.runs.step
        for source, target in ((m, n), (c, d)):
            if source is not None and target is not None:
                yield every(source[:full], target[: full // fewer], fewer, step)

    def _edges(self, block: Block, y: Array, codes: Array | None) -> Iterator[Call]:
        """Let the first element win if all are the lowest number, as padding is; then let padding that counts win."""
        rows, cols = self.runs.rows, self.runs.cols
        if codes is not None:
            above, left = (-(-axis.before // axis.stride) for axis in (rows, cols))
            for edge in ((slice(0, max(0, above - block.r0)), slice(None)), (slice(None), slice(0, left))):
                at = (..., *edge)
                if y[at].size:
                    yield partial(code_lowest, self.runs, block, edge, y[at], self.least, codes[at])
        if self.pad is None:
            return
        runs = [
            (slice(run.start - block.r0, run.stop - block.r0), slice(None)) for run in rows.padded(block.r0, block.r1)
        ]
        runs += [(slice(None), run) for run in cols.padded(0, cols.count)]
        for run in runs:
            at = (..., *run)
            if codes is not None:
                yield partial(code_padding, y[at], self.pad, codes[at], rows.kernel * cols.kernel)
            yield partial(np.maximum, y[at], self.pad, out=y[at])


def every(source: Array, target: Array, apart: int, step: int) -> Call:
    """Copy every ``apart``-th pixel, of ``step`` numbers each, to contiguous memory.

    Every second number is the lower half of one with twice the bytes; NumPy extracts it twice as fast as with a stride.
    """
    wide = {1: np.uint16, 2: np.uint32, 4: np.uint64}.get(source.itemsize)
    if wide is not None and apart == 2 and step == 1 and sys.byteorder == "little":
        kind = np.dtype(f"u{source.itemsize}")
        return partial(np.copyto, target.view(kind), source.view(wide), casting="unsafe")
    return partial(np.copyto, as_view(target, -1, step), as_view(source, -1, apart, step)[:, 0])


def code_lowest(runs: MaxRuns, block: Block, edge: tuple[slice, slice], y: Array, least: Array, codes: Array) -> None:
    """Where the maximum is the lowest number, set the code to that of the first element in the image."""
    tied = np.equal(y, least)
    if tied.any():
        np.copyto(codes, runs.first_taps()[block.rows][edge], where=tied, casting="unsafe")


def code_padding(y: Array, pad: Array, codes: Array, code: int) -> None:
    """Where padding is greater, set the code to that of padding."""
    np.copyto(codes, codes.dtype.type(code), where=np.greater(pad, y))


def mark_nan(runs: MaxRuns, block: Block, run: Array, y: Array, codes: Array) -> None:
    """Set the code of each window that contains NaN to its first one, since NaN is not greater than anything."""
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
