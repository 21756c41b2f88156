"""Max pooling over long runs of memory, regardless of rows and columns until windows are picked out at the end.

The maximum of a window is computed at every position. Two taps are the same distance apart everywhere in memory, so one
call computes their maximum for a whole block, and two windows of t taps are combined to one of up to 2t. At the end,
the positions at which windows begin are copied; if it pays, the columns at which they begin already before rows are
combined. With stride 2 much of this is thrown away, but it is still faster: a call over rows of 112 numbers takes 40 ns
to start each row, a strided number 1.1 ns, a number of a long run 0.14 ns.

The code of the winning tap is computed along the way: of two combined windows, the later one has the greater codes, and
wins where its maximum is greater.
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
"""Bytes of a block's input for threads: with long calls they wait less for one another, which outweighs the cache."""
LEAST_BYTES = 1 << 15
"""The least bytes of a block's input that are worth handing to another worker."""

BINDING = 10
"""The time of binding views to the caller's input at each run, in calls."""


def max_runs_of(node: Node[MaxPoolAttrs], x: TensorType) -> MaxRuns:
    (n, c, *_), axes, y = x.concrete, axes_of_node(node, x), node.outputs[0]
    return MaxRuns(*axes, *((n * c, 1) if y.order is None else (n, c)), len(node.outputs) > 1)


def block_bytes(reached: bool) -> int:
    """Bytes of a block's input: fewer if processes can share the work, as they can access all of the data."""
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
    """A worker's scratch, as the fields of a :class:`~.max_runs_views.Room`."""
    size, dtype, turns = (max(map(runs.size, blocks)),), k.ins[0].dtype, range(min(2, len(runs.levels)))
    copy = k.filled(size, dtype, k.use(least, "lowest"), "padded") if runs.padded else None
    maxima = tuple(k.scratch(size, dtype, "maxima") for _ in turns)
    if index is None:
        return copy, maxima, (), None, None
    codes = tuple(k.scratch(size, index.dtype, "codes") for _ in turns)
    return copy, maxima, codes, k.scratch(size, np.dtype(bool), "won"), k.scratch(size, index.dtype, "candidates")
