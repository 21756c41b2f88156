"""Kernels of ``FusedElementwise`` and ``FusedLoop``: the kernels of their ops, one after another on a block at a time.

Blocks are cut if all operands have the same memory order; otherwise the ops run on whole arrays, with as few
temporaries as their live ranges allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....graph.ops.fused import FUSED_ELEMENTWISE, FUSED_LOOP, FusedAttrs, LoopAttrs, loop_type
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.registry import kernel
from ...planning.work import Work, shared_by
from ...program.emitter import Emitter, Operand
from . import iteration_space as blocks
from .iteration_space import IterationSpace, Total, alike
from .program import Program

LAST_WORK = 1 << 22
"""Least element operations of an update of parameters that threads share: waking them, and the lock, take time."""

COUNTER_STRIDE = 8
"""Numbers (int64) between the counters of two workers: a cache line, so that they do not share one."""


@kernel(FUSED_ELEMENTWISE)
def fused(k: Emitter[FusedAttrs]) -> None:
    (y,), steps = k.outs, len(k.attrs.program)
    made, threads = {k.attrs.inputs + steps - 1: y}, _threads(k, y, steps)
    small = threads == 1 and y.type.nbytes <= 2 * blocks.block_bytes(k, y, 1)
    if y.phase is Phase.STATE or small or not all(alike(x, y) for x in k.ins):
        k.take(Program(k, k.ins, made, y).statements)
    else:
        _run(k, IterationSpace.of(k, y, made, (), threads), y, threads)


@kernel(FUSED_LOOP)
def fused_loop(k: Emitter[LoopAttrs]) -> None:
    results = [(result, y) for result, y in zip(k.attrs.results, k.outs, strict=True) if y is not None]
    made = {result.value: y for result, y in results if not result.op}
    like = _like(k, [*made.values()])
    totals = [Total.of(result, y, like.shape) for result, y in results if result.op]
    fits = all(alike(x, like) for x in (*k.ins, *made.values())) and all(t.follows(like) for t in totals)
    if k.exact or not fits or 0 in like.shape:
        _whole(k, made, like, totals)
    else:
        threads = _threads(k, like, len(k.attrs.program) + len(totals))
        _run(k, IterationSpace.of(k, like, made, totals, threads), like, threads)


def _like(k: Emitter[LoopAttrs], made: Sequence[Operand]) -> Operand:
    """An operand with the layout that all values have: that of a result, or else of an input of their shape."""
    type_ = loop_type(k.attrs, [x.type for x in k.ins])
    order = next((x.type.order for x in (*made, *k.ins) if x.shape == type_.concrete), None)
    phase = next(y.phase for y in k.outs if y is not None)
    return Operand("", type_.with_order(order), phase)


def _whole(k: Emitter, made: dict[int, Operand], like: Operand, totals: Sequence[Total]) -> None:
    def add_up(number: int, value: Operand) -> list[str]:
        lines = []
        for total in totals:
            if total.value == number:
                keep = total.out.type.rank == like.type.rank
                lines.append(f"np.add.reduce({value}, axis={total.axes}, keepdims={keep}, out={total.out})")
                lines += total.divided(k, total.out)
        return lines

    k.take(Program(k, k.ins, made, like, add_up).statements)


def _threads(k: Emitter, like: Operand, steps: int) -> int:
    """The number of threads that share this many steps over an array with the layout of this operand."""
    numbers = steps * math.prod(like.shape)
    if k.last and not this_machine().helpers:
        return k.threads if numbers >= LAST_WORK else 1
    return shared_by(Work(numbers=numbers * like.dtype.itemsize / 4), k.threads, this_machine())[1]


def _run(k: Emitter, space: IterationSpace, like: Operand, threads: int) -> None:
    if space.single:
        k.take(space.at_once(k, like))
    else:
        _share(k, space, threads)
    space.finish(k)


def _share(k: Emitter, space: IterationSpace, threads: int) -> None:
    parts = [p for p in space.parts(threads) if p[0] < p[1]]
    if len(parts) == 1 or (k.last and not space.resumable):
        k.line("\n".join(line for part in parts for line in space.loop(k, *part)))
        return
    counters = k.scratch((len(parts), COUNTER_STRIDE), np.dtype(np.int64), "noted") if k.last else None
    body = []
    for worker, part in enumerate(parts):
        done = None if counters is None else f"{counters}[{worker}, 0]"
        body += [f"if worker == {worker}:", *(f"    {line}" for line in space.loop(k, *part, done))]
    if counters is not None:
        k.line(f"{counters}.fill(0)")
    k.shared(k.names.fresh(f"{k.name}_parts"), len(parts), body, resumed=counters is not None)
