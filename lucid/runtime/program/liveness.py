"""Liveness: the live range of each buffer, in steps, and which buffers share memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ...base.structs import struct
from ..planning.phase import Phase
from .emitter import Operand
from .statement import Statement, names_in
from .step import Step


@struct
class Interval:
    """One block of arena memory.

    Attributes
    ----------
    operands
        The operands that live in it: one, or a chain in which each overwrites the one before.
    start, stop
        First and last step that touch it, both included.
    nbytes
        Its size.
    """

    operands: list[Operand]
    start: int
    stop: int
    nbytes: int


def in_arena(operand: Operand) -> bool:
    """Whether this operand has a place in the arena, provided that it has memory of its own."""
    return operand.phase is Phase.ARENA and not operand.persistent


def passing(steps: Sequence[Step], results: Iterable[Operand]) -> set[Operand]:
    """Values computed from parameters that only serve to compute other such values: no run reads them."""
    read = {y.name for y in results}
    for step in reversed(steps):
        read.update(names_in((*step.code.run, *step.code.bind)))
        for statement in reversed(step.code.state):
            if not read.isdisjoint(statement.writes):
                read.update(statement.reads)
    return {y for step in steps for y in step.memory if y.phase is Phase.STATE and y.name not in read}


def intervals(
    steps: Sequence[Step], results: Iterable[Operand], where: Callable[[Operand], bool] = in_arena
) -> list[Interval]:
    """Live ranges of all arena memory, in order of their first step; memory that keeps its content is always live.

    Reading a view counts as reading its base. An output takes the memory of an input whose last use is the
    same step, if the kernel reads each element before it writes it.

    Parameters
    ----------
    steps, results
        The steps of a run, and the operands that are read after it.
    where
        Which operands with memory of their own to include.
    """
    last: dict[Operand, int] = {}
    for index, step in enumerate(steps):
        for x in step.ins:
            last[x.root] = index
    for y, until in _summed(steps):
        last[y] = max(last.get(y, 0), until)
    for y in results:
        last[y.root] = len(steps)
    blocks: dict[Operand, Interval] = {}
    kept = [y for step in steps for y in filter(where, step.memory) if y.kept]
    order = [Interval([y], 0, len(steps), y.type.nbytes) for y in kept]
    for index, step in enumerate(steps):
        for y in filter(where, step.memory):
            if y.kept:
                continue
            stop = max(index, last.get(y, index))
            donor = _donor(step, y, index, last, blocks)
            if donor is not None:
                donor.operands.append(y)
                donor.stop = stop
                blocks[y] = donor
            else:
                blocks[y] = Interval([y], index, stop, y.type.nbytes)
                order.append(blocks[y])
    return order


def _summed(steps: Sequence[Step]) -> Iterator[tuple[Operand, int]]:
    """Values that are summed over processes, each with the step until which it must live.

    That is the step after the last one that workers share: if a worker leaves its part, the run is repeated without the
    exchange between the processes, and reads the sums again.
    """
    until = max((index + 1 for index, step in enumerate(steps) if step.workers > 1), default=0)
    sums = (step for step in steps if step.node.op.exchange == "begins")
    yield from ((flat.root, until) for step in sums for flat in step.outs if flat is not None)


def written_over(steps: Sequence[Step], parameter: Operand, value: Operand) -> bool:
    """Try to write a parameter's new value over the old one; return whether that is possible.

    It is if the kernel allows it and nothing reads the old value later. The new value is then an alias of the
    parameter; otherwise it is copied at the end.
    """
    writer = next((index for index, step in enumerate(steps) if value in step.outs), None)
    if writer is None or value.base is not None or value.type != parameter.type:
        return False
    step, later = steps[writer], (x for step in steps[writer + 1 :] for x in step.ins)
    slots = [slot for output, slot in step.overwritable if step.outs[output] is value and step.ins[slot] is parameter]
    views = any(x.root is parameter and x is not parameter for x in step.ins)
    if not slots or views or any(x.root is parameter for x in later):
        return False
    value.base = parameter
    step.code.bind.insert(0, Statement.assignment(str(value), str(parameter), Phase.ARENA))
    return True


def _donor(
    step: Step, y: Operand, index: int, last: dict[Operand, int], blocks: dict[Operand, Interval]
) -> Interval | None:
    """The block of an input whose memory output ``y`` may take at step ``index``, if there is one."""
    for output, slot in step.overwritable:
        x = step.ins[slot]
        if (
            step.outs[output] is y
            and x.root in blocks
            and blocks[x.root].stop == index
            and last[x.root] == index
            and blocks[x.root].operands[-1] is x.root
            and x.type == y.type
            and x.contiguous
            and x.type.nbytes == x.root.type.nbytes
            and all(other is x for other in step.ins if other.root is x.root)
        ):
            return blocks[x.root]
    return None
