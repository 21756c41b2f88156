"""Max pooling over long runs of memory, which knows of rows and columns only where windows begin.

The maximum of a window is taken at every position: two taps are everywhere equally far apart in memory, so one
call does it for a whole block, and two windows of t taps make one of up to 2t. At the end the positions at which
windows begin are copied out; where that pays, the columns at which they begin before rows are joined. With stride 2
much of it is thrown away, and it is still the quicker: a call over rows of 112 numbers takes 40 ns before the first of
each, every second number 1.1 ns, a number of a long run 0.14.

The code of the tap that won is found on the way: of two windows the later one's code is the greater, and counts
where its maximum is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....graph.ir import Node
from ....graph.ops.pool import MAX_POOL, MaxPoolAttrs
from ....graph.types import TensorType
from ...planning.machine import this_machine
from ...planning.registry import kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal
from ..shared.loop import BlockLoop, channels_last, laid_out, recheck
from ..shared.pooling import competing, lowest
from .max import axes_of_node, begun, in_runs
from .max_runs_views import CODED, MaxRuns, bind_max_calls

THREAD_BYTES = 1 << 21
"""Input bytes of a block for threads: calls that take long let these wait less for each other than the cache gives."""
LEAST_BYTES = 1 << 15
"""Those of a block that is worth to be handed to another worker."""

BINDING = 10
"""Calls that take as long as the rest of a run whose input is the caller's."""


def max_runs_of(node: Node[MaxPoolAttrs], x: TensorType) -> MaxRuns:
    (n, c, *_), axes, y = x.concrete, axes_of_node(node, x), node.outputs[0]
    return MaxRuns(*axes, *((n * c, 1) if y.order is None else (n, c)), len(node.outputs) > 1)


def block_bytes(reached: bool) -> int:
    """Input bytes of a block: fewer where processes reach all it reads and writes, otherwise it is for threads."""
    machine = this_machine()
    return machine.l2 // 2 if machine.helpers and reached else THREAD_BYTES


def _blocks(runs: MaxRuns, x: TensorType, threads: int, reached: bool = True) -> list[Block]:
    size = x.dtype.itemsize
    return runs.blocks(block_bytes(reached) // size, LEAST_BYTES // size, threads)


def _work(node: Node[MaxPoolAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (x,), y = inputs, node.outputs[0]
    if 0 in (*x.concrete, *y.concrete):
        return NOTHING
    runs, index = max_runs_of(node, x), len(node.outputs) > 1
    blocks, levels, lines = len(_blocks(runs, x, threads)), len(runs.levels), runs.planes * runs.height
    joined = in_runs(x, lines * runs.row * runs.passes * (CODED if index else 1))
    filled = begun(x, lines) + in_runs(x, lines * runs.row) if runs.padded else NOTHING
    outputs = math.prod(y.concrete)
    picked = Work(pixels=outputs // runs.windows) + in_runs(x, outputs) if runs.windows > 1 else Work(straight=outputs)
    calls = Work(calls=BINDING + blocks * (levels * (4 if index else 1) + 2))
    return (joined + filled + picked + calls) * (1 / min(threads, blocks))


@kernel(MAX_POOL, lowering="runs", cost=_work)
def max_pool_runs(k: Emitter) -> None:
    recheck(k)
    (x,), (y, index), last = k.ins, k.outs, channels_last(k.outs[0])
    if 0 in (*x.shape, *y.shape):
        return
    x = laid_out(k, x, last, "packed")
    runs = max_runs_of(k.node, x.type)
    pad, least = competing(k.attrs, x.dtype), lowest(x.dtype)
    loop = BlockLoop(k, deal(_blocks(runs, x.type, k.threads, not k.volatile), k.threads))
    room = tuple(_room(k, runs, mine, index, least) for mine in loop.work)
    (calls,) = loop.over(loop.bind("calls", bind_max_calls, runs, loop.blocks, x, y, index, room, least, pad), "calls")
    (call,) = loop.fresh("call")
    loop.for_each((call,), calls, f"{call}()")
    loop.emit()


def _room(k: Emitter, runs: MaxRuns, blocks: Sequence[Block], index: Operand | None, least: Any) -> tuple[Any, ...]:
    """A worker's memory, as the parts of a :class:`~.max_runs_views.Room`."""
    size, dtype, turns = (max(map(runs.size, blocks)),), k.ins[0].dtype, range(min(2, len(runs.levels)))
    copy = k.filled(size, dtype, k.use(least, "lowest"), "padded") if runs.padded else None
    maxima = tuple(k.scratch(size, dtype, "maxima") for _ in turns)
    if index is None:
        return copy, maxima, (), None, None
    codes = tuple(k.scratch(size, index.dtype, "codes") for _ in turns)
    return copy, maxima, codes, k.scratch(size, np.dtype(bool), "won"), k.scratch(size, index.dtype, "candidates")
