"""Starts all-reduces as early and ends them as late as possible, so that other work runs meanwhile."""

from __future__ import annotations

from ...graph.builder import Builder
from ...graph.ir import Graph


def sums_apart(graph: Graph) -> Graph:
    """The graph, reordered so that each sum over processes begins as soon as its inputs exist, in order of number.

    The last one begins after all other work that waits for none; whatever waits for a sum comes after that. A graph
    without sums is returned as it is.
    """
    late: set[str] = set()
    for name, node in graph.nodes():
        if node.op.exchange == "ends" or not late.isdisjoint(graph.dag.predecessors(name)):
            late.add(name)
    begins = [name for name, node in graph.nodes() if node.op.exchange == "begins" and name not in late]
    if not begins:
        return graph
    begins.sort(key=lambda name: dict(graph.node(name).attrs.items())["number"], reverse=True)
    views = {name: _views(graph, name) for name in begins}
    apart, order, placed = late.union(begins, *views.values()), list[str](), set[str]()
    for name in (n for n in graph.order if n not in apart):
        order.append(name)
        placed.add(name)
        while len(begins) > 1 and placed.issuperset(_awaited(graph, [*views[begins[-1]], begins[-1]])):
            order += [*views[begins[-1]], begins.pop()]
    builder = Builder()
    rest = (n for begin in reversed(begins) for n in (*views[begin], begin))
    for name in (*order, *rest, *(n for n in graph.order if n in late)):
        builder.add(graph.node(name), graph.inputs_of(name), name)
    return builder.freeze(graph.inputs, graph.outputs, graph.updates, graph.names)


def _views(graph: Graph, begin: str) -> list[str]:
    """Those inputs of a sum that are views read by nothing else; they take no time, and are moved along with it."""
    inputs = dict.fromkeys(graph.dag.predecessors(begin))
    return [name for name in inputs if graph.node(name).op.view and set(graph.dag.successors(name)) == {begin}]


def _awaited(graph: Graph, names: list[str]) -> set[str]:
    """The nodes outside ``names`` that these read."""
    return {x for name in names for x in graph.dag.predecessors(name)}.difference(names)
