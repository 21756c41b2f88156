"""Collects the content of a report, and writes it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..base.checks import named
from ..errors import FileError
from ..formats.draw.graph_view import view_of
from ..formats.draw.modules import closed, separated
from ..formats.draw.view import Row, View
from ..formats.files import checked_path, write_atomically
from ..graph.opdef import ParameterAttrs
from ..inspect.explain import said
from .changes import change_data
from .memory import memory_data
from .nodes import Data, NodePath, every_node, node_data
from .page import page
from .scenes import scene
from .subject import Subject
from .weights import weight_data

SUFFIXES = (".html", ".htm")
SHORTEST = 5e-8
"""The least seconds that are shown in a box."""
MOST_BOXES = 2000
"""The most boxes that are laid out; in larger graphs modules are closed."""


def write_report(subject: Subject, path: str | os.PathLike[str]) -> None:
    """Write a report as one file that needs nothing else.

    Raises
    ------
    FileError
        If the path cannot be written, or does not end in .html.
    DrawError
        If there is no Graphviz to lay out the graph.
    """
    path = checked_path(path, "written")
    if Path(path).suffix.lower() not in SUFFIXES:
        raise FileError(f"{named(path)}: a report's name ends in {' or '.join(SUFFIXES)}")
    write_atomically(path, [page(subject.title, report_data(subject))])


def report_data(subject: Subject) -> Data:
    """The content of the page as JSON data."""
    plan, profile = subject.plan, subject.profile
    nodes = dict(every_node(plan.graph))
    numbers = {path: number for number, path in enumerate(nodes)}
    timed = {step.node: step for step in profile.timed} if profile else {}
    view = _view(subject)
    return {
        "takes": ", ".join(str(y.type.with_order(None)) for y in plan.inputs),
        "notes": _notes(subject),
        "nodes": node_data(plan, timed, said(plan.graph, subject.declined), subject.source.lines),
        "scene": None if view is None else scene(view, numbers),
        "source": _source(subject, numbers),
        "steps": [numbers[step.name,] for step in plan.steps],
        "profile": None if profile is None else {
            key: value for key, value in profile.data().items() if key != "steps"
        },
        "memory": memory_data(plan),
        "passes": change_data(subject.traced, subject.passes),
        "weights": weight_data(subject.weights),
        "parameters": [
            [node.attrs.name, numbers[path]] for path, node in nodes.items() if isinstance(node.attrs, ParameterAttrs)
        ],
    }  # fmt: skip


def _notes(subject: Subject) -> Data:
    plan = subject.plan
    return {
        "scene": f"The graph has more than {MOST_BOXES:,} boxes, even with all modules closed: too many to lay out.",
        "source": f"{subject.source.text.count(chr(10)):,} lines",
        "times": "Nothing was measured: times are those that the cost model predicts.",
        "plan": (
            f"{len(plan.steps):,} steps on {plan.threads} thread{'s' * (plan.threads != 1)}. Those that run once "
            f"depend on parameters only, and run again when these change."
        ),
        "pass": "There is nothing to be seen in a picture, or too much.",
    }


def _view(subject: Subject) -> View | None:
    """The graph that runs, with times in the boxes; modules are closed if there would be too many boxes."""
    view = separated(view_of(subject.plan.graph))
    times = _times(subject)
    boxes = (
        replace(box, rows=(*box.rows, Row("detail", times[box.key]))) if box.key in times else box for box in view.boxes
    )
    view = replace(view, boxes=tuple(boxes))
    for depth in (None, 4, 3, 2, 1):
        small = view if depth is None else closed(view, depth)
        if len(small.boxes) <= MOST_BOXES:
            return small
    return None


def _times(subject: Subject) -> dict[str, str]:
    """The times of nodes as text, without views and nodes that run once, which take no time in a run."""
    profile = subject.profile
    if profile is not None:
        return {
            step.node: f"{_spoken(step.seconds)} · {_share(step.seconds / profile.total)}"
            for step in profile.timed
            if step.seconds >= SHORTEST
        }
    found = {step.name: step.choice.way.seconds for step in subject.plan.steps if not step.fixed}
    return {name: f"{_spoken(seconds)} predicted" for name, seconds in found.items() if seconds}


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.005 else "< 1%"


def _spoken(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 9.995e-4 else f"{seconds * 1e6:.3g} µs"


def _source(subject: Subject, numbers: dict[NodePath, int]) -> Data:
    lines = subject.source.text.splitlines()
    of = subject.source.nodes
    return {
        "lines": lines,
        "nodes": [numbers.get(of.get(number + 1, ()), -1) for number in range(len(lines))],
        "run": subject.source.functions.get("run", 1),
    }
