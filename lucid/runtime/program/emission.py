"""Emitting: the kernels of a schedule write their statements, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...graph.ir import Node, Value
from ...graph.ops.source import ConstantAttrs, ParameterAttrs
from ...graph.types import TensorType
from ..planning.choosing import Blame
from ..planning.phase import Phase
from ..planning.registry import Choice
from ..planning.schedule import Schedule, Task
from .emitter import Emitter, Operand
from .names import Names
from .statement import unmarked
from .step import Step


class Emission:
    """The steps of a schedule, and the names in them.

    Parameters
    ----------
    schedule
        The schedule.
    names
        The names of the program that it is a part of; by default a new set.
    given
        Existing operands to use for some of the graph's inputs.

    Attributes
    ----------
    steps
        As written, in order.
    names
        All names of the program.
    table
        The operand of each value.
    parameters
        Parameter name to operand.
    """

    def __init__(
        self, schedule: Schedule, names: Names | None = None, given: Mapping[str, Operand] | None = None
    ) -> None:
        self.steps: list[Step] = []
        self.names = names or Names()
        self.table: dict[Value, Operand] = {Value(name): operand for name, operand in (given or {}).items()}
        self.parameters: dict[str, Operand] = {}
        self._schedule = schedule
        self._written = dict(schedule.graph.updates) if schedule.last is not None else {}
        tasks = {task.name: task for task in schedule.tasks}
        for name, node in schedule.graph.nodes():
            with Blame(name, node):
                if name in tasks:
                    self._write(tasks[name])
                elif Value(name) not in self.table:
                    self.table[Value(name)] = self._given(name, node)
        for label, value in self._written.items():
            if label not in self.parameters:  # written, but not read
                self._parameter(label, label, schedule.graph.type(value).with_order(None))

    def _given(self, name: str, node: Node) -> Operand:
        """The operand of a value that exists before anything is computed."""
        (type_,) = node.outputs
        if isinstance(node.attrs, ConstantAttrs):
            constant = unmarked(self.names.use(node.attrs.value.array, name))
            return Operand(constant, type_, Phase.STATE, persistent=True)
        if isinstance(node.attrs, ParameterAttrs):
            return self._parameter(node.attrs.name, name, type_)
        return Operand(self.names.unique(name), type_, Phase.CALL, contiguous=False)

    def _parameter(self, label: str, name: str, type_: TensorType) -> Operand:
        # the content of a parameter that the program itself writes changes at every run, like that of the arena
        phase = Phase.ARENA if label in self._written else Phase.STATE
        operand = self.parameters[label] = Operand(self.names.unique(name), type_, phase, persistent=True)
        return operand

    def _write(self, task: Task) -> None:
        schedule = self._schedule
        outs: list[Operand | None] = []
        ins = tuple(self.table[value] for value in schedule.graph.inputs_of(task.name))
        names = task.node.op.outputs or ()
        for i, (type_, phase) in enumerate(zip(task.node.outputs, task.phases, strict=True)):
            if phase is None:
                outs.append(None)
                continue
            label = task.name if i == 0 else f"{task.name}_{names[i] if i < len(names) else i}"
            self.table[Value(task.name, i)] = operand = Operand(self.names.unique(label), type_, phase)
            outs.append(operand)
        self.steps.append(
            written(
                task.name, task.node, task.choice, self.names, ins, outs,
                threads=schedule.threads, exact=schedule.exact, lasting=schedule.lasting,
                stage=task.choice.lowering.staged, last=task.name in (schedule.last or ()),
            )
        )  # fmt: skip


def written(
    name: str, node: Node, choice: Choice, names: Names, ins: Sequence[Operand], outs: Sequence[Operand | None], *,
    threads: int = 1, exact: bool = False, lasting: bool = True, stage: bool = False, last: bool = False,
) -> Step:  # fmt: skip
    """The step that a node's kernel writes for these operands; with ``stage``, for copies of the caller's arrays."""
    k = Emitter(node, name, names, ins, outs, threads, choice.way.block, exact, lasting, last)
    if stage:
        k.stage()
    choice.lowering.emit(k)
    k.check_written()
    overwritable = tuple(pair for pair in k.overwritable if pair not in k.kept)
    return Step(
        name, node, choice, tuple(ins), tuple(outs), tuple(k.buffers), overwritable, k.workers, k.code,
        tuple(k.inner.items()),  # type: ignore[arg-type]  # an emitter does not know the type of steps
    )  # fmt: skip
