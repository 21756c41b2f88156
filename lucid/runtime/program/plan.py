"""Plans: the kernel of each node, the order of execution, and the place of every byte."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np

from ...base.garbage import collection_paused
from ...base.structs import struct
from ...base.tables import as_html
from ...errors import GraphError
from ...graph.ir import Graph, Value
from ..planning.choosing import choose_all, is_brief
from ..planning.exchanges import sums_apart
from ..planning.phase import Phase
from ..planning.registry import Choice
from ..planning.schedule import Schedule, schedule
from ..planning.updates import updates_last
from ..workers.exchange import go_on
from .emission import Emission
from .emitter import Operand
from .liveness import Interval, intervals, passing, written_over
from .memory import ARENA, WORKSPACE, Layout, Place, assign_offsets
from .names import Names
from .packing import Packings, only_passed, packings
from .recompute import Recomputed
from .statement import Statement
from .step import Step

OBJECTS = 34_000
"""About how many bytes graphs, plan and program take besides arrays, for each step of a training program."""


@struct(eq=False)
class Plan:
    """A schedule for one concrete graph.

    Attributes
    ----------
    graph
        What is computed.
    steps
        In order of execution; those that depend on parameters only run when a parameter changed.
    inputs, outputs
        Operands of the graph's inputs and results (outputs, then updates that the program does not write itself).
    updates
        Pairs of operands, a parameter and its new value, for the program to copy at the end; None if it writes no
        parameter.
    last
        The number of steps that run when all results exist, as they write over parameters.
    parameters
        Parameter name to operand.
    places
        Where each operand with memory of its own is: in the arena, in a packing, or, if it is needed only while
        parameters are packed, in the workspace.
    layout
        Size of the arena, and the largest live set it cannot be smaller than.
    packings
        The packed parameters.
    workspace_bytes
        The size of the workspace.
    measured
        Seconds of each step, if it was profiled or tuned.
    brief
        Whether a run is shorter than waking a sleeping worker.
    recomputed
        The nodes that recompute the values of others, so that less memory is needed.
    """

    graph: Graph
    threads: int
    exact: bool = False
    lasting: bool = True
    steps: list[Step] = field(default_factory=list)
    inputs: list[Operand] = field(default_factory=list)
    outputs: list[Operand] = field(default_factory=list)
    updates: list[tuple[Operand, Operand]] | None = None
    last: int = 0
    parameters: dict[str, Operand] = field(default_factory=dict)
    places: dict[Operand, Place] = field(default_factory=dict)
    layout: Layout = Layout((), 0, 0)
    packings: Packings = field(default_factory=Packings)
    workspace_bytes: int = 0
    names: Names = field(default_factory=Names)
    measured: dict[str, float] = field(default_factory=dict)
    brief: bool = False
    recomputed: tuple[Recomputed, ...] = ()

    @property
    def final(self) -> list[Step]:
        """The steps that run when all results exist."""
        return self.steps[len(self.steps) - self.last :]

    @property
    def packed_bytes(self) -> int:
        """Bytes of packed parameters."""
        return sum(packing.nbytes for packing in self.packings.all)

    @property
    def arena_bytes(self) -> int:
        """Bytes of working memory one run needs."""
        return self.layout.size

    @property
    def nbytes(self) -> int:
        """Bytes of everything: working memory, packed parameters and what packing them takes, and results."""
        results = sum(y.type.nbytes for y in self.outputs)
        return self.arena_bytes + self.packed_bytes + self.workspace_bytes + results

    @property
    def peak(self) -> int:
        """About how many bytes a process needs for it, with parameters, inputs and the program itself."""
        constants = sum(x.nbytes for x in self.names.namespace.values() if isinstance(x, np.ndarray))
        arguments = sum(x.type.nbytes for x in (*self.parameters.values(), *self.inputs))
        return self.nbytes + constants + arguments + OBJECTS * len(self.steps)

    @property
    def largest(self) -> int:
        """The number of elements of the largest array that a run reads or writes."""
        arrays = (y for step in self.steps for y in (*step.ins, *step.outs, *step.buffers) if y is not None)
        return max((math.prod(y.shape) for y in (*self.inputs, *arrays)), default=0)

    @property
    def predicted(self) -> float:
        """Seconds that the steps of a run are predicted to take."""
        return sum(step.choice.way.seconds for step in self.steps if not step.fixed)

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("node", "op", "lowering", "workers", "predicted us", "measured us", "output", "when")
        ]
        for step in self.steps:
            rows += _rows(step, self.measured.get(step.name))
        return rows

    def _facts(self) -> list[str]:
        again = sum(node.seconds for node in self.recomputed)
        return [
            f"steps {len(self.steps)}, threads {self.threads}",
            f"arena {self.arena_bytes:,} bytes (largest live set {self.layout.lower_bound:,})",
            f"packed parameters {self.packed_bytes:,} bytes, and {self.workspace_bytes:,} to pack them",
            f"outputs {sum(y.type.nbytes for y in self.outputs):,} bytes",
            *([f"recomputed {len(self.recomputed)}, predicted {again * 1e6:.1f} us"] if self.recomputed else ()),
        ]

    def __str__(self) -> str:
        rows = self._table()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", *self._facts()])

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        return as_html(self._table(), self._facts())


def _rows(step: Step, measured: float | None = None, depth: int = 0, field: str = "") -> Iterator[tuple[str, ...]]:
    """The table's row for a step, then, indented, those for the steps of its regions."""
    kinds = ", ".join(str(y.type) for y in step.outs if y is not None)
    view = bool(step.outs) and step.outs[0] is not None and step.outs[0].base is not None and not step.code.run
    times = (step.choice.way.seconds, measured)
    yield (
        "  " * depth + field + step.name, step.node.op.name, "view" if view else str(step.choice), str(step.workers),
        *(f"{seconds * 1e6:.1f}" if seconds else "" for seconds in times), kinds, "once" if step.fixed else "run",
    )  # fmt: skip
    for label, steps in step.inner:
        for inner in steps:
            yield from _rows(inner, None, depth + 1, f"{label} > ")


@collection_paused()
def make_plan(
    graph: Graph, *, threads: int = 1, exact: bool = False, lasting: bool = True,
    chosen: Mapping[str, Choice] | None = None, in_place: bool = False,
) -> Plan:  # fmt: skip
    """Plan a concrete graph.

    Parameters
    ----------
    graph
        Without symbolic dimensions (``graph.bind(sizes)``), and with the memory order of all values decided.
    threads
        How many threads the kernels may share their work over.
    exact
        Use only lowerings that round like a plain sum of products.
    lasting
        Whether parameters stay the same for many runs, as they do except in training.
    chosen
        Choices for some of the nodes, instead of those with the least predicted time. They affect nothing else, such as
        the number of threads.
    in_place
        Whether the program writes the parameters that the graph updates, rather than returning their new values.
    """
    if graph.symbols:
        raise GraphError(f"a plan needs concrete sizes; {', '.join(graph.symbols)} is symbolic: bind it first")
    graph = sums_apart(graph)
    graph, last = updates_last(graph) if in_place and graph.updates else (graph, None)
    return emitted(schedule(choose_all(graph, threads=threads, exact=exact, lasting=lasting), chosen, last=last))


def emitted(scheduled: Schedule) -> Plan:
    """The plan of a schedule: lets the kernels write their lines, and places their memory."""
    emission, graph = Emission(scheduled), scheduled.graph
    results = graph.results if scheduled.last is None else graph.outputs
    _keep_sums_going(emission)
    table = emission.table
    plan = Plan(
        graph, scheduled.threads, scheduled.exact, scheduled.lasting, emission.steps, parameters=emission.parameters,
        inputs=[table[Value(name)] for name in graph.inputs], outputs=[table[value] for value in results],
        names=emission.names,
    )  # fmt: skip
    if scheduled.last is not None:
        plan.last = len(scheduled.last)
        written = [(emission.parameters[label], table[value]) for label, value in graph.updates]
        plan.updates = [pair for pair in written if not written_over(plan.steps, *pair)]
    plan.brief = is_brief(plan.predicted)
    _place_arena(plan)
    _place_state(plan)
    return plan


def _keep_sums_going(emission: Emission) -> None:
    """Let sums over processes advance after each step that runs between their beginning and the first end."""
    begun = False
    for step in emission.steps:
        if step.node.op.exchange == "ends":
            return
        if begun and step.node.op.exchange is None and step.code.run:
            step.code.run.append(Statement.of(f"{emission.names.use(go_on)}()", Phase.CALL))
        begun = begun or step.node.op.exchange == "begins"


def _place_arena(plan: Plan) -> None:
    live = intervals(plan.steps, [*plan.outputs, *(y for _, y in plan.updates or ())])
    plan.layout = _placed(plan, ARENA, live)


def _place_state(plan: Plan) -> None:
    """Place packed parameters, and values that only packing reads; the latter share memory like those of a run."""
    temporary = only_passed(plan.steps, passing(plan.steps, plan.outputs))
    live = intervals(plan.steps, (), temporary.__contains__)
    plan.workspace_bytes = _placed(plan, WORKSPACE, live).size
    plan.packings, packed = packings(plan.steps, plan.parameters, plan.names, temporary)
    plan.places.update(packed)


def _placed(plan: Plan, memory: str, live: Sequence[Interval]) -> Layout:
    """Place these intervals in one of the plan's memories."""
    layout = assign_offsets(live)
    for interval, offset in zip(live, layout.offsets, strict=True):
        plan.places.update(dict.fromkeys(interval.operands, Place(memory, offset)))
    return layout
