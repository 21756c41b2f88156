"""``lucid.autograd.grad``: gradients of tensors with respect to others that they were computed from.

Eagerly these come from the tensors' history; while a model is traced, they are emitted into its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy.typing as npt

from ..autodiff.reverse import emit_gradients
from ..base.checks import flag, shown
from ..errors import GradientError, OptionError, ShapeError, TraceError
from ..graph.ir import Value
from ..graph.ops.source import full
from ..graph.trace import Symbol, active_trace, user_location
from ..graph.types import is_float
from ..tensor.history import gradients_of
from ..tensor.tensor import Tensor, as_gradient, differentiable_gradients, seed_of, seed_tensor
from ..tensor.traced import TracedTensor

Cotangent: TypeAlias = "Tensor | npt.ArrayLike | None"


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | npt.ArrayLike | Sequence[Tensor | npt.ArrayLike | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs``, summed, with respect to ``inputs``; no ``.grad`` is changed.

    Parameters
    ----------
    outputs
        A tensor, or a list or tuple of tensors, that were computed from ``inputs``.
    inputs
        A tensor, or a list or tuple of tensors: leaves or intermediate results.
    grad_outputs
        The cotangent of each output, of the output's shape; None, or omitted, for ones of outputs with one element.
    retain_graph
        Has no effect: gradients can be computed repeatedly as long as the outputs exist.
    create_graph
        Whether the gradients can themselves be differentiated.
    allow_unused
        Whether the gradient of an input that no output depends on is None, instead of an error.

    Returns
    -------
    A tuple with a gradient for each input, of the input's shape and dtype.

    Raises
    ------
    GradientError
        If a tensor has no gradient or requires none, an output with several elements has no cotangent, or no output
        depends on an input and ``allow_unused`` is not set.
    OptionError, ShapeError
        If there are more or fewer cotangents than outputs, or one does not have its output's shape.
    """
    flag("grad", "retain_graph", bool(retain_graph) if retain_graph is None else retain_graph)
    flag("grad", "allow_unused", allow_unused)
    flag("grad", "create_graph", create_graph)
    ends, wanted = _tensors("outputs", outputs), _tensors("inputs", inputs)
    cotangents = _cotangents(ends, grad_outputs)
    if active_trace.get() is not None:
        gradients = _in_trace(ends, wanted, cotangents, create_graph)
    else:
        gradients = _from_history(ends, wanted, cotangents, create_graph)
    unused = [i for i, gradient in enumerate(gradients) if gradient is None]
    if unused and not allow_unused:
        raise GradientError(
            f"grad: no output depends on input {unused[0]}, of type {wanted[unused[0]].type}, as it is now; with "
            f"allow_unused=True its gradient is None"
        )
    return tuple(gradients)


def _from_history(
    ends: list[Tensor], wanted: list[Tensor], cotangents: list[Cotangent], create_graph: bool
) -> list[Tensor | None]:
    """The gradients of eager tensors, computed from their history; None where an input is unused."""
    for name, tensors in (("outputs", ends), ("inputs", wanted)):
        for i, x in enumerate(tensors):
            if not x.requires_grad:
                raise GradientError(
                    f"grad: {name}[{i}], of type {x.type}, requires no gradient; x.requires_grad_() before the "
                    f"computation"
                )
    distinct = list({id(x): x for x in wanted}.values())
    found: dict[int, Tensor] = {}
    if create_graph:
        seeded = [(x, seed_tensor("grad", x, cotangent)) for x, cotangent in zip(ends, cotangents, strict=True)]
        for tensor, gradient in differentiable_gradients(seeded, distinct):
            found[id(tensor)] = found[id(tensor)] + gradient if id(tensor) in found else gradient
    else:
        seeds = [(x, seed_of("grad", x, cotangent)) for x, cotangent in zip(ends, cotangents, strict=True)]
        for tensor, array, own in gradients_of(seeds, distinct):
            gradient = as_gradient(array, own)
            found[id(tensor)] = found[id(tensor)].add_(gradient) if id(tensor) in found else gradient
    return [found.get(id(x)) for x in wanted]


def _in_trace(
    ends: list[Tensor], wanted: list[Tensor], cotangents: list[Cotangent], create_graph: bool
) -> list[Tensor | None]:
    """The gradients of values of the graph under construction, emitted into it; None where an input is unused."""
    recorder = active_trace.get()
    sources = [recorder.lift(x) for x in wanted]
    for i, (x, source) in enumerate(zip(wanted, sources, strict=True)):
        if x.has_hooks:
            raise TraceError(
                f"grad: inputs[{i}], of type {source.type}, has hooks of its gradient, which are not called in a trace "
                f"({user_location()}); remove them by their handles"
            )
        if not recorder.is_own(x):
            raise TraceError(
                f"grad: inputs[{i}], of type {source.type}, comes from outside the branch or loop in which its "
                f"gradient is asked for ({user_location()}), where what else depends on it is not known: hand it over "
                f"as an argument, or use lucid.grad"
            )
        if not is_float(source.type.dtype):
            raise GradientError(f"grad: inputs[{i}], of type {source.type}, has no gradient")
    seeds = dict[Value, Symbol]()
    for end, cotangent in zip(ends, cotangents, strict=True):
        y = recorder.lift(end)
        if not is_float(y.type.dtype):
            raise GradientError(f"grad: an output of type {y.type} has no gradient")
        seed = _seed(y, None if cotangent is None else recorder.lift(cotangent))
        seeds[y.value] = seeds[y.value] + seed if y.value in seeds else seed
    symbols = emit_gradients(recorder.tracer, seeds, [source.value for source in sources])
    gradients = [None if symbol is None else TracedTensor(symbol) for symbol in symbols]
    return [gradient if gradient is None or create_graph else gradient.detach() for gradient in gradients]


def _seed(y: Symbol, cotangent: Symbol | None) -> Symbol:
    """The cotangent of an output in its dtype; one if omitted, for an output with a single element."""
    if cotangent is None:
        if any(dim != 1 for dim in y.type.shape):
            raise GradientError(f"grad: give a gradient of shape {y.type.shape}, or reduce to a scalar first")
        return full(y, 1.0)
    if cotangent.type.shape != y.type.shape:
        raise ShapeError(f"grad: the gradient has shape {cotangent.type.shape}, the tensor {y.type.shape}")
    return cotangent.to(y.type.dtype)


def _tensors(name: str, given: object) -> list[Tensor]:
    """One tensor or several as a list; raises if there is none."""
    listed = [given] if isinstance(given, Tensor) else given
    if not isinstance(listed, list | tuple) or not listed or not all(isinstance(x, Tensor) for x in listed):
        raise OptionError(f"grad: {name} is a tensor or a list of tensors, got {shown(given)}")
    return list(listed)


def _cotangents(outputs: list[Tensor], grad_outputs: object) -> list[Cotangent]:
    """A cotangent, or None, for each output."""
    if grad_outputs is None:
        return [None] * len(outputs)
    given = grad_outputs if isinstance(grad_outputs, list | tuple) else [grad_outputs]
    if len(given) != len(outputs):
        raise OptionError(f"grad: there are {len(outputs)} outputs, but {len(given)} grad_outputs")
    return list(given)
