"""``lucid run``: arrays and pictures in, arrays and pictures out."""

from __future__ import annotations

import click
import numpy as np

from ..base.arrays import Array
from ..base.checks import named
from ..compiler.arguments import flatten
from ..errors import OptionError
from ..tensor.grad_mode import no_grad
from . import options
from .answer import Answer, Table
from .arrays import write_arrays
from .inputs import Inputs
from .models import open_model

PARAMETERS = (
    options.model(),
    click.Argument(["inputs"], nargs=-1, metavar="[[NAME=]FILE]..."),
    click.Option(["--output", "-o"], type=click.Path(dir_okay=False), help="Write results as .npz, .npy or .png."),
    click.Option(["--random"], is_flag=True, help="Draw the inputs that are not given."),
    options.SEED, *options.SETTINGS,
)  # fmt: skip

FEW = 5
"""How many numbers of a result are shown."""


def run(
    model: str, inputs: tuple[str, ...], output: str | None, random: bool, seed: int, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Files are .npy, .npz, .png or of another kind of picture, given in order, or by name as NAME=FILE.

    A picture is numbers from 0 to 1 in a batch of one.
    """
    given = Inputs(inputs)
    net = open_model(model, settings, given.alone)
    arrays = given.arrays(net, settings.sizes_to_draw(model), seed, draw=random)
    args, kwargs = net.arguments(arrays)
    with no_grad():
        leaves, _ = flatten(net(*args, **kwargs), results=True)
    results = {f"output_{n}" if len(leaves) > 1 else "output": np.asarray(leaf) for n, leaf in enumerate(leaves)}
    if output is not None:
        if not results:
            raise OptionError(f"the model returns no array to write to {named(output)}")
        write_arrays(output, results)
    data = {"outputs": {name: _described(array) for name, array in results.items()}, "written": output}
    rows = [_row(name, array) for name, array in results.items()]
    parts: list[str | Table] = [Table(("result", "type", ">least", ">mean", ">greatest", "first"), rows)]
    return Answer(data, [*parts, *([f"written to {named(output)}"] if output is not None else [])])


def _described(array: Array) -> dict[str, object]:
    numbers = array.astype(np.float64)
    some = {"min": numbers.min(), "mean": numbers.mean(), "max": numbers.max()} if array.size else {}
    return {
        "dtype": array.dtype.name, "shape": list(array.shape), **{name: float(one) for name, one in some.items()},
        "first": array.reshape(-1)[:FEW].tolist(),
    }  # fmt: skip


def _row(name: str, array: Array) -> tuple[str, ...]:
    said = _described(array)
    numbers = [f"{said[key]:.4g}" if key in said else "" for key in ("min", "mean", "max")]
    first = ", ".join(f"{one:.4g}" for one in array.reshape(-1)[:FEW].tolist())
    return (name, f"{array.dtype.name}{list(array.shape)}", *numbers, first + (", ..." if array.size > FEW else ""))
