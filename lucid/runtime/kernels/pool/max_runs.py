"""Max pooling over long runs of memory, which knows of rows and columns only where windows begin.

The maximum of a window is taken at every position: two taps are everywhere equally far apart in memory, so one
call does it for a whole block, and two windows of t taps make one of up to 2t. At the end the positions at which
windows begin are copied out. With stride 2 most of that is thrown away, and it is still the quicker: a call over
rows of 112 numbers takes 40 ns before the first of each, every second number 1.1 ns, a number of a long run 0.14.

The code of the tap that won is found on the way: of two windows the later one's code is the greater, and counts
where its maximum is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ....graph.ir import Node
from ....graph.ops.pool import MAX_POOL
from ....graph.types import TensorType, is_float
from ....graph.windows import Axis
from ...planning.registry import kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.windows import bind, channels_last, deal, laid_out, over_blocks, pieces, recheck, tuple_of
from .max import axes_of_node, begun, competing, in_runs, lowest

BLOCK_BYTES = 1 << 21
"""Input bytes of a block. Calls that take long let threads wait less for each other than they lose in the cache."""

BINDING = 10
"""Calls that take as long as the rest of a run whose input is the caller's."""

Call: TypeAlias = Callable[[], Any]


class Block(NamedTuple):
    """Planes ``p0`` to ``p1``, all their rows or, of a single one, output rows ``r0`` to ``r1``."""

    p0: int
    p1: int
    r0: int
    r1: int


@dataclass(frozen=True)
class Runs:
    """A pooling of ``planes`` images (of a channel each, where channels do not lie innermost).

    What the windows see of a plane is ``height`` times ``width`` pixels of ``step`` elements: the image, or where a
    window sees more than that a copy of it within the least of numbers.
    """

    rows: Axis
    cols: Axis
    planes: int
    step: int

    @property
    def height(self) -> int:
        return _seen(self.rows)

    @property
    def width(self) -> int:
        return _seen(self.cols)

    @property
    def padded(self) -> bool:
        return (self.height, self.width) != (self.rows.size, self.cols.size)

    @property
    def row(self) -> int:
        return self.width * self.step

    @cached_property
    def levels(self) -> list[tuple[int, int]]:
        """How far apart the windows are that are joined, in memory and in the numbers of their taps."""
        found = []
        for axis, apart, number in ((self.cols, self.step, 1), (self.rows, self.row, self.cols.kernel)):
            taps = 1
            while taps < axis.kernel:
                more = min(taps, axis.kernel - taps)
                found.append((more * axis.dilation * apart, more * number))
                taps += more
        return found

    def blocks(self, itemsize: int) -> list[Block]:
        many = BLOCK_BYTES // (self.height * self.row * itemsize)
        if many:
            return [Block(a, b, 0, self.rows.count) for a, b in pieces(self.planes, many)]
        some = pieces(self.rows.count, BLOCK_BYTES // (self.row * itemsize * self.rows.stride))
        return [Block(p, p + 1, a, b) for p in range(self.planes) for a, b in some]

    def lines(self, block: Block) -> tuple[int, int]:
        """The first and the last row that a block's windows see."""
        if block.r1 - block.r0 == self.rows.count:
            return 0, self.height
        return block.r0 * self.rows.stride, (block.r1 - 1) * self.rows.stride + self.rows.extent

    def corners(self, block: Block, run: Any, down: int = 0, right: int = 0) -> Any:
        """What lies at one tap of a block's windows, in elements that lie as its input does."""
        first, last = self.lines(block)
        shape = (block.p1 - block.p0, self.step, block.r1 - block.r0, self.cols.count)
        strides = ((last - first) * self.row, 1, self.row * self.rows.stride, self.step * self.cols.stride)
        offset = down * self.rows.dilation * self.row + right * self.cols.dilation * self.step
        size = run.itemsize
        return np.ndarray(shape, run.dtype, run, offset * size, tuple(size * stride for stride in strides))


def _seen(axis: Axis) -> int:
    return axis.before + max(axis.size, (axis.count - 1) * axis.stride + axis.extent - axis.before)


def runs_of(node: Node, x: TensorType) -> Runs:
    n, c, *_ = x.concrete
    axes = axes_of_node(node, x)
    return Runs(*axes, n * c, 1) if node.outputs[0].order is None else Runs(*axes, n, c)


def _work(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    (x,), y = inputs, node.outputs[0]
    if 0 in (*x.concrete, *y.concrete):
        return NOTHING
    runs, index = runs_of(node, x), len(node.outputs) > 1
    blocks, levels, lines = len(runs.blocks(x.dtype.itemsize)), len(runs.levels), runs.planes * runs.height
    joined = in_runs(x, lines * runs.row * levels * (2.5 if index else 1))
    filled = begun(x, lines) + in_runs(x, lines * runs.row) if runs.padded else NOTHING
    outputs = math.prod(y.concrete)
    picked = Work(straight=outputs) if runs.step == 1 else Work(pixels=outputs // runs.step) + in_runs(x, outputs)
    calls = Work(calls=BINDING + blocks * (levels * (4 if index else 1) + 2))
    return (joined + filled + picked + calls) * (1 / min(threads, blocks))


@kernel(MAX_POOL, lowering="runs", cost=_work)
def max_pool_runs(k: Emitter) -> None:
    recheck(k)
    (x,), (y, index), last = k.ins, k.outs, channels_last(k.outs[0])
    if 0 in (*x.shape, *y.shape):
        return
    x = laid_out(k, x, last, "packed")
    runs = runs_of(k.node, x.type)
    pad, least = competing(k.attrs, x.dtype), lowest(x.dtype)
    work = deal(runs.blocks(x.dtype.itemsize), k.threads)
    room = [_room(k, runs, mine, index, least) for mine in work]
    geometry = f"{k.use(runs, k.name + '_runs')}, {k.use(work, k.name + '_blocks')}"
    pads = f"{k.use(least, 'lowest')}, {None if pad is None else k.use(pad, 'padding')}"
    reads = [z for z in (x, y, index) if z is not None]
    calls = bind(
        k, "calls", f"{k.use(bind_runs)}({geometry}, {x}, {y}, {index}, {tuple_of(map(tuple_of, room))}, {pads})",
        *reads, *room[0],
    )  # fmt: skip
    call = k.names.fresh("call")
    over_blocks(k, len(work), [call], [calls], [f"{call}()"])


def _room(k: Emitter, runs: Runs, blocks: Sequence[Block], index: Operand | None, least: Any) -> list[Operand]:
    """A worker's memory: a padded copy of its input; maxima and codes by turns; who won, and codes of who may."""
    size = max((b.p1 - b.p0) * (last - first) * runs.row for b in blocks for first, last in [runs.lines(b)])
    turns, dtype = min(2, len(runs.levels)), k.ins[0].dtype
    room = [k.filled((size,), dtype, k.use(least, "lowest"), "padded")] if runs.padded else []
    room += [k.scratch((size,), dtype, "maxima") for _ in range(turns)]
    if index is not None:
        room += [k.scratch((size,), index.dtype, "codes") for _ in range(turns)]
        room += [k.scratch((size,), np.dtype(bool), "won"), k.scratch((size,), index.dtype, "candidates")]
    return room


def bind_runs(
    runs: Runs, work: Sequence[Sequence[Block]], x: Any, y: Any, index: Any, room: Sequence[Sequence[Any]], least: Any,
    pad: Any,
) -> list[list[Call]]:  # fmt: skip
    """The calls of each worker."""
    image = (runs.planes, runs.rows.size, runs.cols.size, runs.step)
    y, index = (None if z is None else _as_planes(z, runs) for z in (y, index))
    source = as_view(x.transpose(0, 2, 3, 1) if runs.step > 1 else x, image)
    binders = [_Binder(runs, source, y, index, memory, least, pad) for memory in room]
    return [
        [call for block in mine for call in binder.block(block)] for mine, binder in zip(work, binders, strict=True)
    ]


def _as_planes(x: Any, runs: Runs) -> Any:
    """An array in the pooling's memory order as (planes, channels that lie innermost, rows, columns)."""
    return x if runs.step > 1 else as_view(x, runs.planes, 1, *x.shape[2:])


class _Binder:
    """Makes the calls of one worker; blocks of one size share those that work in its memory only."""

    def __init__(self, runs: Runs, x: Any, y: Any, index: Any, memory: Sequence[Any], least: Any, pad: Any) -> None:
        self.runs, self.x, self.y, self.index, self.least, self.pad = runs, x, y, index, least, pad
        rest = list(memory)
        self.copy = rest.pop(0) if runs.padded else None
        turns = min(2, len(runs.levels))
        self.maxima, self.codes = rest[:turns], rest[turns : 2 * turns]
        self.won: Any = rest[-2] if index is not None else None
        self.candidates: Any = rest[-1] if index is not None else None
        self.known: dict[tuple[int, int], tuple[list[Call], list[Any]]] = {}

    def block(self, block: Block) -> Iterator[Call]:
        """The calls for one block."""
        first, last = self.runs.lines(block)
        size, key = (block.p1 - block.p0) * (last - first) * self.runs.row, (block.p1 - block.p0, block.r1 - block.r0)
        if self.copy is None:
            run = as_view(self.x[block.p0 : block.p1, first:last], -1)
        else:
            run = self.copy[:size]
            yield from self._fill(block, run, first, last)
        if key not in self.known:
            self.known[key] = self._joins(block, size)
        joins, results = self.known[key]
        yield from self._first(run)
        yield from joins
        at = slice(block.p0, block.p1), slice(None), slice(block.r0, block.r1)
        y = self.y[at]
        yield partial(np.copyto, y, results[0] if results else self.runs.corners(block, run))
        codes = None
        if self.index is not None:
            codes = self.index[at]
            yield partial(np.copyto, codes, results[1] if results else codes.dtype.type(0))
            if is_float(y.dtype):
                yield partial(mark_nan, self.runs, block, run, y, codes)
        yield from self._edges(block, y, codes)

    def _fill(self, block: Block, run: Any, first: int, last: int) -> Iterator[Call]:
        """Copies the image. What lies beside it stays; rows above and below may have been another block's."""
        rows, cols = self.runs.rows, self.runs.cols
        copy = as_view(run, block.p1 - block.p0, last - first, self.runs.width, self.runs.step)
        low, high = max(first, rows.before), min(last, rows.before + rows.size)
        within = slice(low - first, high - first), slice(cols.before, cols.before + cols.size)
        yield partial(np.copyto, copy[:, *within], self.x[block.p0 : block.p1, low - rows.before : high - rows.before])
        for part in (copy[:, : low - first], copy[:, high - first :]):
            if part.size:
                yield partial(np.copyto, part, self.least)

    def _first(self, run: Any) -> Iterator[Call]:
        """Joins taps of the input."""
        for apart, number in self.runs.levels[:1]:
            length = run.size - apart
            a, b = run[:length], run[apart:]
            yield partial(np.maximum, a, b, out=self.maxima[0][:length])
            if self.index is not None:
                won, codes = self.won[:length], self.codes[0][:length]
                yield partial(np.greater, b, a, won)
                yield partial(np.multiply, won.view(np.uint8), codes.dtype.type(number), codes)

    def _joins(self, block: Block, size: int) -> tuple[list[Call], list[Any]]:
        """The calls that join what the first has joined, and the results at the corners of the windows."""
        calls: list[Call] = []
        for level, (apart, number) in enumerate(self.runs.levels):
            size -= apart
            if level == 0:
                continue
            here = (level - 1) % 2
            m, n = self.maxima[here], self.maxima[1 - here]
            a, b = m[:size], m[apart : apart + size]
            calls.append(partial(np.maximum, a, b, out=n[:size]))
            if self.index is not None:
                c, d = self.codes[here], self.codes[1 - here]
                won, candidates = self.won[:size], self.candidates[:size]
                calls += [
                    partial(np.greater, b, a, won),
                    partial(np.add, c[apart : apart + size], c.dtype.type(number), candidates),
                    partial(np.multiply, candidates, won.view(np.uint8), candidates),
                    partial(np.maximum, c[:size], candidates, out=d[:size]),
                ]
        turn = (len(self.runs.levels) - 1) % 2
        results = [self.maxima[turn], *self.codes[turn : turn + 1]] if self.maxima else []
        return calls, [self.runs.corners(block, result) for result in results]

    def _edges(self, block: Block, y: Any, codes: Any) -> Iterator[Call]:
        """Lets the first element win where all are the least of numbers, as padding is; then padding competes."""
        rows, cols = self.runs.rows, self.runs.cols
        if codes is not None:
            table = np.add.outer(_first_taps(rows)[block.r0 : block.r1] * cols.kernel, _first_taps(cols))
            above, left = (-(-axis.before // axis.stride) for axis in (rows, cols))
            for at in ((..., slice(0, max(0, above - block.r0)), slice(None)), (..., slice(0, left))):
                if y[at].size:
                    yield partial(tie, y[at], self.least, codes[at], table[at].astype(codes.dtype))
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


def _first_taps(axis: Axis) -> Any:
    """For each output the first tap that lies in the image."""
    return np.maximum(0, -((np.arange(axis.count) * axis.stride - axis.before) // axis.dilation))


def tie(y: Any, least: Any, codes: Any, first: Any) -> None:
    """Where the maximum is the least of numbers, the code is that of the first element."""
    np.copyto(codes, first, where=np.equal(y, least))


def compete(y: Any, pad: Any, codes: Any, code: int) -> None:
    """Where padding is greater, its code is the one."""
    np.copyto(codes, codes.dtype.type(code), where=np.greater(pad, y))


def mark_nan(runs: Runs, block: Block, run: Any, y: Any, codes: Any) -> None:
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
