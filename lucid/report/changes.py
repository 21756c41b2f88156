"""What each pass did: the graph before and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ..base.lazy import networkx as nx
from ..formats.draw.files import arranged
from ..formats.draw.focus import with_neighbours
from ..formats.draw.graph_view import view_of
from ..formats.draw.merging import ordered
from ..formats.draw.pairs import beside, compared
from ..formats.draw.view import Edge, View
from ..graph.ir import Graph
from ..passes.pipeline import Pass, run_passes
from .nodes import Data
from .scenes import scene

WHOLE = 240
"""The most boxes, of both sides, for graphs to be drawn whole; otherwise only changes and their neighbours are."""
MOST = 400
"""The most boxes that are drawn of changes."""
SEARCHED = 600
"""The most boxes that are searched for repeated blocks."""
NAMED = 200
"""The most nodes that are named for each kind of change."""


def change_data(traced: Graph, passes: Sequence[Pass]) -> list[Data]:
    """The passes in order, each with its changes."""
    found: list[Data] = []
    known = (traced, view_of(traced))

    def observe(one: Pass, before: Graph, after: Graph) -> None:
        nonlocal known
        found.append({"name": one.name})
        if before is not after:
            old = known[1] if known[0] is before else view_of(before)
            known = (after, view_of(after))
            found[-1] |= _change(before, after, (old, known[1]))

    run_passes(traced, passes, observe=observe, verify=False)
    return found


def _change(before: Graph, after: Graph, views: tuple[View, View]) -> Data:
    old, new = dict(before.nodes()), dict(after.nodes())
    gone, came = [name for name in old if name not in new], [name for name in new if name not in old]
    both = [(name, old[name], node) for name, node in new.items() if name in old]
    changed = [name for name, was, node in both if (was.op, was.attrs) != (node.op, node.attrs)]
    counts = Counter(node.op.name for node in new.values())
    counts.subtract(node.op.name for node in old.values())
    found: Data = {
        "nodes": [len(old), len(new)],
        "ops": {op: n for op, n in sorted(counts.items()) if n},
        "gone": _named(gone), "new": _named(came), "changed": _named(changed),
    }  # fmt: skip
    view = _picture(compared(*views))
    return found if view is None else found | {"scene": scene(view, {})}


def _named(names: Sequence[str]) -> Data:
    return {"count": len(names), "names": list(names[:NAMED])}


def _picture(sides: tuple[View, View]) -> View | None:
    """Before and after side by side; None if there is nothing to see, or too much."""
    for part, most, views in (("", WHOLE, sides), (", what has changed", MOST, [_near(view) for view in sides])):
        if 0 < _boxes(views) <= SEARCHED:
            found = [arranged(view, columns=1) for view in views]
            if _boxes(found) <= most:
                return beside(found, (f"before{part}", f"after{part}"))
    return None


def _boxes(views: Sequence[View]) -> int:
    return sum(len(view.boxes) for view in views)


def _near(view: View) -> View:
    """The marked boxes and their neighbours, with dashed arrows in place of what is left out between them."""
    near = with_neighbours(view, {box.key for box in view.boxes if box.mark})
    near = replace(near, boxes=tuple(replace(box, path=()) for box in near.boxes))  # frames would span distant boxes
    linked: nx.Graph[str] = nx.Graph((edge.source, edge.target) for edge in near.edges)
    linked.add_nodes_from(box.key for box in near.boxes)
    order = {box.key: number for number, box in enumerate(near.boxes)}
    parts = sorted(
        (sorted(part, key=order.__getitem__) for part in nx.connected_components(linked)), key=lambda p: order[p[0]]
    )
    over = tuple(Edge(one[-1], other[0], kind="kept") for one, other in pairwise(parts))
    chained = replace(near, edges=(*near.edges, *over))
    return replace(chained, boxes=ordered(near.boxes, chained))
