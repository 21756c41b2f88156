"""The program of a region, written into the step of the node that runs it.

A region is planned like any graph: lowerings are chosen, and values with disjoint live ranges share places in one block
of memory, which is working memory of the node. Packed parameters of the region, and memory that keeps its content,
belong to the node too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...base.structs import struct
from ...graph.region import Region
from ..planning.choosing import choose_all
from ..planning.phase import Phase
from ..planning.schedule import schedule
from .emission import Emission
from .emitter import Emitter, Operand
from .liveness import in_arena, intervals
from .memory import assign_offsets
from .names import remark
from .statement import Statement
from .step import Step
from .views import place


@struct(eq=False)
class RegionProgram:
    """The program of a region.

    Attributes
    ----------
    label
        The field of the node that holds the region.
    steps
        The steps, in order.
    results
        Its outputs.
    offsets, size
        The place of each of its arrays in the block, and the size of the block.
    """

    label: str
    steps: list[Step]
    results: list[Operand]
    offsets: dict[Operand, int]
    size: int

    def run(self) -> list[Statement]:
        """The statements of a run, indented by one level."""
        indented = []
        for step in self.steps:
            if step.code.run:
                statements = [Statement.of(f"# {remark(str(step))}", Phase.CALL), *step.code.run]
                indented += [statement.within(self.label, step.name, deeper=True) for statement in statements]
        return indented


def write_region(k: Emitter, label: str, region: Region, given: Sequence[Operand]) -> RegionProgram:
    """Emit the program of a region for these operands as its inputs; its memory is placed later, by :func:`settle`."""
    graph = region.graph
    orders = [type_.order for type_ in graph.input_types]
    laid = [x if x.type.order == order else k.laid_out(x, order) for x, order in zip(given, orders, strict=True)]
    operands = dict(zip(graph.inputs, laid, strict=True))
    weights = [name for name, x in operands.items() if x.phase is Phase.STATE]
    choices = choose_all(graph, threads=k.threads, exact=k.exact, lasting=k.lasting, given=weights)
    emission = Emission(schedule(choices, inside=True), k.names, operands)
    results = [emission.table[value] for value in graph.outputs]
    live = intervals(emission.steps, results, _in_block)
    layout = assign_offsets(live)
    offsets = {y: offset for interval, offset in zip(live, layout.offsets, strict=True) for y in interval.operands}
    k.inner[label] = tuple(emission.steps)
    k.workers = max([k.workers, *(step.workers for step in emission.steps)])
    return RegionProgram(label, emission.steps, results, offsets, layout.size)


def settle(k: Emitter, *regions: RegionProgram) -> None:
    """Place the memory of a node's regions, of which only one runs at a time, in a single block."""
    block = k.scratch((max(inner.size for inner in regions),), np.dtype(np.uint8), "region")
    for inner in regions:
        for step in inner.steps:
            path = inner.label, step.name
            for y in step.memory:
                if y in inner.offsets:
                    _bind(k, y, block, inner.offsets[y])
                else:
                    k.buffers.append(y)
            for part in ("state", "prepare", "bind"):
                getattr(k.code, part).extend(statement.within(*path) for statement in getattr(step.code, part))


def _in_block(y: Operand) -> bool:
    return in_arena(y) and not y.kept


def _bind(k: Emitter, y: Operand, block: Operand, offset: int) -> None:
    dtype = k.use(y.dtype.type)
    k.define(str(y), f"{k.use(place)}({block}, {offset}, {y.shape}, {dtype}, {y.type.order})", Phase.ARENA)
