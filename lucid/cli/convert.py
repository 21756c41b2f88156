"""``lucid convert``."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from ..base.checks import named
from ..errors import OptionError
from ..formats.onnx.write.versions import NEWEST, OLDEST, USUAL
from . import options
from .answer import Answer, amount, counted
from .models import open_model
from .show import working

PARAMETERS = (
    options.model(),
    click.Argument(["target"], type=click.Path(dir_okay=False)),
    click.Option(["--tune"], is_flag=True, help="Measure the ways to run each node; .lucid files keep what is found."),
    click.Option(
        ["--opset"], type=click.IntRange(OLDEST, NEWEST),
        help=f"The version of the operators of an .onnx file; {USUAL} where none is said.",
    ),
    *options.SETTINGS,
)  # fmt: skip


def run(
    model: str, target: str, tune: bool, opset: int | None, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Who loads a .lucid file needs no onnx package, and no code of the model's; .onnx files are for other runtimes."""
    kind = os.path.splitext(target)[1].lower()
    if kind not in (".lucid", ".onnx"):
        raise OptionError(f"{named(target)}: models are written as .lucid and .onnx files")
    if kind == ".onnx" and (tune or settings.exact or settings.threads is not None):
        raise OptionError(
            f"{named(target)}: an .onnx file does not say how it is run: leave out --tune, --exact, --threads"
        )
    if kind == ".lucid" and opset is not None:
        raise OptionError(f"{named(target)}: --opset is for an .onnx file")
    with working(f"compiling {named(model)}"):
        net = open_model(model, replace(settings, tune=tune))
        if tune:
            args, kwargs = net.arguments(net.example_inputs())
            net(*args, **kwargs)
        if kind == ".onnx":
            net.export_onnx(target, opset=opset or USUAL)
        else:
            net.save(target)
    size, nodes = os.path.getsize(target), {"traced": len(net.traced)}
    said = f"{named(target)}: {amount(size)}, {counted(nodes['traced'], 'node')}"
    if kind == ".lucid":
        nodes["optimised"] = len(net.graph)
        said += f", {nodes['optimised']} after the passes"
    return Answer({"file": target, "bytes": size, "nodes": nodes}, [said])
