"""The layout of a view, computed by Graphviz, as data for other renderers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypedDict

from ...base.structs import struct
from .dot import Writing
from .files import render
from .view import Edge, Place, View


class Rect(NamedTuple):
    """The distance from the left and from the top, and the size, in points."""

    x: float
    y: float
    width: float
    height: float


@struct(frozen=True)
class Frame:
    """A frame around boxes, with its label."""

    place: Place
    kind: str
    label: str
    rect: Rect


@struct(frozen=True)
class Line:
    """An arrow.

    Attributes
    ----------
    edge
        The edge of the view.
    points
        A start, then three points for each cubic Bézier curve.
    tip
        The tip of its head; None for an arrow that leads to the type of its value.
    """

    edge: Edge
    points: tuple[tuple[float, float], ...]
    tip: tuple[float, float] | None


@struct(frozen=True)
class Placed:
    """A view, laid out.

    Attributes
    ----------
    size
        Width and height, in points.
    boxes, words
        By key of a box, its position, and its lines as kind and text.
    frames
        The frames that are drawn; an inner frame follows the one around it.
    types
        Labels with the types of values, each with the first edge of its value.
    lines
        All arrows.
    """

    size: tuple[float, float]
    boxes: Mapping[str, Rect]
    words: Mapping[str, list[tuple[str, str]]]
    frames: tuple[Frame, ...]
    types: tuple[tuple[Edge, Rect], ...]
    lines: tuple[Line, ...]


def placed(view: View) -> Placed:
    """Lay out a view, from top to bottom.

    Raises
    ------
    DrawError
        If there is no Graphviz, or it failed.
    """
    view = replace(view, boxes=tuple(replace(box, hover="") for box in view.boxes))  # not needed for the layout
    writing = Writing(view, "TB")
    laid = json.loads(render(writing.text(), "json0"))
    _, _, width, height = _numbers(laid["bb"])
    found = {one["name"]: one for one in laid.get("objects", ())}
    names = {one["_gvid"]: name for name, one in found.items()}
    return Placed(
        (width, height),
        {key: _box(found[name], height) for key, name in writing.ids.items()},
        writing.words,
        tuple(Frame(*said, _cluster(found[name], height)) for name, said in writing.frames.items()),
        tuple((edge, _box(found[name], height)) for name, edge in writing.types.values()),
        _lines(writing, laid.get("edges", ()), names, height),
    )


class _Edge(TypedDict):
    """An edge in Graphviz's output: the numbers of its ends, and its points."""

    tail: int
    head: int
    pos: str


def _lines(writing: Writing, laid: Iterable[_Edge], names: Mapping[int, str], height: float) -> tuple[Line, ...]:
    """The arrows with their points; arrows between the same two nodes are interchangeable."""
    found: dict[tuple[str, str], deque[str]] = {}
    for one in laid:
        found.setdefault((names[one["tail"]], names[one["head"]]), deque()).append(one["pos"])
    lines = []
    for source, target, edge, said in writing.arrows:
        ways = found.get((source, target)) or found[target, source]
        points, tip = _way(ways.popleft(), height)
        lines.append(Line(edge, points, None if said else tip))
    return tuple(lines)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _box(one: Mapping[str, str], height: float) -> Rect:
    x, y = _numbers(one["pos"])
    wide, tall = 72 * float(one["width"]), 72 * float(one["height"])
    return Rect(x - wide / 2, height - y - tall / 2, wide, tall)


def _cluster(one: Mapping[str, str], height: float) -> Rect:
    left, low, right, high = _numbers(one["bb"])
    return Rect(left, height - high, right - left, high - low)


def _way(text: str, height: float) -> tuple[tuple[tuple[float, float], ...], tuple[float, float] | None]:
    """The points of an arrow, and the tip of its head at either end."""
    points, tip = [], None
    for word in text.split():
        end = word[0] in "se"
        x, y = _numbers(word[2:] if end else word)
        if end:
            tip = x, height - y
        else:
            points.append((x, height - y))
    return tuple(points), tip
