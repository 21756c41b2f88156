"""Topological order of a networkx graph, without the caches that networkx leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .lazy import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import TypeVar

    K = TypeVar("K", bound=Hashable)


def topological(dag: nx.DiGraph[K], position: Callable[[K], int]) -> tuple[K, ...]:
    """The nodes in topological order, otherwise by position.

    The views of itself that the graph caches for this are removed again: they refer back to it, and only the garbage
    collector would free such a cycle.
    """
    try:
        return tuple(nx.lexicographical_topological_sort(dag, key=position))
    finally:
        for kept in ("in_degree", "edges", "adj"):
            vars(dag).pop(kept, None)
