"""Common subexpression elimination: of equal nodes with equal inputs, only the first remains."""

from __future__ import annotations

from collections.abc import Hashable

from ..graph.ir import Graph
from ..graph.region import signs
from ..graph.trace import Symbol
from .rewrite import Site, View, rebuild


def eliminate_common(graph: Graph) -> Graph:
    """Merge nodes with equal op, attributes and inputs; inputs of a commutative op may be in either order.

    Impure nodes (random numbers, inputs, parameters) are never merged.
    """
    first: dict[Hashable, View] = {}

    def rule(site: Site) -> tuple[Symbol, ...] | None:
        feeds = [x.value for x in site.inputs]
        if site.op.commutative:
            feeds.sort()
        key = (site.op, site.attrs, signs(site.attrs), tuple(feeds))
        twin = first.setdefault(key, site)
        if twin is site:
            return None
        site.absorb(twin)
        return twin.symbols

    return rebuild(graph, rule, "eliminate_common", at={op for op in graph.ops if op.pure})
