"""Minimisation: the smallest part of a graph that still shows a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..graph.cut import Part, part
from ..graph.ir import Graph, Value

RADII = (0, 1, 2, 4, 8, 16)
"""How many steps behind a node its part reaches, in the order in which they are tried."""
TRIES = 2000
"""How many parts are tried before the whole graph is taken."""


def smallest(
    graph: Graph, fails: Callable[[Part], bool], suspects: Iterable[str] = (), *, elsewhere: bool = True
) -> Part:
    """A part of the graph that fails, of which no node can be left out; or the whole, where no part was found to.

    Parameters
    ----------
    graph
        It fails as a whole.
    fails
        Whether a part shows what is wrong.
    suspects
        Names to look at first.
    elsewhere
        Whether to look at all others too.
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
    """The node, and those that so many steps back can be reached from it."""
    found, edge = {name}, [name]
    for _ in range(radius):
        sources = dict.fromkeys(v.node for n in edge for v in graph.inputs_of(n))
        edge = [n for n in sources if n not in found and not graph.node(n).op.source]
        found.update(edge)
    return found


def _reduced(graph: Graph, names: frozenset[str], fails: Callable[[Part], bool]) -> Part:
    """Leave out every node without which it still fails."""
    for name in sorted(names):
        fewer = names - {name}
        if fewer and fails(part(graph, fewer)):
            names = fewer
    return part(graph, names)
