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
    options.SEED, options.SPECS, options.SIZES, options.THREADS, options.EXACT,
)  # fmt: skip


def run(
    model: str, inputs: tuple[str, ...], repeat: int, seed: int, specs: tuple[str, ...], sizes: tuple[str, ...],
    threads: int | None, exact: bool,
) -> Answer:  # fmt: skip
    """Of the program that runs, step by step."""
    how, given = wish(specs=specs, sizes=sizes, threads=threads, exact=exact), Inputs(inputs)
    net = open_model(model, how, given.alone)
    args, _ = net.arguments(given.arrays(net, how.sizes, seed, draw=True))
    found = net.profile(*args, repeat=repeat)
    steps = [{"node": name, "op": op, "seconds": seconds} for name, op, seconds in found.steps]
    return Answer({"model": model, "total": found.total, "steps": steps}, [str(found)])
