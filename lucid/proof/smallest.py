"""Minimisation: the smallest part of a graph that still shows a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..graph.cut import Part, part
from ..graph.ir import Graph, Value

RADII = (0, 1, 2, 4, 8, 16)
"""How many steps before a node a part extends, in the order in which they are tried."""
TRIES = 2000
"""How many parts are tried before the whole graph is returned."""


def smallest(
    graph: Graph, fails: Callable[[Part], bool], suspects: Iterable[str] = (), *, elsewhere: bool = True
) -> Part:
    """A part of the graph that fails and from which no node can be removed; or the whole graph if no part fails.

    Parameters
    ----------
    graph
        The graph, which fails as a whole.
    fails
        Whether a part shows the fault.
    suspects
        Names of nodes to try first.
    elsewhere
        Whether to try all other nodes too.
    """
    places = dict.fromkeys([*suspects, *(graph.order if elsewhere else ())])
    tried: set[frozenset[str]] = set()
    for radius in RADII:
        for name in (name for name in places if not graph.node(name).op.source):
            names = frozenset(_behind(graph, name, radius))
            if names in tried:
                continue
            if len(tried) == TRIES:
                return _whole(graph)
            tried.add(names)
            if fails(part(graph, names)):
                return _reduced(graph, names, fails)
    return _whole(graph)


def _whole(graph: Graph) -> Part:
    return Part(graph, tuple(map(Value, graph.inputs)), graph.results)


def _behind(graph: Graph, name: str, radius: int) -> set[str]:
    """The node, and those at most ``radius`` steps before it."""
    found, edge = {name}, [name]
    for _ in range(radius):
        sources = dict.fromkeys(v.node for n in edge for v in graph.inputs_of(n))
        edge = [n for n in sources if n not in found and not graph.node(n).op.source]
        found.update(edge)
    return found


def _reduced(graph: Graph, names: frozenset[str], fails: Callable[[Part], bool]) -> Part:
    """Remove every node without which the part still fails."""
    for name in sorted(names):
        fewer = names - {name}
        if fewer and fails(part(graph, fewer)):
            names = fewer
    return part(graph, names)
