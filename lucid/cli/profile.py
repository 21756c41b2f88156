"""``lucid profile``."""

from __future__ import annotations

import click

from . import options
from .answer import Answer
from .inputs import Inputs
from .models import open_model

PARAMETERS = (
    options.model(), options.INPUTS,
    click.Option(["--repeat"], type=click.IntRange(1), default=10, show_default=True, help="Runs to take medians of."),
    click.Option(["--trace"], type=click.Path(dir_okay=False), help="Write a trace for Chrome or Perfetto, as JSON."),
    options.SEED, *options.SETTINGS,
)  # fmt: skip


def run(
    model: str, inputs: tuple[str, ...], repeat: int, trace: str | None, seed: int, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Times of the program that runs, next to what the machine could do."""
    given = Inputs(inputs)
    net = open_model(model, settings, given.alone)
    args, kwargs = net.arguments(given.arrays(net, settings.sizes_to_draw(model), seed, draw=True))
    found = net.profile(*args, repeat=repeat, **kwargs)
    if trace is not None:
        found.save(trace)
    return Answer({"model": model, "trace": trace, **found.data()}, [str(found)])
