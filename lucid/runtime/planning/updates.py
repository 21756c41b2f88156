"""In-place updates: the nodes with which a program overwrites its own parameters, after everything else."""

from __future__ import annotations

from ...graph.builder import Builder
from ...graph.facts import reachable
from ...graph.ir import Graph, Value
from ...graph.ops.fused import element_by_element


def updates_last(graph: Graph) -> tuple[Graph, frozenset[str]]:
    """The graph with all nodes that may overwrite a parameter moved to the end, and the names of the moved nodes.

    These are the element-wise nodes that compute the new value of a parameter from the old one, and the nodes that read
    their results; but none that an output depends on, since outputs exist before anything is overwritten.
    """
    before = reachable(graph.dag, [value.node for value in graph.outputs])
    last: set[str] = set()
    writes = {value.node for label, value in graph.updates if _over(graph, label, value)} - before
    for name in graph.order:
        if name in writes or not last.isdisjoint(graph.dag.predecessors(name)):
            last.add(name)
    if not last:
        return graph, frozenset()
    builder = Builder()
    for name in (*(n for n in graph.order if n not in last), *(n for n in graph.order if n in last)):
        builder.add(graph.node(name), graph.inputs_of(name), name)
    return builder.freeze(graph.inputs, graph.outputs, graph.updates, graph.names), frozenset(last)


def _over(graph: Graph, label: str, value: Value) -> bool:
    """Whether the new value of a parameter may be written over the old one, element by element."""
    node, source = graph.node(value.node), graph.parameters.get(label)
    return source is not None and element_by_element(node) and Value(source) in graph.inputs_of(value.node)
