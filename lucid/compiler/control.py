"""``lucid.cond``, ``scan`` and ``while_loop``: control flow that depends on tensors, as in PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ..base.checks import shown
from ..errors import DTypeError, OptionError, ShapeError, TraceError
from ..graph.dims import Dim
from ..graph.ops.control import cond as choose
from ..graph.ops.loops import Along, loop
from ..graph.ops.loops import scan as scan_over
from ..graph.types import bool_
from ..tensor.tensor import Tensor
from .arguments import Structure, flatten, unflatten

R = TypeVar("R")
C = TypeVar("C")
X = TypeVar("X")
Y = TypeVar("Y")
_NUMBERS = (bool, int, float, np.generic)


def cond(pred: object, true_fn: Callable[..., R], false_fn: Callable[..., R], operands: Sequence[object] = ()) -> R:
    """``true_fn(*operands)`` if ``pred`` holds, else ``false_fn(*operands)``; as ``torch.cond``.

    Eager code calls only that function. When compiled, both are traced, each becomes a graph held by an ``If`` node,
    and each run executes one of them.

    Parameters
    ----------
    pred
        A bool, which decides while the model is traced, or a bool tensor with one element.
    true_fn, false_fn
        Return tensors, or nested lists, tuples and dicts of them, with the same structure and types. What they read
        besides their arguments, parameters included, is found while tracing. They must not change anything in place.
    operands
        The arguments of the functions.
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

    found = choose(_condition("cond", pred), lambda: flat(true_fn), lambda: flat(false_fn))
    if structures[0] != structures[-1]:
        raise TraceError(
            "cond: true_fn and false_fn must return the same structure and types; return numbers as tensors"
        )
    result: R = unflatten(structures[0], found)
    return result


def scan(
    f: Callable[[C, X], tuple[C, Y]], init: C, xs: X | None = None, length: int | None = None, reverse: bool = False
) -> tuple[C, Y]:
    """``f(carry, x)`` for each ``x`` along the first axis of ``xs``; as ``jax.lax.scan``.

    When compiled, the loop is a single node, however many iterations it has: ``f`` is traced once. Gradients go back
    through the iterations, each of which is recomputed from the carry before it.

    Parameters
    ----------
    f
        Takes the carry and a slice, and returns the next carry, of the same types, and a result. What it reads besides
        these is found while tracing. It must not change anything in place.
    init
        The initial carry: a tensor, or nested lists, tuples and dicts of tensors.
    xs
        What to iterate over: likewise, all of equal length; None for nothing.
    length
        The number of iterations, if ``xs`` does not determine it.
    reverse
        Whether to start at the end; each result is then at the position of its slice.

    Returns
    -------
    The final carry, and the results of all iterations, stacked along a new first axis.
    """
    check_function("scan", "f", f)
    carried, nesting = _tensors("scan", init)
    slices, kind = _tensors("scan", xs)
    iterations = _iteration_count(slices, length)
    structure: list[Structure] = []

    def iterate(*values: object) -> Sequence[Tensor]:
        given = unflatten(nesting, values[: len(carried)]), unflatten(kind, values[len(carried) :])
        found = f(*given)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TraceError(f"scan: f must return a tuple of two, the carry and a result, got {shown(found)}")
        after, same = _tensors("scan", found[0])
        if same != nesting:
            raise TraceError("scan: f must return a carry with the structure of the one that it is given")
        results, one = _tensors("scan", found[1])
        structure[:] = [one]
        return [*after, *results]

    onto = [Along(reverse=reverse)] * len(slices)
    found = scan_over(iterate, carried, slices, iterations, onto, lambda types: [Along(reverse=reverse)] * len(types))
    last, stacked = unflatten(nesting, found[: len(carried)]), unflatten(structure[0], found[len(carried) :])
    return last, stacked


def while_loop(cond_fn: Callable[..., object], body_fn: Callable[..., R], operands: R) -> R:
    """``operands = body_fn(*operands)`` while ``cond_fn(*operands)`` holds; as ``torch.while_loop``.

    When compiled, the loop is a single node whose number of iterations depends on the run, so it has no gradient; use
    :func:`scan` for one.

    Parameters
    ----------
    cond_fn
        Returns a bool tensor with one element.
    body_fn
        Returns a tuple of the next operands, with the same structure and types.
    operands
        The initial operands: tensors, or nested lists, tuples and dicts of tensors.

    Returns
    -------
    The final operands, as a tuple.
    """
    check_function("while_loop", "cond_fn", cond_fn)
    check_function("while_loop", "body_fn", body_fn)
    check_operands("while_loop", operands)
    carried, nesting = _tensors("while_loop", tuple(operands))  # type: ignore[arg-type]  # several

    def further(values: Sequence[object]) -> Tensor:
        return _condition("while_loop", cond_fn(*unflatten(nesting, values)))

    def iterate(_: object, *values: object) -> Sequence[Tensor]:
        found = body_fn(*unflatten(nesting, values))
        after, same = _tensors("while_loop", tuple(found) if isinstance(found, list) else found)
        if same != nesting:
            raise TraceError("while_loop: body_fn must return a tuple with the structure of the operands")
        return [further(after), *after]

    found = loop(iterate, Tensor(np.array(_MOST)), further(carried), carried)
    result: R = unflatten(nesting, found)
    return result


_MOST = np.iinfo(np.int64).max


def _tensors(owner: str, value: object) -> tuple[list[Tensor], Structure]:
    """The tensors in something nested, numbers among them, and the structure around them."""
    leaves, structure = flatten(value, (Tensor, np.ndarray, *_NUMBERS), results=True)
    return [one if isinstance(one, Tensor) else Tensor(one) for one in leaves], structure


def _iteration_count(slices: Sequence[Tensor], length: int | None) -> Dim:
    """The number of iterations of a scan."""
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 0):
        raise OptionError(f"scan: length must be a number of iterations, got {shown(length)}")
    if any(not x.type.shape for x in slices):
        raise ShapeError("scan: xs must have a first axis to iterate over, got a tensor without axes")
    found = {x.type.shape[0] for x in slices} | ({length} if length is not None else set())
    if not found:
        raise OptionError("scan: give xs, or length")
    if len(found) > 1:
        raise ShapeError(f"scan: all of xs must have the same length, got {', '.join(map(str, found))}")
    return found.pop()


def _condition(owner: str, pred: object) -> Tensor:
    """A condition as a tensor without axes."""
    tensor = pred if isinstance(pred, Tensor) else Tensor(np.asarray(pred))
    if tensor.type.dtype != bool_:
        raise DTypeError(f"{owner}: the condition must be a bool, got {tensor.type}; compare it, as in x.sum() > 0")
    if tensor.type.size != 1:
        raise ShapeError(f"{owner}: the condition must have one element, got {tensor.type}; take .any() or .all()")
    return tensor if tensor.type.shape == () else tensor.reshape(())


def check_function(owner: str, name: str, function: object) -> None:
    """Raise if an argument is not callable."""
    if not callable(function):
        raise OptionError(f"{owner}: {name} is a function, got {shown(function)}")


def check_operands(owner: str, operands: object) -> None:
    """Raise if the operands are not a tuple or list."""
    if not isinstance(operands, tuple | list):
        raise OptionError(f"{owner}: operands must be a tuple of the functions' arguments, got {shown(operands)}")
