"""Liveness: during which steps each buffer is needed, and which buffers may share memory."""

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
        The operands that live in it: one, or a chain of which each is written over the one before.
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
    """Whether memory of its own means a place in the arena for this operand."""
    return operand.phase is Phase.ARENA and not operand.persistent


def passing(steps: Sequence[Step], results: Iterable[Operand]) -> set[Operand]:
    """Values computed from parameters only to compute other such values: no line that runs at each call reads them."""
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
    """Live intervals of all arena memory, in order of their first step; what keeps its content lives at all steps.

    Views count as uses of what they view. An output takes the memory of an input that dies at the
    same step, where the kernel reads each element before it writes it.

    Parameters
    ----------
    steps, results
        What is run, and what is read after that.
    where
        Which operands with memory of their own count.
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
    """Values that are summed over processes, and the step after the last of which a worker may leave its part.

    The run is then repeated, but not the exchange between the processes: until then the sums are kept.
    """
    until = max((index + 1 for index, step in enumerate(steps) if step.workers > 1), default=0)
    sums = (step for step in steps if step.node.op.exchange == "begins")
    yield from ((flat.root, until) for step in sums for flat in step.outs if flat is not None)


def written_over(steps: Sequence[Step], parameter: Operand, value: Operand) -> bool:
    """Write a parameter's new value over the old one, if its kernel allows that and nobody reads the old one later.

    The value is then another name for the parameter. If the kernel does not allow it, it is copied at the end.
    """
    made = next((index for index, step in enumerate(steps) if value in step.outs), None)
    if made is None or value.base is not None or value.type != parameter.type:
        return False
    step, later = steps[made], (x for step in steps[made + 1 :] for x in step.ins)
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
