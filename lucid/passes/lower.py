"""Decomposes composite ops for which the runtime has no kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..graph.ir import Graph, Node
from .rewrite import Site, fixed_point, rebuild


def lower(graph: Graph, has_kernel: Callable[[Node], bool]) -> Graph:
    """Replace every composite node without a kernel by its decomposition, until none is left.

    Parameters
    ----------
    graph
        The graph; it is not changed.
    has_kernel
        Whether the runtime can run a node as it is.
    """

    def rule(site: Site) -> Any:
        if site.op.decompose is None or has_kernel(site.node):
            return None
        return site.op.decompose(site.attrs, *site.inputs)

    return fixed_point(partial(rebuild, rule=rule, label="lower"), graph, label="lower")
