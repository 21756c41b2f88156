"""``lucid verify``."""

from __future__ import annotations

from dataclasses import replace

import click

from ..base.checks import named
from ..errors import ExecutionError, ProofError
from ..tensor.grad_mode import no_grad
from . import options
from .answer import WRONG, Answer, Table, counted, facts
from .inputs import Inputs
from .models import open_model
from .show import working

PARAMETERS = (
    options.model(), options.INPUTS,
    click.Option(["--evidence"], metavar="FOLDER", help="Where the smallest graph that shows a fault goes."),
    options.SEED, *options.SETTINGS,
)  # fmt: skip


def run(
    model: str, inputs: tuple[str, ...], evidence: str | None, seed: int, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Each pass, and each step of the program, is checked on sampled inputs.

    The exit code is 1 if one is wrong; the answer names the pass or the lowering, and the node.
    """
    settings, given = replace(settings, verify=evidence or True), Inputs(inputs)
    try:
        with working(f"verifying {named(model)}"), no_grad():
            net = open_model(model, settings, given.alone)
            graph = net.graph
            args, kwargs = net.arguments(given.arrays(net, settings.sizes_to_draw(model), seed, draw=True))
            net(*args, **kwargs)
    except (ProofError, ExecutionError) as error:
        said = " ".join(str(error).split())
        return Answer({"model": model, "right": False, "error": said}, [f"{named(model)} is wrong: {said}"], WRONG)
    nodes, steps = len(graph), len(net.plan.steps)
    data = {"model": model, "right": True, "nodes": nodes, "steps": steps}
    table: Table = facts(
        passes=f"{counted(nodes, 'node')} as in the reference", program=f"{counted(steps, 'step')} likewise"
    )
    return Answer(data, [f"{named(model)} is right", table])
