"""Modules of a view: separated if called several times, and closed if only the whole is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import prod

from .merging import ordered, untangled
from .view import PLACE, Box, Row, View, module_of, renamed


def separated(view: View) -> View:
    """The view with connected frames: a module that a path leaves and enters again gets two.

    So frames, and boxes that stand for modules, keep the order of their content.
    """
    boxes = list(view.boxes)
    position = {box.key: i for i, box in enumerate(boxes)}
    feeds = [[position[edge.source] for edge in edges] for edges in view.sources().values()]
    for depth in range(max((len(box.path) for box in boxes), default=0)):
        groups: dict[Hashable, list[int]] = {}
        for i, box in enumerate(boxes):
            if len(box.path) > depth:
                groups.setdefault((box.section, box.path[: depth + 1]), []).append(i)
        for members in groups.values():
            for i, run in _runs(members, feeds).items():
                path = boxes[i].path
                part = path[depth]._replace(run=run)
                if run > 1:
                    boxes[i] = replace(boxes[i], path=(*path[:depth], part, *path[depth + 1 :]))
    return replace(view, boxes=tuple(boxes))


def _runs(members: Sequence[int], feeds: Sequence[Sequence[int]]) -> dict[int, int]:
    """For each member the number of its run: one more than that of members that it reads through other boxes."""
    inside, first = set(members), members[0]
    if members[-1] - first + 1 == len(members):
        return dict.fromkeys(members, 1)
    count: dict[int, int] = {}
    for i in range(first, members[-1] + 1):
        found = 1 if i in inside else 0
        for source in feeds[i]:
            before = count.get(source, 0)
            again = i in inside and source not in inside and before > 0
            found = max(found, before + again)
        count[i] = found
    return {i: count[i] for i in members}


def closed(view: View, depth: int) -> View:
    """The view with a single box for each module at this depth.

    Modules that form a cycle stay open.
    """
    places = {box.key: (box.section, box.path[:depth]) for box in view.boxes if len(box.path) >= depth}
    groups = untangled(view, places)
    found: dict[Hashable, list[Box]] = {}
    for box in view.boxes:
        found.setdefault(groups.get(box.key, box.key), []).append(box)
    whole = {name: _whole(boxes, depth, view) for name, boxes in found.items()}
    edges = renamed(view.edges, {key: whole[name].key for key, name in groups.items()})
    return replace(view, boxes=ordered(whole.values(), replace(view, edges=edges)), edges=edges)


def _whole(boxes: Sequence[Box], depth: int, view: View) -> Box:
    """One box for all boxes of a module."""
    first = boxes[0]
    if len(boxes) == 1:
        return first
    path = first.path[:depth]
    module = module_of(path)
    times = view.times.get((first.section, path))
    kinds: Counter[str] = Counter()
    weights: dict[str, int] = {}
    for box in boxes:
        often = box.times * _often(box, depth, view)
        kinds.update({row.text: often for row in box.rows[:1] if PLACE not in row.text})
        weights.update((name, elements * often) for name, elements in box.weights)
    rows = [Row("title", times.label) if times else Row("title", PLACE, (module,))]
    rows += [Row("detail", f"{n} {op}" if n > 1 else op) for op, n in kinds.items()]
    rows += [Row("parameter", f"{sum(weights.values()):,} parameters")] if weights else []
    given = [row for box in boxes for row in box.rows if row.kind == "gives"]
    given += [row._replace(kind="gives") for box in boxes for row in box.rows[:1] if box.kind == "given"]
    rows += given if len(given) <= 4 else [Row("gives", f"{len(given)} gradients")]
    marks = {box.mark for box in boxes}
    return Box(
        first.key, "module", tuple(rows), path[:-1], first.section, module, first.gradient,
        tuple(dict.fromkeys(member for box in boxes for member in box.members)), tuple(weights.items()),
        times=times.count if times else 1, mark=marks.pop() if len(marks) == 1 else "changed",
        frame=next((box.frame for box in boxes if box.frame), ""),
        hover="\n".join([module, *(member for box in boxes for member in box.members[:1])][:30]),
        link=next((box.link for box in boxes if box.link), ""),
    )  # fmt: skip


def _often(box: Box, depth: int, view: View) -> int:
    """How many equal boxes a box stands for, according to the frames around it below this depth."""
    frames = (view.times.get((box.section, box.path[: i + 1])) for i in range(depth, len(box.path)))
    return prod(times.count for times in frames if times)
