"""``lucid convert``."""

from __future__ import annotations

import os

import click

from ..base.checks import named
from ..errors import OptionError
from . import options
from .answer import Answer, amount, counted
from .models import open_model, wish
from .show import working

PARAMETERS = (
    options.model(),
    click.Argument(["target"], type=click.Path(dir_okay=False)),
    click.Option(["--tune"], is_flag=True, help="Measure the ways to run each node; the file keeps what is found."),
    options.SPECS, options.SIZES, options.EXACT, options.THREADS,
)  # fmt: skip


def run(
    model: str, target: str, tune: bool, specs: tuple[str, ...], sizes: tuple[str, ...], exact: bool,
    threads: int | None,
) -> Answer:  # fmt: skip
    """Who loads a .lucid file needs no onnx package, and no code of the model's."""
    if os.path.splitext(target)[1].lower() != ".lucid":
        raise OptionError(f"{named(target)}: models are written as .lucid files")
    how = wish(specs=specs, sizes=sizes, exact=exact, threads=threads, tune=tune)
    with working(f"compiling {named(model)}"):
        net = open_model(model, how)
        if tune:
            args, kwargs = net.arguments(net.example_inputs())
            net(*args, **kwargs)
        net.save(target)
    size, nodes = os.path.getsize(target), {"traced": len(net.traced), "optimised": len(net.graph)}
    said = f"{named(target)}: {amount(size)}, {counted(nodes['traced'], 'node')}, {nodes['optimised']} after the passes"
    return Answer({"file": target, "bytes": size, "nodes": nodes}, [said])
