"""Sums over processes begin as early and end as late as they can: what lies between runs beside them."""

from __future__ import annotations

from ...graph.builder import Builder
from ...graph.ir import Graph


def sums_apart(graph: Graph) -> Graph:
    """The graph with each sum begun as soon as its last input is there, in order of their numbers; the last at the end.

    All that waits for one comes after all that does not. Without sums it is the same graph.
    """
    late: set[str] = set()
    for name, node in graph.nodes():
        if node.op.exchange == "ends" or not late.isdisjoint(graph.dag.predecessors(name)):
            late.add(name)
    begins = [name for name, node in graph.nodes() if node.op.exchange == "begins" and name not in late]
    if not begins:
        return graph
    begins.sort(key=lambda name: dict(graph.node(name).attrs.items())["number"], reverse=True)
    apart, order, placed = late.union(begins), list[str](), set[str]()
    for name in (n for n in graph.order if n not in apart):
        order.append(name)
        placed.add(name)
        while len(begins) > 1 and placed.issuperset(graph.dag.predecessors(begins[-1])):
            order.append(begins.pop())
    builder = Builder()
    for name in (*order, *reversed(begins), *(n for n in graph.order if n in late)):
        builder.add(graph.node(name), graph.inputs_of(name), name)
    return Graph(builder.dag, graph.inputs, graph.outputs, graph.updates, graph.names)
