"""Gradients of tensors that are there already, by PyTorch's names: ``lucid.autograd.grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from .base.absent import AUTOGRAD, face
from .base.arrays import Array
from .base.checks import flag, shown
from .errors import GradientError, OptionError, TraceError
from .graph.trace import active_trace, user_location
from .tensor.history import gradients_of
from .tensor.tensor import Tensor, as_gradient, seed_of


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | npt.ArrayLike | Sequence[Tensor | npt.ArrayLike | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of some tensors with respect to others that they were computed from; no ``.grad`` changes.

    Parameters
    ----------
    outputs
        A tensor or several, whose gradients are summed.
    inputs
        A tensor or several; leaves or what was computed on the way.
    grad_outputs
        By what each output is weighted; may be omitted for scalars.
    retain_graph
        Makes no difference: gradients may be asked for again as long as the outputs exist.
    create_graph
        Refused: the gradients have no history; ``lucid.grad(lucid.grad(f))`` is the way to gradients of gradients.
    allow_unused
        Whether the gradient of an input that no output depends on is None, instead of an error.

    Returns
    -------
    A gradient for each input, in a tuple.
    """
    flag("grad", "retain_graph", bool(retain_graph) if retain_graph is None else retain_graph)
    flag("grad", "allow_unused", allow_unused)
    if flag("grad", "create_graph", create_graph):
        raise GradientError("grad: create_graph: gradients have no history; use lucid.grad(lucid.grad(f))")
    if active_trace.get() is not None:
        raise TraceError(
            f"lucid.autograd.grad() inside a traced function ({user_location()}): call it on the compiled model's "
            f"result, or use lucid.grad"
        )
    ends, wanted = _tensors("outputs", outputs), _tensors("inputs", inputs)
    found: dict[int, Tensor] = {}
    for tensor, array, own in gradients_of(_weighted(ends, grad_outputs), list({id(x): x for x in wanted}.values())):
        gradient = as_gradient(array, own)
        found[id(tensor)] = found[id(tensor)].add_(gradient) if id(tensor) in found else gradient
    unused = [i for i, x in enumerate(wanted) if id(x) not in found]
    if unused and not allow_unused:
        raise GradientError(
            f"grad: no output depends on input {unused[0]}, of type {wanted[unused[0]].type}, as it is now; with "
            f"allow_unused=True its gradient is None"
        )
    return tuple(found.get(id(x)) for x in wanted)


def _tensors(name: str, given: object) -> list[Tensor]:
    """Tensors that require a gradient, of which there is at least one."""
    listed = [given] if isinstance(given, Tensor) else given
    if not isinstance(listed, list | tuple) or not listed or not all(isinstance(x, Tensor) for x in listed):
        raise OptionError(f"grad: {name} is a tensor or a list of tensors, got {shown(given)}")
    for i, x in enumerate(listed):
        if not x.requires_grad:
            raise GradientError(
                f"grad: {name}[{i}], of type {x.type}, requires no gradient; x.requires_grad_() before the computation"
            )
    return list(listed)


def _weighted(outputs: list[Tensor], weights: object) -> list[tuple[Tensor, Array]]:
    """The outputs, each with what it is weighted by."""
    given = weights if isinstance(weights, list | tuple) else [weights] * (len(outputs) if weights is None else 1)
    if len(given) != len(outputs):
        raise OptionError(f"grad: there are {len(outputs)} outputs, and {len(given)} grad_outputs")
    return [(x, seed_of("grad", x, weight)) for x, weight in zip(outputs, given, strict=True)]


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), AUTOGRAD)
