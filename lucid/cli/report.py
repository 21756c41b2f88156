"""``lucid report``."""

from __future__ import annotations

import os

import click

from ..base.checks import named
from . import options
from .answer import Answer, amount, counted
from .inputs import Inputs
from .models import open_model

PARAMETERS = (
    options.model(),
    click.Option(["--output", "-o"], type=click.Path(dir_okay=False), required=True, help="The page, an .html file."),
    options.INPUTS,
    click.Option(
        ["--repeat"], type=click.IntRange(0), default=10, show_default=True,
        help="Runs to take medians of; with 0 nothing is run, and times are predicted.",
    ),
    options.SEED, *options.SETTINGS,
)  # fmt: skip


def run(
    model: str, output: str, inputs: tuple[str, ...], repeat: int, seed: int, settings: options.Settings,
) -> Answer:  # fmt: skip
    """The page needs no network and no other file: graph, passes, times, memory, program and weights."""
    given = Inputs(inputs)
    net = open_model(model, settings, given.alone)
    args, kwargs = net.arguments(given.arrays(net, settings.sizes_to_draw(model), seed, draw=True))
    net.report(output, *args, repeat=repeat, **kwargs)
    size, nodes = os.path.getsize(output), len(net.graph)
    said = f"{named(output)}: {counted(nodes, 'node')}, {amount(size)}"
    return Answer({"report": output, "nodes": nodes, "bytes": size}, [said])
