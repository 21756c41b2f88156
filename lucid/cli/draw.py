"""``lucid draw``."""

from __future__ import annotations

import click

from ..base.checks import named
from ..errors import OptionError
from ..formats.draw.files import DETAILS
from . import options
from .answer import Answer, counted
from .models import open_model

GRAPHS = ("optimised", "traced", "backward")

PARAMETERS = (
    options.model(),
    click.Argument(["picture"], type=click.Path(dir_okay=False)),
    click.Option(
        ["--graph", "which"], type=click.Choice(GRAPHS), default=GRAPHS[0], show_default=True,
        help="After the passes, before them, or that of the gradients.",
    ),
    click.Option(["--backward"], is_flag=True, help="Draw both halves of training, and what one keeps for the other."),
    click.Option(["--depth"], type=click.IntRange(1), help="How many levels of modules to show."),
    click.Option(["--focus"], metavar="NAME", help="Show one module, node or parameter and what stands around it."),
    click.Option(["--direction"], type=click.Choice(("down", "right")), help="Which way arrows go (down)."),
    click.Option(["--detail"], type=click.Choice(DETAILS), help="full: a box for every node (auto)."),
    click.Option(
        ["--links"], metavar="FILE",
        help="Write the program there (.html, .py), beside the picture, and link to its lines."
    ),
    click.Option(["--max-nodes"], type=click.IntRange(0), help="Draw a graph of so many nodes, if that takes minutes."),
    options.SPECS, options.SIZES,
)  # fmt: skip


def run(
    model: str, picture: str, which: str, backward: bool, links: str | None, settings: options.Settings,
    **how: str | int | None,
) -> Answer:  # fmt: skip
    """The picture's suffix says what is written: .svg, .png, .pdf or .dot."""
    if which != GRAPHS[0] and (backward or links is not None):
        raise OptionError(f"--backward and --links are for the graph that runs: leave out --graph {which}")
    net = open_model(model, settings)
    given = {name: value for name, value in how.items() if value is not None}
    if which == GRAPHS[0]:
        graph = net.graph
        net.draw(picture, backward=backward, links=links, **given)
    else:
        graph = net.traced if which == "traced" else net.backward_graph
        graph.draw(picture, **given)
    if backward:  # of two graphs, each with nodes of the other's
        return Answer({"picture": picture, "graph": "training"}, [f"{named(picture)}: both halves of training"])
    said = f"{named(picture)}: {counted(len(graph), 'node')}"
    return Answer({"picture": picture, "graph": which, "nodes": len(graph)}, [said])
