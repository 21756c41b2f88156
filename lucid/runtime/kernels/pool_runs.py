"""Max pooling over long runs of memory, which knows of rows and columns only where windows begin.

The maximum of a window is taken at every position: two taps are everywhere equally far apart in memory, so one
call does it for a whole block, and two windows of t taps make one of up to 2t. At the end the positions at which
windows begin are copied out. With stride 2 most of that is thrown away, and it is still the quicker: a call over
rows of 112 numbers takes 40 ns before the first of each, every second number 1.1 ns, a number of a long run 0.14.

Windows that see padding are reduced tap by tap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...graph.ir import Node
from ...graph.ops.pool import MAX_POOL
from ...graph.types import TensorType, is_float
from ..emitter import Emitter, Operand, Phase
from ..registry import kernel
from .pool import APART, NEAR, PICK, PIXEL, axes_of_node, competing
from .pool_taps import Bound, Region, Step, bind_region, inner, mark_taps, nothing, over_bound, stretches
from .windows import Axis, bind, channels_last, deal, laid_out, pieces, recheck, tuple_of

BLOCK_BYTES = 1 << 21
"""Input bytes of a block. Calls that take long let threads wait less for each other than they lose in the cache."""


class Block(NamedTuple):
    """Windows that see no padding, and the elements of the input that lie from their first to their last."""

    region: Region
    start: int
    stop: int


@dataclass(frozen=True)
class Runs:
    """A pooling of ``planes`` images (of a channel each, where channels do not lie innermost).

    ``step`` is how many elements lie from one column to the next.
    """

    rows: Axis
    cols: Axis
    planes: int
    step: int

    @property
    def row(self) -> int:
        return self.cols.size * self.step

    @property
    def plane(self) -> int:
        return self.rows.size * self.row

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
        """Whole planes, or rows of one: all windows that see no padding."""
        down, right = inner(self.rows), inner(self.cols)
        if down is None or right is None:
            return []
        many = BLOCK_BYTES // max(1, self.plane * itemsize)
        if many:
            cuts = [(a, b, down) for a, b in pieces(self.planes, many)]
        else:
            parts = pieces(down.last - down.first, BLOCK_BYTES // (self.row * itemsize * self.rows.stride))
            some = [down._replace(first=down.first + a, last=down.first + b) for a, b in parts]
            cuts = [(p, p + 1, rows) for p in range(self.planes) for rows in some]
        return [self._block(Region(slice(a, b), slice(0, self.step), rows, right)) for a, b, rows in cuts]

    def _block(self, region: Region) -> Block:
        first, last = self.rows.span(region.rows.first, region.rows.last)
        planes = region.n
        return Block(
            region, planes.start * self.plane + first * self.row, (planes.stop - 1) * self.plane + last * self.row
        )

    def edges(self, workers: int) -> list[list[Region]]:
        """All windows that see padding, for each worker those of its planes."""
        whole = inner(self.rows), inner(self.cols)
        parts = [part for part in product(stretches(self.rows), stretches(self.cols)) if part != whole]
        shares = [*pieces(self.planes, -(-self.planes // workers)), *[(0, 0)] * workers][:workers]
        return [[Region(slice(a, b), slice(0, self.step), *part) for part in parts if a < b] for a, b in shares]

    def images(self, x: Any) -> Any:
        """An array in the pooling's memory order as (planes, channels that lie innermost, rows, columns)."""
        return x if self.step > 1 else x.reshape(self.planes, 1, *x.shape[2:])

    def corners(self, block: Block, run: Any) -> Any:
        """What lies at the first taps of a block's windows, in elements that lie as its input does."""
        n, rows, cols = block.region.n, block.region.rows, block.region.cols
        shape = (n.stop - n.start, self.step, rows.last - rows.first, cols.last - cols.first)
        strides = (self.plane, 1, self.row * self.rows.stride, self.step * self.cols.stride)
        offset = self.cols.tap(0, cols.first).start * self.step
        size = run.itemsize
        return np.ndarray(shape, run.dtype, run, offset * size, tuple(size * stride for stride in strides))


def runs_of(node: Node, x: TensorType) -> Runs:
    n, c, *_ = x.concrete
    axes = axes_of_node(node, x)
    return Runs(*axes, n * c, 1) if x.order is None else Runs(*axes, n, c)


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Windows of more than a tap, some of which see no padding, in one memory order."""
    (x,) = inputs
    if any(y.order != x.order for y in node.outputs) or 0 in (*x.concrete, *node.outputs[0].concrete):
        return False
    runs = runs_of(node, x)
    return bool(runs.levels() and runs.blocks(x.dtype.itemsize))


def _cost(node: Node, inputs: tuple[TensorType, ...], threads: int) -> float:
    (x,), runs = inputs, runs_of(node, inputs[0])
    near, outputs = NEAR * x.dtype.itemsize / 4, math.prod(node.outputs[0].concrete)
    index = len(node.outputs) > 1
    joined = math.prod(x.concrete) * len(runs.levels()) * near * (2.5 if index else 1)
    picked = outputs * PICK if runs.step == 1 else outputs // runs.step * (PIXEL + runs.step * near)
    edges = sum(r.size * len(r.rows.taps) * len(r.cols.taps) for r in runs.edges(1)[0]) * APART
    return (joined + picked + edges) / min(threads, len(runs.blocks(x.dtype.itemsize)))


@kernel(MAX_POOL, lowering="runs", accepts=_accepts, cost=_cost)
def max_pool_runs(k: Emitter) -> None:
    recheck(k)
    (x,), (y, index), last = k.ins, k.outs, channels_last(k.ins[0])
    if x.phase is not Phase.CALL and not x.contiguous:
        x = laid_out(k, x, last, "packed")
    runs, pad = runs_of(k.node, x.type), competing(k.attrs, x.dtype)
    work = deal(runs.blocks(x.dtype.itemsize), k.threads)
    edges = runs.edges(len(work))
    room = [_room(k, runs, mine, strips, index) for mine, strips in zip(work, edges, strict=True)]
    flat = bind(k, "flat", f"{k.use(flatten)}({x}, {last})", x)
    geometry = ", ".join(
        k.use(z, f"{k.name}_{label}") for z, label in ((runs, "runs"), (work, "blocks"), (edges, "edges"))
    )
    views = bind(
        k, "views", f"{k.use(bind_runs)}({geometry}, {flat}, {y}, {index}, {tuple_of(map(tuple_of, room))}, "
        f"{None if pad is None else k.use(pad, 'padding')})", *(z for z in (x, y, index) if z is not None), *room[0],
    )  # fmt: skip
    over_bound(k, len(work), views, index is not None and is_float(x.dtype))


def _room(
    k: Emitter, runs: Runs, blocks: Sequence[Block], strips: Sequence[Region], index: Operand | None
) -> list[Operand]:
    """A worker's memory: for who won, for the codes of those who may, and for maxima and codes by turns."""
    elements = max(b.stop - b.start for b in blocks)
    turns = min(2, len(runs.levels()))
    maxima = [k.scratch((elements,), k.ins[0].dtype, "maxima") for _ in range(turns)]
    if index is None:
        return maxima
    most = max([elements, *(region.size for region in strips)])
    codes = [k.scratch((elements,), index.dtype, "codes") for _ in range(turns)]
    return [k.scratch((most,), np.dtype(bool), "won"), k.scratch((most,), index.dtype, "candidates"), *maxima, *codes]


def flatten(x: Any, last: bool) -> Any:
    """The elements as they lie in memory; a copy, where the caller's array has gaps or another order."""
    return (x.transpose(0, 2, 3, 1) if last else x).reshape(-1)


def bind_runs(
    runs: Runs, work: Sequence[Sequence[Block]], edges: Sequence[Sequence[Region]], flat: Any, y: Any, index: Any,
    room: Sequence[Sequence[Any]], pad: Any,
) -> list[list[Bound]]:  # fmt: skip
    """Views for the blocks of each worker, and for its windows that see padding."""
    axes, (n, s) = (runs.rows, runs.cols), (runs.planes, runs.step)
    image = flat.reshape(n, runs.rows.size, runs.cols.size, s).transpose(0, 3, 1, 2)
    y, index = runs.images(y), None if index is None else runs.images(index)
    bound = []
    for mine, strips, memory in zip(work, edges, room, strict=True):
        binder = _Binder(runs, image, y, index, memory)
        masks = memory[:2]
        strip_views = [bind_region(strip, axes, image, y, index, masks, pad, s > 1) for strip in strips]
        bound.append([*(binder.block(block, flat) for block in mine), *strip_views])
    return bound


class _Binder:
    """Makes the views of one worker; blocks of one length share all that follows the first call."""

    def __init__(self, runs: Runs, image: Any, y: Any, index: Any, memory: Sequence[Any]) -> None:
        self.runs, self.image, self.y, self.index = runs, image, y, index
        masks, rest = (memory[:2], memory[2:]) if index is not None else ((None, None), memory)
        self.won: Any = masks[0]
        self.candidates: Any = masks[1]
        turns = min(2, len(runs.levels()))
        self.maxima, self.codes = rest[:turns], rest[turns:]
        self.known: dict[tuple[int, int], tuple[list[Step], Any, list[Any]]] = {}

    def block(self, block: Block, flat: Any) -> Bound:
        run, region = flat[block.start : block.stop], block.region
        key = run.size, region.n.stop - region.n.start
        if key not in self.known:
            self.known[key] = self._joins(block)
        joins, whole, corners = self.known[key]
        steps = [*self._first(run), *joins]
        targets = [self.y[region.at], *(() if self.index is None else (self.index[region.at],))]
        mark = nothing
        if self.index is not None:
            mark = partial(mark_taps, region, (self.runs.rows, self.runs.cols), self.image, targets[1])
        return Bound((), steps, list(zip(targets, corners, strict=True)), whole, mark)

    def _first(self, run: Any) -> list[Step]:
        """Joins taps of the input."""
        apart, number = self.runs.levels()[0]
        length = run.size - apart
        a, b = run[:length], run[apart:]
        steps: list[Step] = [(np.maximum, a, b, self.maxima[0][:length])]
        if self.index is not None:
            won, codes = self.won[:length], self.codes[0][:length]
            steps += [(np.greater, b, a, won), (np.multiply, won.view(np.uint8), codes.dtype.type(number), codes)]
        return steps

    def _joins(self, block: Block) -> tuple[list[Step], Any, list[Any]]:
        """The steps after the first, the maxima of all positions, and the results at the corners."""
        (apart, _), *levels = self.runs.levels()
        steps: list[Step] = []
        length, here = block.stop - block.start - apart, 0
        for apart, number in levels:
            length -= apart
            m, n = self.maxima[here], self.maxima[1 - here]
            a, b = m[:length], m[apart : apart + length]
            steps.append((np.maximum, a, b, n[:length]))
            if self.index is not None:
                c, d = self.codes[here], self.codes[1 - here]
                won, candidates = self.won[:length], self.candidates[:length]
                steps += [
                    (np.greater, b, a, won),
                    (np.add, c[apart : apart + length], c.dtype.type(number), candidates),
                    (np.multiply, candidates, won.view(np.uint8), candidates),
                    (np.maximum, c[:length], candidates, d[:length]),
                ]
            here = 1 - here
        results = [self.maxima[here], *self.codes[here : here + 1]]
        return steps, results[0][:length], [self.runs.corners(block, result) for result in results]
