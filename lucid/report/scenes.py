"""Pictures as data for the page to draw: boxes, frames and arrows, laid out by Graphviz."""

from __future__ import annotations

from collections.abc import Mapping

from ..formats.draw.placed import Placed, Rect, placed
from ..formats.draw.view import PLACE, Box, Path, View
from .nodes import Data, NodePath


def scene(view: View, numbers: Mapping[NodePath, int]) -> Data:
    """A view, laid out.

    Parameters
    ----------
    view
        The view.
    numbers
        Numbers of the nodes that boxes may stand for.
    """
    laid = placed(view)
    frames = {frame.place: number for number, frame in enumerate(laid.frames)}
    index = {box.key: number for number, box in enumerate(view.boxes)}
    return {
        "size": [round(size, 1) for size in laid.size],
        "boxes": [_box(box, laid, frames, numbers) for box in view.boxes],
        "frames": [
            {
                "rect": _rect(frame.rect), "label": frame.label, "kind": frame.kind,
                "in": _around(frame.place[0], frame.place[1][:-1], frames) if frame.place[1] else -1,
            }
            for frame in laid.frames
        ],
        "types": [
            {"of": index[edge.source], "text": edge.label, "rect": _rect(rect)} for edge, rect in laid.types
        ],
        "lines": [
            {
                "from": index[line.edge.source], "to": index[line.edge.target] if line.tip else -1,
                "kind": line.edge.kind, "output": line.edge.output,
                "points": [round(z, 1) for point in (*line.points, *([line.tip] if line.tip else [])) for z in point],
            }
            for line in laid.lines
        ],
    }  # fmt: skip


def _box(box: Box, laid: Placed, frames: Mapping[tuple[str, Path], int], numbers: Mapping[NodePath, int]) -> Data:
    path = tuple(box.key.split(PLACE))
    found: Data = {
        "rect": _rect(laid.boxes[box.key]), "kind": box.kind, "lines": [list(line) for line in laid.words[box.key]],
        "in": _around(box.section, box.path, frames), "node": numbers.get(path, -1),
        "holds": [numbers[inner] for name in box.members if (inner := (*path[:-1], name)) in numbers and inner != path],
    }  # fmt: skip
    return found | ({"mark": box.mark} if box.mark else {}) | ({"gradient": True} if box.gradient else {})


def _around(section: str, path: Path, frames: Mapping[tuple[str, Path], int]) -> int:
    """The number of the innermost frame that is drawn around something; -1 for none."""
    for depth in range(len(path), -1, -1):
        if (section, path[:depth]) in frames:
            return frames[section, path[:depth]]
    return -1


def _rect(rect: Rect) -> list[float]:
    return [round(number, 1) for number in rect]
