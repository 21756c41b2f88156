"""The neighbourhood of one module or node of a view."""

from __future__ import annotations

import difflib
from collections.abc import Container
from dataclasses import replace

from ...base.checks import shown
from ...errors import DrawError
from .view import Box, View, module_of


def focused(view: View, name: str) -> View:
    """The boxes of a module, a node or the readers of a parameter; of their neighbours, the names only.

    Raises
    ------
    DrawError
        If nothing has that name.
    """
    wanted = {box.key for box in view.boxes if _is_of(box, name)}
    if not wanted:
        known = {one for box in view.boxes for one in (*_modules(box), *box.members)}
        close = difflib.get_close_matches(name, sorted(known), 3)
        hint = f"; close to it are {', '.join(map(repr, close))}" if close else ""
        raise DrawError(f"there is no module or node named {shown(name)}{hint}")
    return with_neighbours(view, wanted)


def with_neighbours(view: View, wanted: Container[str]) -> View:
    """The boxes with these keys; of their neighbours, the names only."""
    edges = tuple(edge for edge in view.edges if edge.source in wanted or edge.target in wanted)
    near = {key for edge in edges for key in (edge.source, edge.target)}
    boxes = tuple(
        box if box.key in wanted else replace(box, rows=box.rows[:2], mark="faint", frame="")
        for box in view.boxes
        if box.key in wanted or box.key in near
    )
    return replace(view, boxes=boxes, edges=edges)


def _modules(box: Box) -> list[str]:
    parts = module_of(box.path).split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _is_of(box: Box, name: str) -> bool:
    return name in box.members or name in _modules(box) or any(name == weight for weight, _ in box.weights)
