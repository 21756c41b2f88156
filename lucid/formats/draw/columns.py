"""Setting long views in columns; a numbered box at the end of a column shows where an arrow continues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np

from ...base.arrays import Array
from . import style
from .view import Box, Edge, Row, View, lines_of

MOST = 12
"""The most columns."""
CONNECTORS = 45
"""The part of a column's height that numbered boxes take."""
MOST_PASSING = 3
"""The most arrows from one column to others."""


def in_columns(view: View, count: int | None = None) -> View:
    """The view in ``count`` columns, or in as many as the height of a page requires.

    Columns end where few arrows pass. An arrow between columns ends in a numbered box, and continues from another.
    """
    ends = _ends(view)
    total, page = max(ends, default=0.0), style.PAGE[1] - 2 * style.MARGIN - CONNECTORS
    wanted = count or min(MOST, math.ceil(total / page))
    cuts = _cuts(view, ends, wanted, page)
    if count is None and wanted > 1 and _tallest(ends, cuts) > page:
        cuts = _cuts(view, ends, wanted + 1, page) or cuts
    if not cuts:
        return view
    boxes, column = list[Box](), 0
    for i, box in enumerate(view.boxes):
        column += i in cuts
        boxes.append(replace(box, column=column))
    return _joined(replace(view, boxes=tuple(boxes)))


def _ends(view: View) -> list[float]:
    """The estimated vertical position of the end of each box."""
    feeds, ends = view.sources(), dict[str, float]()
    open_: dict[str, int] = {}
    framed = view.framed()
    for box in view.boxes:
        above = [(ends[edge.source], open_[edge.source]) for edge in feeds[box.key]]
        start = max((end for end, _ in above), default=0.0)
        said = style.TYPE_SIZE * 1.2 + style.GAP[1] if any(edge.label for edge in feeds[box.key]) else 0
        frames = sum((box.section, box.path[: depth + 1]) in framed for depth in range(len(box.path)))
        entered = max(0, frames - max((depth for _, depth in above), default=0))
        tall = style.height([kind for kind, _ in lines_of(box, box.module.rpartition(".")[0])])
        around = entered * (style.FRAME_MARGIN * 2 + style.FRAME_SIZE * 1.2 + 8)
        ends[box.key] = start + (style.GAP[1] if above else 0) + said + tall + around
        open_[box.key] = frames
    return list(ends.values())


def _tallest(ends: Sequence[float], cuts: Sequence[int]) -> float:
    tops = list(accumulate((0.0, *ends), max))
    return max(tops[b] - tops[a] for a, b in pairwise((0, *cuts, len(ends))))


def _cuts(view: View, ends: Sequence[float], count: int, page: float) -> list[int]:
    """The boxes before which a new column begins, for columns of similar height with the cheapest cuts."""
    if count <= 1:
        return []
    tops = list(accumulate((0.0, *ends), max))
    aim, last = tops[-1] / count, len(ends)
    passing = _passing(view)
    places = [0, *(i for i in range(1, last) if passing[i] <= MOST_PASSING), last]
    price = np.array([0.0, *(_cost(view, passing, i) for i in places[1:-1]), 0.0])
    down = np.array([tops[i] for i in places])
    best, came = np.where(np.arange(len(places)), np.inf, 0.0), list[Array]()
    for number in range(1, count + 1):
        found, begun = np.full(len(places), np.inf), np.zeros(len(places), np.intp)
        for begin in np.flatnonzero(np.isfinite(best[:-1])):
            least, most = np.searchsorted(down, (down[begin] + aim / 3, down[begin] + aim * 2), "left")
            part = slice(-1, None) if number == count else slice(max(least, begin + 1), min(most, len(places) - 1))
            tall = down[part] - down[begin]
            here = price[part] + 40 * (tall / aim - 1) ** 2 + 600 * np.maximum(0.0, tall / page - 1) + best[begin]
            better = here < found[part]
            found[part] = np.where(better, here, found[part])
            begun[part] = np.where(better, begin, begun[part])
        best = found
        came.append(begun)
    if not np.isfinite(best[-1]):
        return []
    cuts, end = list[int](), len(places) - 1
    for begun in reversed(came):
        end = int(begun[end])
        cuts.append(places[end])
    return cuts[-2::-1]


def _passing(view: View) -> list[int]:
    """For each box, how many values computed before it are read from there on."""
    position = {box.key: i for i, box in enumerate(view.boxes)}
    last: dict[tuple[str, int], int] = {}
    for edge in view.edges:
        key = (edge.source, edge.output)
        last[key] = max(last.get(key, 0), position[edge.target])
    change = [0] * (len(view.boxes) + 1)
    for (source, _), reader in last.items():
        change[position[source] + 1] += 1
        change[reader + 1] -= 1
    return list(accumulate(change))


def _cost(view: View, passing: Sequence[int], i: int) -> float:
    """The cost of a cut before a box, from the arrows and frames that it cuts."""
    before, after = view.boxes[i - 1], view.boxes[i]
    shared = 0
    for one, other in zip(before.path, after.path, strict=False):
        if one != other or before.section != after.section:
            break
        shared += 1
    repeats = sum((after.section, after.path[: d + 1]) in view.times for d in range(shared))
    return 4 * (passing[i] - 1) + 1.5 * shared + 8 * repeats


def _joined(view: View) -> View:
    """The view with numbered boxes in place of arrows between columns."""
    boxes: dict[str, Box] = {box.key: box for box in view.boxes}
    numbers: dict[tuple[str, int], int] = {}
    made: dict[str, Box] = {}
    edges: list[Edge] = []
    for edge in view.edges:
        source, target = boxes[edge.source], boxes[edge.target]
        if source.column == target.column:
            edges.append(edge)
            continue
        value = (edge.source, edge.output)
        number = numbers.setdefault(value, len(numbers) + 1)
        out, into = f"\0out{number}", f"\0in{number}.{target.column}"
        if out not in made:
            made[out] = _connector(out, number, source.column, f"goes on at {number} in another column")
            edges.append(edge._replace(target=out))
        if into not in made:
            made[into] = _connector(into, number, target.column, f"comes from {number}: {edge.hover}")
        edges.append(edge._replace(source=into, output=0, label=""))
    order = [box for box in made.values() if box.key.startswith("\0in")]
    rest = [box for box in made.values() if box.key.startswith("\0out")]
    return replace(view, boxes=(*order, *view.boxes, *rest), edges=tuple(edges))


def _connector(key: str, number: int, column: int, hover: str) -> Box:
    return Box(key, "connector", (Row("title", str(number)),), column=column, hover=hover)
