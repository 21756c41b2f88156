"""Two graphs in one view: before and after, or forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...graph.ir import Graph, Value
from .graph_view import DrawOptions, view_of
from .view import PLACE, Box, Edge, View

BACKWARD = "gradient"
"""The section of gradients, whose arrows go up next to the forward graph."""


def beside(views: Sequence[View], headings: Sequence[str]) -> View:
    """Views side by side, each in a column with a heading."""
    boxes: list[Box] = []
    edges: list[Edge] = []
    times = {}
    for number, view in enumerate(views):
        side = f"side {number}"
        boxes += [replace(box, key=f"{number}{PLACE}{box.key}", section=side, column=number) for box in view.boxes]
        edges += [
            edge._replace(source=f"{number}{PLACE}{edge.source}", target=f"{number}{PLACE}{edge.target}")
            for edge in view.edges
        ]
        times.update({(side, path): one for (_, path), one in view.times.items()})
    named = {f"side {number}": heading for number, heading in enumerate(headings)}
    return View(tuple(boxes), tuple(edges), times, named)


def compared(before: View, after: View) -> tuple[View, View]:
    """Both views, with marks on boxes that are in only one of them or have changed."""
    old, new = ({box.key: box for box in view.boxes} for view in (before, after))
    return (
        replace(before, boxes=tuple(box if box.key in new else replace(box, mark="gone") for box in before.boxes)),
        replace(after, boxes=tuple(
            box if box.key in old and box.sign == old[box.key].sign
            else replace(box, mark="changed" if box.key in old else "new")
            for box in after.boxes
        )),
    )  # fmt: skip


def joined(forward: Graph, backward: Graph, results: int, kept: Sequence[Value], options: DrawOptions) -> View:
    """A forward graph, and next to it the backward graph that reads its values.

    Parameters
    ----------
    forward, backward
        The halves of training.
    results
        How many of the forward graph's outputs are the model's; the others are kept values.
    kept
        The values of the forward graph that are the last inputs of the backward graph.
    """
    shown = Graph(forward.dag, forward.inputs, forward.outputs[:results], forward.updates, forward.names[:results])
    one = view_of(shown, options)
    names = backward.inputs[len(backward.inputs) - len(kept) :]
    other = view_of(backward, replace(options, apart=frozenset(names)))
    known = {box.key for box in one.boxes}
    meets = {f"{PLACE}back{PLACE}{name}": value for name, value in zip(names, kept, strict=True) if value.node in known}
    boxes = [*one.boxes]
    for box in other.boxes:
        key = f"{PLACE}back{PLACE}{box.key}"
        if key not in meets:
            boxes.append(replace(box, key=key, section=BACKWARD))
    labels = {(edge.source, edge.output): edge.label for edge in one.edges}
    edges = [*one.edges]
    for edge in other.edges:
        source, target = f"{PLACE}back{PLACE}{edge.source}", f"{PLACE}back{PLACE}{edge.target}"
        if source in meets:
            value = meets[source]
            label = labels.get((value.node, value.output), edge.label)
            edges.append(Edge(value.node, target, value.output, label, "kept", edge.hover))
        else:
            edges.append(edge._replace(source=source, target=target))
    return View(tuple(boxes), tuple(edges), upward=frozenset([BACKWARD]))
