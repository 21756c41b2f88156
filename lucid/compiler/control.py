"""``lucid.cond``: what a tensor decides, by the names and habits of PyTorch and JAX; eager and traced alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ..base.checks import shown
from ..errors import DTypeError, OptionError, ShapeError, TraceError
from ..graph.ops import control
from ..graph.types import bool_
from ..tensor.tensor import Tensor
from .arguments import Structure, flatten, unflatten

R = TypeVar("R")


def cond(pred: object, true_fn: Callable[..., R], false_fn: Callable[..., R], operands: Sequence[object] = ()) -> R:
    """``true_fn(*operands)`` where ``pred`` holds, else ``false_fn(*operands)``; as ``torch.cond``.

    Eager code calls that function alone. Compiled, both are traced, each becomes a graph that the ``If`` node holds,
    and each run goes through one of them.

    Parameters
    ----------
    pred
        A bool, which decides while the model is traced, or a bool tensor with one element.
    true_fn, false_fn
        They return tensors, or equally nested lists, tuples and dicts of them; of equal types. What they read beside
        their arguments, parameters included, is found as they are traced. They change nothing in place.
    operands
        What the functions are called with.
    """
    for name, function in (("true_fn", true_fn), ("false_fn", false_fn)):
        check_function("cond", name, function)
    check_operands("cond", operands)
    if isinstance(pred, bool | np.bool_):
        return (true_fn if pred else false_fn)(*operands)
    structures: list[Structure] = []

    def flat(function: Callable[..., R]) -> Sequence[Tensor]:
        leaves, structure = flatten(function(*operands), results=True)
        structures.append(structure)
        return leaves

    found = control.cond(_condition("cond", pred), lambda: flat(true_fn), lambda: flat(false_fn))
    if structures[0] != structures[-1]:
        raise TraceError(
            "cond: true_fn and false_fn return different things: give both the same nesting, and numbers as tensors"
        )
    result: R = unflatten(structures[0], found)
    return result


def _condition(owner: str, pred: object) -> Tensor:
    """A condition as a tensor without axes."""
    tensor = pred if isinstance(pred, Tensor) else Tensor(np.asarray(pred))
    if tensor.type.dtype != bool_:
        raise DTypeError(f"{owner}: the condition must be a bool, got {tensor.type}; compare it, as in x.sum() > 0")
    if tensor.type.size != 1:
        raise ShapeError(f"{owner}: the condition must have one element, got {tensor.type}; take .any() or .all()")
    return tensor if tensor.type.shape == () else tensor.reshape(())


def check_function(owner: str, name: str, function: object) -> None:
    """Raise where an argument cannot be called."""
    if not callable(function):
        raise OptionError(f"{owner}: {name} is a function, got {shown(function)}")


def check_operands(owner: str, operands: object) -> None:
    """Raise where the operands are not several."""
    if not isinstance(operands, tuple | list):
        raise OptionError(f"{owner}: operands is a tuple of what the functions are called with, got {shown(operands)}")
