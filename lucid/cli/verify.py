"""``lucid verify``."""

from __future__ import annotations

import click

from ..base.checks import named
from ..errors import ExecutionError, ProofError
from ..tensor.grad_mode import no_grad
from . import options
from .answer import WRONG, Answer, Table, counted, facts
from .inputs import Inputs
from .models import open_model, wish
from .show import working

PARAMETERS = (
    options.model(), options.INPUTS,
    click.Option(["--evidence"], metavar="FOLDER", help="Where the smallest graph that shows a fault goes."),
    options.SEED, options.SPECS, options.SIZES, options.THREADS, options.EXACT,
)  # fmt: skip


def run(
    model: str, inputs: tuple[str, ...], evidence: str | None, seed: int, specs: tuple[str, ...],
    sizes: tuple[str, ...], threads: int | None, exact: bool,
) -> Answer:  # fmt: skip
    """Each pass, and each step of the program, on sampled inputs.

    The exit code is 1 where one computes something else; the answer names the pass or the lowering, and the node.
    """
    how = wish(specs=specs, sizes=sizes, threads=threads, exact=exact, verify=evidence or True)
    given = Inputs(inputs)
    try:
        with working(f"verifying {named(model)}"), no_grad():
            net = open_model(model, how, given.alone)
            graph = net.graph
            args, kwargs = net.arguments(given.arrays(net, how.sizes_to_draw(model), seed, draw=True))
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
