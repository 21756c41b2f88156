"""Plans: which kernel runs each node, in which order, where every byte lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...base.collector import collector_paused
from ...errors import GraphError, LucidError, from_handler
from ...graph.facts import parameter_only, read_values
from ...graph.ir import Graph, Node, Value
from ...graph.ops.source import INPUT, ConstantAttrs, ParameterAttrs
from ...graph.verify import describe
from ..program.emitter import Emitter, Names, Operand
from ..program.statement import Phase, unmarked
from .choosing import Chooser, as_read
from .liveness import intervals, passing
from .machine import this_machine
from .memory import Layout, assign_offsets
from .packing import Packings, only_passed, packings
from .registry import Choice
from .step import Step

BRIEF = 1.5e-4
"""Seconds of predicted work below which nobody is woken to help: that takes as long."""

TEAM = 4e-6
"""Seconds that a run with helpers takes longer before its first and after its last step."""


@dataclass(eq=False)
class Plan:
    """A schedule for one concrete graph.

    Attributes
    ----------
    graph
        What is computed.
    steps
        In order of execution; those that depend on parameters only run when a parameter changed.
    inputs, outputs
        Operands of the graph's inputs and results (outputs, then updates).
    parameters
        Parameter name to operand.
    offsets
        Place of each arena operand, in bytes.
    layout
        Size of the arena, and the largest live set it cannot be smaller than.
    packings
        What is kept of parameters.
    passing, workspace_bytes
        Place of each value that is needed only while parameters are packed, likewise.
    measured
        Seconds of each step, where it was profiled or tuned.
    """

    graph: Graph
    threads: int
    exact: bool = False
    steps: list[Step] = field(default_factory=list)
    inputs: list[Operand] = field(default_factory=list)
    outputs: list[Operand] = field(default_factory=list)
    parameters: dict[str, Operand] = field(default_factory=dict)
    offsets: dict[Operand, int] = field(default_factory=dict)
    layout: Layout = Layout((), 0, 0)
    packings: Packings = field(default_factory=Packings)
    passing: dict[Operand, int] = field(default_factory=dict)
    workspace_bytes: int = 0
    names: Names = field(default_factory=Names)
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def packed_bytes(self) -> int:
        """Bytes of what is kept of parameters."""
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
    def largest(self) -> int:
        """Numbers in the largest array that a run reads or writes."""
        made = (y for step in self.steps for y in (*step.ins, *step.outs, *step.buffers) if y is not None)
        return max((math.prod(y.shape) for y in (*self.inputs, *made)), default=0)

    @property
    def predicted(self) -> float:
        """Seconds that the steps of a run are predicted to take."""
        return sum(step.choice.way.seconds for step in self.steps if not step.fixed)

    @property
    def brief(self) -> bool:
        """Whether a run ends before a helper that sleeps is awake."""
        return self.predicted < BRIEF

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("node", "op", "lowering", "workers", "predicted us", "measured us", "output", "when")
        ]
        for step in self.steps:
            kinds = ", ".join(str(y.type) for y in step.outs if y is not None)
            view = bool(step.outs) and step.outs[0] is not None and step.outs[0].base is not None
            times = (step.choice.way.seconds, self.measured.get(step.name))
            rows.append((
                step.name, step.node.op.name, "view" if view else str(step.choice), str(step.workers),
                *(f"{seconds * 1e6:.1f}" if seconds else "" for seconds in times), kinds,
                "once" if step.fixed else "run",
            ))  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += [
            "",
            f"steps {len(self.steps)}, threads {self.threads}",
            f"arena {self.arena_bytes:,} bytes (largest live set {self.layout.lower_bound:,})",
            f"packed parameters {self.packed_bytes:,} bytes, and {self.workspace_bytes:,} to pack them",
            f"outputs {sum(y.type.nbytes for y in self.outputs):,} bytes",
        ]
        return "\n".join(lines)


@collector_paused()
def make_plan(
    graph: Graph, *, threads: int = 1, exact: bool = False, chosen: Mapping[str, Choice] | None = None
) -> Plan:
    """Plan a concrete graph.

    Parameters
    ----------
    graph
        Without symbolic dimensions (``graph.bind(sizes)``), and with the memory order of all values decided.
    threads
        How many threads the kernels may share their work over.
    exact
        Take only lowerings that round as a plain sum of products does.
    chosen
        What runs some of the nodes; for the others the quickest by prediction is taken. All else is
        decided as without it.
    """
    if graph.symbols:
        raise GraphError(f"a plan needs concrete sizes; {', '.join(graph.symbols)} is symbolic: bind it first")
    plan = _planned(graph, threads, exact)
    if plan.names.regions and plan.brief:
        alone = _planned(graph, 1, exact)
        if not this_machine().helpers or alone.predicted < plan.predicted + TEAM:
            plan = alone
    # the choices decide nothing but the lowerings, not for how many threads
    return _Planner(graph, Chooser(plan.threads, exact), chosen).run() if chosen else plan


def _planned(graph: Graph, threads: int, exact: bool) -> Plan:
    return _Planner(graph, Chooser(threads, exact), {}).run()


class _Planner:
    def __init__(self, graph: Graph, chooser: Chooser, chosen: Mapping[str, Choice]) -> None:
        self.plan = Plan(graph, chooser.threads, chooser.exact)
        self.chooser = chooser
        self.chosen = dict(chosen)
        self.table: dict[Value, Operand] = {}
        self.results = set(graph.results)
        self.read, self.fixed = read_values(graph), parameter_only(graph)
        self.follow = graph.channels_last

    def run(self) -> Plan:
        for name, node in self.plan.graph.nodes():
            try:
                self.add(name, node)
            except LucidError:
                raise
            except Exception as error:  # a kernel may meet any attribute in a file or a hand-made graph
                if from_handler(error):
                    raise
                raise GraphError(f"{describe(name, node)} cannot be planned: {error!r}") from error
        return self.finish()

    def add(self, name: str, node: Node) -> None:
        plan = self.plan
        if node.op is INPUT:
            operand = Operand(plan.names.unique(name), node.outputs[0], Phase.CALL, contiguous=False)
            self.table[Value(name)] = operand
        elif isinstance(node.attrs, ParameterAttrs):
            operand = Operand(plan.names.unique(name), node.outputs[0], Phase.STATE, persistent=True)
            self.table[Value(name)] = plan.parameters[node.attrs.name] = operand
        elif isinstance(node.attrs, ConstantAttrs):
            held = unmarked(plan.names.use(node.attrs.value.array, name))
            operand = Operand(held, node.outputs[0], Phase.STATE, persistent=True)
            self.table[Value(name)] = operand
        else:
            self._lower(name, node)

    def _lower(self, name: str, node: Node) -> None:
        ins = tuple(self.table[value] for value in self.plan.graph.inputs_of(name))
        types = tuple(x.type for x in ins)
        chosen = self.chosen.get(name) or self.chooser(as_read(name, node, self.read), types)
        outs: list[Operand | None] = []
        for i, type_ in enumerate(node.outputs):
            value = Value(name, i)
            # a kernel may rely on its first output; the others are computed only if someone reads them
            if value not in self.read and i > 0:
                outs.append(None)
                continue
            laid = type_.order is None or self.follow
            direct = value in self.results and laid and not chosen.lowering.staged
            phase = Phase.STATE if name in self.fixed else Phase.CALL if direct else Phase.ARENA
            names = node.op.outputs or ()
            label = name if i == 0 else f"{name}_{names[i] if i < len(names) else i}"
            self.table[value] = operand = Operand(self.plan.names.unique(label), type_, phase)
            outs.append(operand)
        k = Emitter(node, name, self.plan.names, ins, outs, self.plan.threads, chosen.way.block, self.plan.exact)
        if chosen.lowering.staged:
            k.stage()
        chosen.lowering.emit(k)
        k.check_written()
        buffers, overwritable = tuple(k.buffers), tuple(k.overwritable)
        self.plan.steps.append(Step(name, node, chosen, ins, tuple(outs), buffers, overwritable, k.workers, k.code))

    def finish(self) -> Plan:
        plan = self.plan
        plan.inputs = [self.table[Value(name)] for name in plan.graph.inputs]
        plan.outputs = [self.table[value] for value in plan.graph.results]
        live = intervals(plan.steps, plan.outputs)
        plan.layout = assign_offsets(live)
        for interval, offset in zip(live, plan.layout.offsets, strict=True):
            for operand in interval.operands:
                plan.offsets[operand] = offset
        self._place_state()
        return plan

    def _place_state(self) -> None:
        """What is kept of parameters, and where. Values that only packing reads share memory, as those of a run do."""
        plan = self.plan
        only = only_passed(plan.steps, passing(plan.steps, plan.outputs))
        live = intervals(plan.steps, (), only.__contains__)
        layout = assign_offsets(live)
        plan.workspace_bytes = layout.size
        for interval, offset in zip(live, layout.offsets, strict=True):
            plan.passing.update((operand, offset) for operand in interval.operands)
        plan.packings = packings(plan.steps, plan.parameters, plan.names, only)
