"""``lucid draw``."""

from __future__ import annotations

import click

from ..base.checks import named
from . import options
from .answer import Answer, counted
from .models import open_model, wish

GRAPHS = ("optimised", "traced", "backward")

PARAMETERS = (
    options.model(),
    click.Argument(["picture"], type=click.Path(dir_okay=False)),
    click.Option(
        ["--graph", "which"], type=click.Choice(GRAPHS), default=GRAPHS[0], show_default=True,
        help="After the passes, before them, or that of the gradients.",
    ),
    click.Option(["--max-nodes"], type=click.IntRange(0), help="Draw a graph of so many nodes, if that takes minutes."),
    options.SPECS, options.SIZES,
)  # fmt: skip


def run(
    model: str, picture: str, which: str, max_nodes: int | None, specs: tuple[str, ...], sizes: tuple[str, ...]
) -> Answer:
    """The picture's suffix says what is written: .svg, .png, .pdf or .dot."""
    net = open_model(model, wish(specs=specs, sizes=sizes))
    graph = net.graph if which == "optimised" else net.traced if which == "traced" else net.backward_graph
    graph.draw(picture, **({} if max_nodes is None else {"max_nodes": max_nodes}))
    said = f"{named(picture)}: {counted(len(graph), 'node')}"
    return Answer({"picture": picture, "graph": which, "nodes": len(graph)}, [said])
