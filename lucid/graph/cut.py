"""Cutting out parts of a graph as graphs of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from .builder import Builder
from .facts import fixed_alone
from .ir import Graph, Node, Value
from .opdef import TypeAttrs
from .ops.source import INPUT


def cut(
    graph: Graph,
    nodes: Collection[str],
    kept: Mapping[Value, None],
    inputs: Sequence[str],
    outputs: Sequence[Value],
    updates: Sequence[tuple[str, Value]] = (),
    names: Sequence[str] = (),
) -> Graph:
    """A graph that computes ``outputs`` and ``updates`` from inputs of a graph and from ``kept`` values.

    Parameters
    ----------
    graph
        The graph; it is not changed.
    nodes
        Names of the nodes that compute.
    kept
        Values computed elsewhere, in order; they become inputs after ``inputs``.
    inputs
        Names of the graph's own inputs that it takes.
    outputs, updates, names
        Its results, and the names of the outputs.
    """
    builder = Builder()
    mapped: dict[Value, Value] = {}
    for name in inputs:
        node = graph.node(name)
        mapped[Value(name)] = builder.add(node, (), name)[0]
    for value in kept:
        if value not in mapped:
            type_ = graph.type(value)
            node = Node(INPUT, TypeAttrs(type_.shape, type_.dtype), (type_,), graph.node(value.node).origin)
            label = value.node if value.output == 0 else f"{value.node}.{value.output}"
            mapped[value] = builder.add(node, (), label)[0]
    for name, node in graph.nodes():
        if name in nodes and Value(name) not in mapped:
            feeds = [mapped[value] for value in graph.inputs_of(name)]
            for output, value in enumerate(builder.add(node, feeds, name)):
                mapped[Value(name, output)] = value
    return builder.finish([mapped[v] for v in outputs], [(p, mapped[v]) for p, v in updates], names)


class Part(NamedTuple):
    """Some nodes of a graph as a graph of their own.

    Attributes
    ----------
    graph
        The graph with these nodes, under their names.
    inputs, outputs
        The values of the whole graph that it takes and returns.
    """

    graph: Graph
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def computing(self) -> list[str]:
        """Names of its nodes other than inputs, parameters and constants."""
        return [name for name, node in self.graph.nodes() if not node.op.source]


def part(graph: Graph, names: Iterable[str]) -> Part:
    """The named nodes as a graph.

    Values that they read from other nodes become inputs; parameters and constants are included. Values that other nodes
    read become outputs, as do all values of a node that is never read.
    """
    inside = {name for name in names if not graph.node(name).op.source}
    along = set(inside)
    kept: dict[Value, None] = {}
    for name in (name for name in graph.order if name in inside):
        for value in graph.inputs_of(name):
            node = graph.node(value.node)
            if node.op.source == "parameter" or fixed_alone(node):
                along.add(value.node)
            elif value.node not in inside:
                kept[value] = None
    given = [name for name in graph.inputs if Value(name) in kept]
    rest = {value: None for value in kept if value.node not in given}
    outputs = [value for name in graph.order if name in inside for value in _read(graph, name, inside)]
    return Part(cut(graph, along, rest, given, outputs), (*map(Value, given), *rest), tuple(outputs))


def _read(graph: Graph, name: str, inside: Collection[str]) -> list[Value]:
    """The values of a node that are read outside these nodes; all of them if none is read anywhere."""
    values = [Value(name, i) for i in range(len(graph.node(name).outputs))]
    readers = {value: [user for user, _ in graph.users(value)] for value in values}
    results = set(graph.results)
    found = [v for v in values if v in results or any(user not in inside for user in readers[v])]
    return found if found or any(readers.values()) else values
