"""Drops the nodes that neither an output nor an update needs. Inputs stay: they are the calling convention."""

from __future__ import annotations

from ..graph.builder import Builder
from ..graph.facts import reachable
from ..graph.ir import Graph


def eliminate_dead(graph: Graph) -> Graph:
    """The graph without dead nodes; the same object if there are none."""
    live = reachable(graph.dag, [value.node for value in graph.results]) | set(graph.inputs)
    if len(live) == len(graph):
        return graph
    builder = Builder()
    for name, node in graph.nodes():
        if name in live:
            builder.add(node, graph.inputs_of(name), name)
    return Graph(builder.dag, graph.inputs, graph.outputs, graph.updates, graph.names)
