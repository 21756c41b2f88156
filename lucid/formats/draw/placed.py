"""The layout that Graphviz computes for a view, as data for other renderers."""

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
    """Points from the left and from the top, and a size."""

    x: float
    y: float
    width: float
    height: float


@struct(frozen=True)
class Frame:
    """A frame around boxes, and what stands at its top."""

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
        Of the view.
    points
        A start and then three points for each cubic Bézier curve.
    tip
        Where its head ends; None for one that leads to the type which is said of the value.
    """

    edge: Edge
    points: tuple[tuple[float, float], ...]
    tip: tuple[float, float] | None


@struct(frozen=True)
class Placed:
    """A view with everything in its place.

    Attributes
    ----------
    size
        Width and height, in points.
    boxes, words
        Of each box, by its key: where it is, and its lines as kind and text.
    frames
        Those that are drawn; one within another stands behind it.
    types
        What is said of values, each of the first edge that leaves with it.
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
        No Graphviz is there, or it failed.
    """
    view = replace(view, boxes=tuple(replace(box, hover="") for box in view.boxes))  # which Graphviz need not read
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
    """As Graphviz says it: the numbers of its ends, and its points."""

    tail: int
    head: int
    pos: str


def _lines(writing: Writing, laid: Iterable[_Edge], names: Mapping[int, str], height: float) -> tuple[Line, ...]:
    """Arrows between the same two are alike, so that it does not matter which is which."""
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
    """The points of an arrow, and where its head is, at whichever end."""
    points, tip = [], None
    for word in text.split():
        end = word[0] in "se"
        x, y = _numbers(word[2:] if end else word)
        if end:
            tip = x, height - y
        else:
            points.append((x, height - y))
    return tuple(points), tip
