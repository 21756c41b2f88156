"""``lucid profile``."""

from __future__ import annotations

import click

from . import options
from .answer import Answer
from .inputs import Inputs
from .models import open_model, wish

PARAMETERS = (
    options.model(), options.INPUTS,
    click.Option(["--repeat"], type=click.IntRange(1), default=10, show_default=True, help="Runs to take medians of."),
    click.Option(["--trace"], type=click.Path(dir_okay=False), help="Write a trace for Chrome or Perfetto, as JSON."),
    options.SEED, options.SPECS, options.SIZES, options.THREADS, options.EXACT,
)  # fmt: skip


def run(
    model: str, inputs: tuple[str, ...], repeat: int, trace: str | None, seed: int, specs: tuple[str, ...],
    sizes: tuple[str, ...], threads: int | None, exact: bool,
) -> Answer:  # fmt: skip
    """Of the program that runs, beside what the machine could do."""
    how, given = wish(specs=specs, sizes=sizes, threads=threads, exact=exact), Inputs(inputs)
    net = open_model(model, how, given.alone)
    args, kwargs = net.arguments(given.arrays(net, how.sizes_to_draw(model), seed, draw=True))
    found = net.profile(*args, repeat=repeat, **kwargs)
    if trace is not None:
        found.save(trace)
    return Answer({"model": model, "trace": trace, **found.data()}, [str(found)])
