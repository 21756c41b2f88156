"""The schedule: the order of tasks, and when each array is known."""

from __future__ import annotations

from collections.abc import Mapping

from ...base.structs import struct
from ...graph.facts import read_values
from ...graph.ir import Graph, Node, Value
from .choosing import Choices
from .phase import Phase
from .registry import Choice, Lowering


@struct(frozen=True)
class Task:
    """One node that computes.

    Attributes
    ----------
    name, node
        Of the graph.
    choice
        What runs it.
    phases
        For each output when it is known: with the parameters, in an arena, or with a call, whose caller gets it as it
        is. None where nobody reads it, and it need not be computed.
    """

    name: str
    node: Node
    choice: Choice
    phases: tuple[Phase | None, ...]


@struct(frozen=True)
class Schedule:
    """The tasks of a graph in order; their operands are the graph's values.

    Attributes
    ----------
    graph, threads, exact, lasting
        As of the choices.
    tasks
        In order of execution. Inputs, parameters and constants are none: they are there.
    last
        Those that run when all results are there, as they write over parameters; None where no parameter is written.
    """

    graph: Graph
    threads: int
    exact: bool
    lasting: bool
    tasks: tuple[Task, ...]
    last: frozenset[str] | None = None


def schedule(
    choices: Choices, chosen: Mapping[str, Choice] | None = None, *, inside: bool = False,
    last: frozenset[str] | None = None,
) -> Schedule:  # fmt: skip
    """The schedule of these choices, but of ``chosen`` where this has another for a node.

    Where it is ``inside`` another program its results lie in an arena as all else: no caller gets them as they are. So
    do new values of parameters where the program writes those itself (``last`` is given).
    """
    graph = choices.graph
    read, fixed = read_values(graph), choices.fixed
    results = set(graph.results if last is None else graph.outputs)
    follow = graph.channels_last  # results may lie as the inputs do

    def phase(name: str, output: int, node: Node, lowering: Lowering) -> Phase | None:
        value, type_ = Value(name, output), node.outputs[output]
        if value not in read and (output > 0 or lowering.spares):
            return None
        if name in fixed:
            return Phase.STATE
        laid = type_.order is None or follow
        return Phase.CALL if value in results and laid and not lowering.staged and not inside else Phase.ARENA

    tasks = []
    for name, usual in choices.nodes.items():
        node, choice = graph.node(name), (chosen or {}).get(name, usual)
        phases = tuple(phase(name, i, node, choice.lowering) for i in range(len(node.outputs)))
        tasks.append(Task(name, node, choice, phases))
    return Schedule(graph, choices.threads, choices.exact, choices.lasting, tuple(tasks), last)
