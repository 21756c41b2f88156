"""Dead code elimination. Inputs remain, as they are part of the calling convention."""

from __future__ import annotations

from ..graph.builder import Builder
from ..graph.facts import live
from ..graph.ir import Graph, Value


def eliminate_dead(graph: Graph) -> Graph:
    """The graph without dead nodes; the same object if there are none."""
    kept = live(graph.dag, (*graph.results, *map(Value, graph.inputs)))
    if len(kept) == len(graph):
        return graph
    builder = Builder()
    for name, node in graph.nodes():
        if name in kept:
            builder.add(node, graph.inputs_of(name), name)
    return builder.freeze(graph.inputs, graph.outputs, graph.updates, graph.names)
