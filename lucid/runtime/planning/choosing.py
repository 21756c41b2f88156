"""Choosing: which lowering runs each node of a graph, in which way, and for how many threads.

What is predicted decides, and nothing is written: from the choices follows a schedule (:mod:`.schedule`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ...errors import GraphError, LucidError, from_handler
from ...graph.facts import parameter_only, read_values
from ...graph.ir import Graph, Node, Value
from ...graph.types import TensorType
from ...graph.verify import describe
from .machine import this_machine
from .registry import Choice, choices, choose
from .work import Work, seconds

BRIEF = 1.5e-4
"""Seconds of predicted work below which nobody is woken to help: that takes as long."""

TEAM = 4e-6
"""Seconds that a run with helpers takes longer before its first and after its last step."""


@dataclass(frozen=True)
class Choices:
    """What runs a graph.

    Attributes
    ----------
    graph
        Concrete, with the memory order of all values decided.
    threads
        How many threads the kernels may share their work over.
    exact
        Whether only lowerings were taken that round as a plain sum of products does.
    nodes
        The choice for each node that computes, by name, in topological order.
    predicted
        Seconds that a run is predicted to take.
    """

    graph: Graph
    threads: int
    exact: bool
    nodes: Mapping[str, Choice]
    predicted: float


def choose_all(graph: Graph, *, threads: int = 1, exact: bool = False) -> Choices:
    """The quickest choices by prediction; for one thread where several are not worth waking."""
    found = _quickest(graph, threads, exact)
    if threads > 1 and found.predicted < BRIEF:
        alone = _quickest(graph, 1, exact)
        helped = this_machine().helpers and alone.predicted >= found.predicted + TEAM
        if not helped and alone.nodes != found.nodes:
            return alone
    return found


def _quickest(graph: Graph, threads: int, exact: bool) -> Choices:
    fixed, read = parameter_only(graph), read_values(graph)
    alike: dict[Any, Choice] = {}
    nodes: dict[str, Choice] = {}
    for name, node in graph.nodes():
        if node.op.source is None:
            node, types = as_read(name, node, read), tuple(map(graph.type, graph.inputs_of(name)))
            key = node.op, node.attrs, types, node.outputs
            if key not in alike:
                with blamed(name, node):
                    alike[key] = choose(node, types, threads=threads, exact=exact)
            nodes[name] = alike[key]
    predicted = sum(choice.way.seconds for name, choice in nodes.items() if name not in fixed)
    return Choices(graph, threads, exact, nodes, predicted)


def as_read(name: str, node: Node, read: set[Value]) -> Node:
    """The node without the last outputs that nobody reads: as which its lowering is chosen."""
    outputs = len(node.outputs)
    while outputs > 1 and Value(name, outputs - 1) not in read:
        outputs -= 1
    return node if outputs == len(node.outputs) else replace(node, outputs=node.outputs[:outputs])


def result_seconds(
    node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False
) -> float | None:
    """Predicted seconds until the caller has the result of a node, row by row.

    A result that lies otherwise is turned as it is copied. None where no lowering's prediction tells the one from the
    other.
    """
    (y,) = node.outputs
    found = choices(node, inputs, threads=threads, exact=exact)
    if y.order is not None:
        return found[0].way.seconds + seconds(Work(calls=1, near=2 * y.nbytes), this_machine())
    return next((choice.way.seconds for choice in found if choice.lowering.ordered), None)


@contextmanager
def blamed(name: str, node: Node) -> Iterator[None]:
    """An exception within is said to be the node's: a kernel may meet any attribute in a file or a hand-made graph."""
    try:
        yield
    except LucidError:
        raise
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"{describe(name, node)} cannot be planned: {error!r}") from error
