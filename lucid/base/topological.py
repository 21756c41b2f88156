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
    """The nodes in an order in which none stands before what feeds it, otherwise by position.

    The views that the graph keeps of itself for this are taken from it again: they refer to it, and such a cycle only
    the garbage collector would free.
    """
    try:
        return tuple(nx.lexicographical_topological_sort(dag, key=position))
    finally:
        for kept in ("in_degree", "edges", "adj"):
            vars(dag).pop(kept, None)
