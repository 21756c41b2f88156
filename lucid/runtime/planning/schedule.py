"""The schedule: the order in which nodes run, and the phase of each of their outputs."""

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
        The node, and its name in the graph.
    choice
        The lowering that runs it, and how its work is cut.
    phases
        The phase of each output: ``STATE`` if it depends on parameters only, ``CALL`` if it is a new array that the
        caller receives, otherwise ``ARENA``. None if nothing reads the output and it need not be computed.
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
        As in :class:`~.choosing.Choices`.
    tasks
        In order of execution; inputs, parameters and constants have none.
    last
        Names of the tasks that run after all results exist, since they overwrite parameters; None if the program does
        not update parameters itself.
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
    """Schedule a graph.

    Parameters
    ----------
    choices
        The choice for each node.
    chosen
        Choices for some nodes that replace those in ``choices``.
    inside
        Whether the graph is a region of another program: its results are then in the arena too, as no caller receives
        them.
    last
        See :class:`Schedule`. If given, new values of parameters are not results, and so in the arena.
    """
    graph = choices.graph
    read, fixed = read_values(graph), choices.fixed
    results = set(graph.results if last is None else graph.outputs)
    follow = graph.channels_last  # results may have the memory order of the inputs

    def phase(name: str, output: int, node: Node, lowering: Lowering) -> Phase | None:
        value, type_ = Value(name, output), node.outputs[output]
        if value not in read and (output > 0 or lowering.spares):
            return None
        if name in fixed:
            return Phase.STATE
        returned = value in results and (type_.order is None or follow) and not lowering.staged and not inside
        return Phase.CALL if returned else Phase.ARENA

    tasks = []
    for name, usual in choices.nodes.items():
        node, choice = graph.node(name), (chosen or {}).get(name, usual)
        phases = tuple(phase(name, i, node, choice.lowering) for i in range(len(node.outputs)))
        tasks.append(Task(name, node, choice, phases))
    return Schedule(graph, choices.threads, choices.exact, choices.lasting, tuple(tasks), last)
