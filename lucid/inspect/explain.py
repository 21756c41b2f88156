"""What a compiled model tells about itself: where its nodes come from."""

from __future__ import annotations

from collections.abc import Iterator

from ..graph.ir import Graph
from ..graph.region import regions_of


def explain(graph: Graph) -> str:
    """One paragraph a node: its type, the user's lines, and the passes that made it."""
    return "\n".join(_explained(graph))


def _explained(graph: Graph) -> Iterator[str]:
    for name, node in graph.nodes():
        types = ", ".join(map(str, node.outputs))
        yield f"{name}: {node.op.name} -> {types}"
        yield from (f"    from {place}" for place in (*node.origin.modules, *node.origin.locations))
        yield from (f"    by {step}" for step in node.origin.history)
        for label, region in regions_of(node.attrs).items() if node.op.regions else ():
            yield f"    in {label}:"
            yield from (f"        {line}" for line in _explained(region.graph))
