"""What several passes want to know about a graph."""

from __future__ import annotations

from ..graph.ir import Graph
from ..graph.ops.source import PARAMETER


def parameter_only(graph: Graph) -> set[str]:
    """Nodes that depend on parameters and constants only: they run once per change of the parameters."""
    found: set[str] = set()
    for name, node in graph.nodes():
        settled = node.op.pure or node.op is PARAMETER
        if settled and all(source in found for source in graph.dag.predecessors(name)):
            found.add(name)
    return found
