"""Merging boxes: those that lead only to the gradients of one module's parameters, or all boxes of a module."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from ...base.lazy import networkx as nx
from ...base.topological import topological
from . import style
from .view import PLACE, Box, Row, View, renamed

LARGEST = 12
"""The most boxes that are merged into one; in larger groups the connections matter."""
_WEIGHTY = ("conv", "gradient", "linear", "norm", "pool", "loss", "reduce")
"""Kinds of boxes by importance: the most important box of a group represents it."""
MANY = 60
"""The number of boxes of a view from which on each innermost module is one box."""


def with_tails(view: View) -> View:
    """The view with a single box for all boxes that lead only to gradients or updates of one module's parameters."""
    return merged(view, _tails(view))


def dense(view: View) -> View:
    """A large view with one box for each innermost module; small views are unchanged."""
    return merged(view, _innermost(view)) if len(view.boxes) > MANY else view


def _tails(view: View) -> Mapping[str, Hashable]:
    """Groups of boxes that are read only within the group, and that end in gradients of parameters."""
    readers: dict[str, list[str]] = {box.key: [] for box in view.boxes}
    for edge in view.edges:
        readers[edge.source].append(edge.target)
    found: dict[str, tuple[str, str, str]] = {}
    for box in reversed(view.boxes):
        groups = {found.get(reader) for reader in readers[box.key]}
        if not groups and any(row.kind == "gives" for row in box.rows):
            # without modules, each result is a group by itself
            found[box.key] = (box.section, box.module, "" if box.module else box.key)
        elif len(groups) == 1 and (group := groups.pop()) is not None and group[:2] == (box.section, box.module):
            found[box.key] = group
    return found


def _innermost(view: View) -> dict[str, Hashable]:
    """Groups of the boxes of each module that has no frame within it."""
    outer = {(box.section, box.path[:i]) for box in view.boxes for i in range(len(box.path))}
    return {
        box.key: box.place
        for box in view.boxes
        if box.path and box.path[-1].kind == "module" and box.kind not in style.ENDS and box.place not in outer
    }


def untangled(view: View, groups: Mapping[str, Hashable]) -> dict[str, Hashable]:
    """The groups of boxes (by key) that can each be merged: without groups that form a cycle."""
    left = dict(groups)
    while True:
        between: nx.DiGraph[Hashable] = nx.DiGraph()
        between.add_edges_from(
            (a, b) for e in view.edges if (a := left.get(e.source, e.source)) != (b := left.get(e.target, e.target))
        )
        tangled = {one for part in nx.strongly_connected_components(between) if len(part) > 1 for one in part}
        if not tangled:
            return left
        left = {key: group for key, group in left.items() if group not in tangled}


def ordered(boxes: Iterable[Box], view: View) -> tuple[Box, ...]:
    """Boxes in topological order, otherwise in the given order."""
    by_key = {box.key: box for box in boxes}
    position = {key: i for i, key in enumerate(by_key)}
    between: nx.DiGraph[str] = nx.DiGraph()
    between.add_nodes_from(by_key)
    between.add_edges_from((edge.source, edge.target) for edge in view.edges)
    return tuple(by_key[key] for key in topological(between, position.__getitem__))


def merged(view: View, groups: Mapping[str, Hashable]) -> View:
    """The view with a single box for each group that is not too large."""
    found: dict[Hashable, list[Box]] = {}
    for box in view.boxes:
        if box.key in groups:
            found.setdefault(groups[box.key], []).append(box)
    small = {box.key: name for name, boxes in found.items() if 1 < len(boxes) <= LARGEST for box in boxes}
    small = untangled(view, small)
    whole = {name: _one(view, boxes) for name, boxes in found.items() if boxes[0].key in small}
    if not whole:
        return view
    gone = {key: whole[name].key for key, name in small.items()}
    edges = renamed(view.edges, gone)
    boxes = dict.fromkeys(whole[small[box.key]] if box.key in small else box for box in view.boxes)
    return replace(view, boxes=ordered(boxes, replace(view, edges=edges)), edges=edges)


def _one(view: View, boxes: Sequence[Box]) -> Box:
    """One box for several: the most important of them, with what the others compute and read."""
    position = {box.key: i for i, box in enumerate(boxes)}
    inner = tuple(
        (position[edge.source], position[edge.target])
        for edge in view.edges
        if edge.source in position and edge.target in position
    )
    first = next((box for kind in _WEIGHTY for box in boxes if box.kind == kind), boxes[-1])
    titles = dict.fromkeys(row.text for box in boxes for row in box.rows if row.kind == "title")
    titles.pop(first.rows[0].text)
    rows = [first.rows[0], Row("name", PLACE, (first.module,)), *(Row("detail", f"+ {title}") for title in titles)]
    for kind in ("parameter", "kept", "gives"):
        rows += dict.fromkeys(
            row
            for box in boxes
            for row in box.rows
            if row.kind == kind and (kind != "parameter" or box.kind in _WEIGHTY)
        )
    members = tuple(dict.fromkeys(member for box in boxes for member in box.members))
    return replace(
        first, key=boxes[-1].key, rows=tuple(rows), members=members,
        weights=tuple(dict(pair for box in boxes for pair in box.weights).items()),
        sign=(tuple(box.sign for box in boxes), inner), frame=next((box.frame for box in boxes if box.frame), ""),
        hover="\n\n".join(box.hover for box in boxes),
        link=first.link or next((box.link for box in boxes if box.link), ""),
    )  # fmt: skip
