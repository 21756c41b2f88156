"""Chooses the lowering of each node, how its work is cut, and the number of threads, by predicted time.

Nothing is emitted here; :mod:`.schedule` turns the choices into a schedule.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...base.structs import struct
from ...errors import GraphError, LucidError, from_handler
from ...graph.facts import parameter_only, read_values
from ...graph.ir import Graph, Node, Value
from ...graph.types import TensorType
from ...graph.verify import describe
from .machine import this_machine
from .registry import Choice, choices, choose
from .work import FORK, Work, seconds


@struct(frozen=True)
class Choices:
    """The choices made for a graph.

    Attributes
    ----------
    graph
        Concrete, with the memory order of all values decided.
    threads
        How many threads the kernels may share their work over.
    exact
        Whether the choice was limited to lowerings that round like a plain sum of products.
    lasting
        Whether parameters stay the same for many runs.
    fixed
        Nodes that depend on parameters only: they run again when a parameter changes, not at each run.
    nodes
        The choice for each node that computes, by name, in topological order.
    predicted
        Seconds that a run is predicted to take.
    """

    graph: Graph
    threads: int
    exact: bool
    lasting: bool
    fixed: Container[str]
    nodes: Mapping[str, Choice]
    predicted: float


def choose_all(
    graph: Graph, *, threads: int = 1, exact: bool = False, lasting: bool = True, given: Iterable[str] = ()
) -> Choices:
    """The choices with the least predicted time; for one thread if waking the others does not pay.

    ``given`` names inputs of a region that depend on parameters only.
    """
    fixed = parameter_only(graph, given)
    kinds = _Kinds(graph, lasting, fixed)
    found = kinds.quickest(threads, exact)
    predicted = kinds.seconds(found)
    if threads > 1 and is_brief(predicted):
        alone, machine = kinds.quickest(1, exact), this_machine()
        # what a run with helpers does before its first step and after its last takes as long as one more fork
        helped = machine.helpers and kinds.seconds(alone) >= predicted + seconds(FORK, machine)
        if not helped and alone != found:
            found, threads, predicted = alone, 1, kinds.seconds(alone)
    nodes = {name: found[kind] for name, kind in kinds.of.items()}
    return Choices(graph, threads, exact, lasting, fixed, nodes, predicted)


def is_brief(predicted: float) -> bool:
    """Whether a run is shorter than waking a sleeping worker."""
    return predicted < this_machine().wake


class _Kinds:
    """The computing nodes of a graph, grouped so that equal nodes (a *kind*) are chosen for only once.

    Attributes
    ----------
    of
        Node name to the number of its kind.
    """

    def __init__(self, graph: Graph, lasting: bool, fixed: Container[str]) -> None:
        read = read_values(graph)
        numbers: dict[Any, int] = {}
        self.of: dict[str, int] = {}
        self._first: list[tuple[str, Node, tuple[TensorType, ...], bool, bool]] = []
        self._runs: list[int] = []  # by kind, the number of its nodes that each run computes
        for name, node in graph.nodes():
            if node.op.source is None:
                node, types = as_read(name, node, read), tuple(map(graph.type, graph.inputs_of(name)))
                again = lasting and name not in fixed  # fixed nodes run once per change: packed weights would not pay
                stored = not again and weight_is_stored(graph, name)
                kind = numbers.setdefault((node.op, node.attrs, types, node.outputs, again, stored), len(numbers))
                if kind == len(self._first):
                    self._first.append((name, node, types, again, stored))
                    self._runs.append(0)
                self.of[name] = kind
                self._runs[kind] += name not in fixed

    def quickest(self, threads: int, exact: bool) -> list[Choice]:
        """For each kind, the choice with the least predicted time."""
        found = []
        for name, node, types, lasting, stored in self._first:
            with Blame(name, node):
                found.append(choose(node, types, threads=threads, exact=exact, lasting=lasting, stored=stored))
        return found

    def seconds(self, found: Sequence[Choice]) -> float:
        """Predicted seconds of a run with these choices (one per kind)."""
        return sum(runs * choice.way.seconds for runs, choice in zip(self._runs, found, strict=True))


def weight_is_stored(graph: Graph, name: str) -> bool:
    """Whether a node's second input, its weight if it has one, is stored rather than computed, and so row-major."""
    inputs = graph.inputs_of(name)
    return len(inputs) > 1 and graph.node(inputs[1].node).op.source is not None


def as_read(name: str, node: Node, read: set[Value]) -> Node:
    """The node without trailing outputs that nothing reads; its lowering is chosen for this form."""
    outputs = len(node.outputs)
    while outputs > 1 and Value(name, outputs - 1) not in read:
        outputs -= 1
    return node if outputs == len(node.outputs) else replace(node, outputs=node.outputs[:outputs])


def node_seconds(
    node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False, lasting: bool = True
) -> float:
    """Predicted seconds that a node takes."""
    return choose(node, inputs, threads=threads, exact=exact, lasting=lasting).way.seconds


def result_seconds(
    node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False
) -> float | None:
    """Predicted seconds until the caller has the result of a node in row-major order.

    A result in another memory order is converted by a copy, which is counted. None if no lowering that runs the node
    predicts different times for different orders.
    """
    (y,) = node.outputs
    found = choices(node, inputs, threads=threads, exact=exact)
    if y.order is not None:
        return found[0].way.seconds + seconds(Work(calls=1, near=2 * y.nbytes), this_machine())
    return next((choice.way.seconds for choice in found if choice.lowering.ordered), None)


class Blame:
    """Context in which exceptions become GraphErrors that name the node.

    Files and hand-made graphs may hold attributes that no kernel expects.
    """

    __slots__ = ("name", "node")

    def __init__(self, name: str, node: Node) -> None:
        self.name, self.node = name, node

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, LucidError) and not from_handler(error):
            raise GraphError(f"{describe(self.name, self.node)} cannot be planned: {error!r}") from error
