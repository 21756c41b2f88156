"""``lucid.grad`` and ``lucid.value_and_grad``: function transformations as in JAX, which may be nested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autodiff.reverse import emit_gradients
from ..base.checks import shown
from ..errors import GradientError, OptionError
from ..graph.ops.source import full
from ..graph.trace import Symbol, active_trace
from ..graph.types import is_float
from ..tensor.tensor import Tensor
from ..tensor.traced import TracedTensor
from .arguments import flatten, unflatten
from .entry import compile


def value_and_grad(function: Callable[..., object], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns ``(value, gradient)`` of a scalar function of tensors.

    Parameters
    ----------
    function
        Returns a tensor with one element.
    argnums
        The positional arguments to differentiate with respect to, each a tensor or nested lists, tuples and dicts of
        tensors. An int gives a single gradient, a tuple gives a tuple of gradients.

    Returns
    -------
    A compiled function; inside another compiled or differentiated function it becomes part of that graph.
    """
    if not callable(function) or isinstance(function, type):
        raise OptionError(f"grad: differentiates a function, got {shown(function)}")
    numbers = (argnums,) if isinstance(argnums, int) and not isinstance(argnums, bool) else argnums
    if not isinstance(numbers, tuple) or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise OptionError(f"grad: argnums is an int or a tuple of ints, got {shown(argnums)}")

    def differentiated(*args: object, **kwargs: object) -> Any:
        places = [_place(args, n) for n in numbers]
        distinct = tuple(dict.fromkeys(places))
        tensors, structure = flatten(tuple(args[p] for p in distinct))
        if not tensors:
            given = shown(args[places[0]]) if places else "no argument"
            raise GradientError(f"grad: gradients are of tensors, got {given}; make it lucid.tensor(...)")
        read = active_trace.get().read
        chosen = [read(x) for x in tensors]  # values of their own: the function may know the same tensors otherwise
        symbols = [active_trace.get().lift(x) for x in chosen]  # as they are now: the function may change them in place
        own = dict(zip(distinct, unflatten(structure, chosen), strict=True))
        value = function(*(own.get(p, x) for p, x in enumerate(args)), **kwargs)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise GradientError("grad: the function must return a tensor with one element")
        found = dict(zip(distinct, unflatten(structure, _gradients(value, symbols)), strict=True))
        gradients = tuple(found[p] for p in places)
        return value, (gradients[0] if isinstance(argnums, int) else gradients)

    return compile(differentiated)


def grad(function: Callable[..., object], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of a scalar function; see :func:`value_and_grad`."""
    both = value_and_grad(function, argnums)

    def gradient(*args: object, **kwargs: object) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def _place(args: tuple[object, ...], number: int) -> int:
    if not -len(args) <= number < len(args):
        raise OptionError(f"grad: there is no positional argument {number}; {len(args)} were given")
    return number % len(args)


def _gradients(value: Tensor, symbols: list[Symbol]) -> list[Tensor]:
    recorder = active_trace.get()
    for symbol in symbols:
        if not is_float(symbol.type.dtype):
            raise GradientError(f"grad: {symbol.type} has no gradient, only floating-point tensors have")
    objective = recorder.lift(value)
    found = emit_gradients(
        recorder.tracer, {objective.value: full(objective, 1.0)}, [symbol.value for symbol in symbols]
    )
    return [TracedTensor(full(x, 0.0) if g is None else g) for g, x in zip(found, symbols, strict=True)]
