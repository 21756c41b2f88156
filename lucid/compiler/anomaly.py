"""Finding the node that first produced a value that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ..base.arrays import Array
from ..errors import ExecutionError
from ..graph.rng import Keys, keys_from
from ..runtime.program.executable import watched
from ..runtime.program.plan import Plan
from ..runtime.program.printer import Values


def where_not_finite(plan: Plan, parameters: Sequence[Array], inputs: Sequence[Array], drawn: int) -> str:
    """A description of the first value in a program that is NaN or infinite.

    Parameters
    ----------
    plan
        The plan of the program.
    parameters, inputs
        The arrays that it ran on.
    drawn
        The state of the random keys when it began.
    """
    given = {"input": zip(plan.graph.inputs, inputs, strict=True), "parameter": zip(plan.parameters, parameters, strict=True)}  # fmt: skip # noqa: E501
    for kind, named in given.items():
        for name, array in named:
            if _what(array):
                return f"the {kind} {name!r} holds {_what(array)}"
    values: Values = {}
    program = watched(plan, parameters, values=values)
    keys = Keys(0)
    keys.state = drawn
    with suppress(ExecutionError), keys_from(keys):
        program(*inputs)
    for step in plan.steps:
        for array in values.get(step.name, ()):
            if array is not None and _what(array):
                return f"{step} is the first to give {_what(array)}"
    return "where it comes from is not seen when the step is run again"


def _what(array: Array) -> str:
    """``NaN`` or ``an infinity``, if the array holds one."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return ""
    return "NaN" if np.isnan(array).any() else "an infinity"
