"""Drawing repeated blocks once: as a box or frame that says how often it repeats."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from .view import Box, Edge, Part, Path, Place, Times, View, module_of, renamed

LONGEST = 8
"""The most consecutive elements that may repeat together."""

Unit: TypeAlias = "tuple[Box, ...]"


def with_repeats(view: View) -> View:
    """The view with only the first of equal blocks that each read the result of the one before."""
    return _Repeats(view).found()


class _Repeats:
    """Searches frames for repetitions, from the outermost to the innermost.

    An element of a frame is a frame or a box in it. A unit is one element, or several consecutive ones.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.feeds = view.sources()
        self.boxes = {box.key: box for box in view.boxes}
        self.readers: dict[str, set[str]] = {box.key: set() for box in view.boxes}
        """Readers within the same section: that the other half keeps its value does not single out a box."""
        section = {box.key: box.section for box in view.boxes}
        self.across = {edge for edge in view.edges if section[edge.source] != section[edge.target]}
        """The edges between sections."""
        for edge in view.edges:
            if edge not in self.across:
                self.readers[edge.source].add(edge.target)
        self.ends = {box.key for box in view.boxes if not box.members}
        self.times: dict[Place, Times] = {}
        self.moved: dict[str, str] = {}
        """For each box that is not drawn, the equal one that is."""
        self.changed: dict[str, Box] = {}

    def found(self) -> View:
        """The resulting view."""
        sections: dict[str, list[Box]] = {}
        for box in self.view.boxes:
            sections.setdefault(box.section, []).append(box)
        todo: list[tuple[Path, list[Box]]] = [((), boxes) for boxes in sections.values()]
        while todo:
            path, boxes = todo.pop()
            todo += self._within(path, boxes)
        if not self.times and not self.changed:
            return self.view
        left = tuple(self.changed.get(box.key, box) for box in self.view.boxes if box.key not in self.moved)
        shown = {key: self._shown(key) for key in self.moved}
        edges = renamed((edge for edge in self.view.edges if edge.target not in shown), shown)
        return replace(self.view, boxes=left, edges=edges, times={**self.view.times, **self.times})

    def _shown(self, key: str) -> str:
        while key in self.moved:
            key = self.moved[key]
        return key

    def _within(self, path: Path, boxes: Sequence[Box]) -> Iterator[tuple[Path, list[Box]]]:
        """Find repetitions in a frame; yields the frames in it that are still to be searched."""
        elements = list(_elements(len(path), boxes))
        kinds: dict[Hashable, int] = {}
        signs = [kinds.setdefault(self._sign(len(path), unit), len(kinds)) for unit in elements]
        at = 0
        while at < len(elements):
            width, count = self._longest(elements, signs, at)
            if count > 1:
                self._fold(path, elements[at : at + width * count], width)
            for unit in elements[at : at + width]:
                inner = [self.changed.get(box.key, box) for box in unit]
                if len(unit) > 1 or len(inner[0].path) > len(path):
                    deeper = inner[0].path[: len(path) + 1 + (width > 1 and count > 1)]
                    yield deeper, inner
            at += width * count

    def _longest(self, elements: Sequence[Unit], signs: Sequence[int], at: int) -> tuple[int, int]:
        """The number of elements that repeat from here, and how often, such that the fewest boxes remain."""
        best, width_of_best, times_of_best = 0, 1, 1
        for width in range(1, min(LONGEST, (len(signs) - at) // 2) + 1):
            if signs[at : at + width] != signs[at + width : at + 2 * width]:
                continue
            count, boxes = self._chained(elements, signs, at, width)
            spared = boxes * (count - 1)
            if spared > best and (boxes > 1 or count > 2):
                best, width_of_best, times_of_best = spared, width, count
        return width_of_best, times_of_best

    def _sign(self, depth: int, unit: Unit) -> Hashable:
        """A key that is equal for equal elements: their boxes, and where each of them reads from."""
        frames = (tuple((part.name, part.run) for part in box.path[depth + 1 :]) for box in unit)
        boxes = ((box.kind, box.sign, box.mark, box.frame) for box in unit)
        return tuple(zip(boxes, frames, self._reads(unit), strict=True))

    def _reads(self, unit: Unit) -> list[Hashable]:
        """Where each box of a unit reads from: a box of the unit, a value from outside, or another section."""
        position = {box.key: i for i, box in enumerate(unit)}
        outside: dict[tuple[str, int], int] = {}
        return [
            tuple(
                (self.boxes[edge.source].sign, edge.output, edge.kind)
                if edge in self.across
                else (position[edge.source], edge.output, edge.kind)
                if edge.source in position
                else (-1 - outside.setdefault((edge.source, edge.output), len(outside)), edge.output, edge.kind)
                for edge in self.feeds[box.key]
            )
            for box in unit
        ]

    def _chained(self, elements: Sequence[Unit], signs: Sequence[int], at: int, width: int) -> tuple[int, int]:
        """The number of equal units of ``width`` elements that start here, and the number of boxes of each.

        Each unit reads, at the same places, the results of the one before it.
        """
        links, count = None, 1
        unit = _together(elements[at : at + width])
        boxes, reads = len(unit), self._reads(unit)
        while signs[at + count * width : at + (count + 1) * width] == signs[at : at + width]:
            following = _together(elements[at + count * width : at + (count + 1) * width])
            alike = width == 1 or self._reads(following) == reads  # elements of a unit may read one another
            link = self._link(unit, following) if alike else None
            if link is None or (links is not None and link != links):
                break
            links, unit, count = link, following, count + 1
        return count, boxes

    def _link(self, one: Unit, other: Unit) -> Hashable | None:
        """What a unit reads from the one before it, if both read the same values otherwise; None if they do not."""
        position = {box.key: i for i, box in enumerate(one)}
        inside = {box.key for box in other}
        if any(not self.readers[box.key] <= inside | position.keys() for box in one):
            return None
        link: list[Hashable] = []
        for before, after in zip(self._outside(one), self._outside(other), strict=True):
            if after.target in self.ends:
                return None  # a result, whose box is drawn next to the following unit
            if after.source in position:
                link.append((position[after.source], after.output))
            elif (before.source, before.output) == (after.source, after.output):
                link.append(None)
            else:
                return None
        return tuple(link) if any(link) else None

    def _outside(self, unit: Unit) -> list[Edge]:
        inside = {box.key for box in unit}
        edges = (edge for box in unit for edge in self.feeds[box.key] if edge.source not in inside)
        return [edge for edge in edges if edge not in self.across]

    def _fold(self, path: Path, elements: Sequence[Unit], width: int) -> None:
        """Let the first unit stand for all."""
        count = len(elements) // width
        units = [_together(elements[k * width : (k + 1) * width]) for k in range(count)]
        for unit in units[1:]:
            self.moved.update(zip((box.key for box in unit), (box.key for box in units[0]), strict=True))
        first, section = units[0], units[0][0].section
        if len(first) == 1:
            self.changed[first[0].key] = replace(first[0], times=count)
            return
        names = [_name(len(path), elements[i]) for i in (0, width * count - 1)]
        label = f"{module_of(path)}." if module_of(path) else ""
        label += names[0] if names[0] == names[1] else f"{names[0]}–{names[1]}"
        depth, frame = len(path), first[0].path[: len(path) + 1]
        if width > 1 or len(frame) == depth:
            frame = (*path, Part(names[0], 0, "repeat"))
            for box in first:
                self.changed[box.key] = replace(box, path=(*frame, *box.path[depth:]))
        self.times[section, frame] = Times(count, label)


def _together(elements: Sequence[Unit]) -> Unit:
    """The boxes of several elements."""
    return tuple(box for unit in elements for box in unit)


def _name(depth: int, unit: Unit) -> str:
    """The name of an element of a frame."""
    box = unit[0]
    return box.path[depth].name if len(box.path) > depth else box.module.rpartition(".")[2] or box.members[0]


def _elements(depth: int, boxes: Sequence[Box]) -> Iterator[Unit]:
    """The frames and boxes in a frame, in order of their first boxes."""
    found: dict[Hashable, list[Box]] = {}
    for box in boxes:
        found.setdefault(box.path[depth] if len(box.path) > depth else box.key, []).append(box)
    yield from map(tuple, found.values())
