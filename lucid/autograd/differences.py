"""Checking gradients against differences of the function: for a ``Function`` whose ``backward`` is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.checks import flag, number, shown
from ..errors import GradientError, OptionError
from ..graph.types import float64, is_float
from ..tensor.creation import randn
from ..tensor.tensor import Tensor
from .gradients import grad

Checked: TypeAlias = "Callable[..., Tensor | Sequence[Tensor]]"


class Bounds(NamedTuple):
    """How far each element is moved, and how far a gradient may be off."""

    eps: float
    atol: float
    rtol: float


def gradcheck(
    func: Checked,
    inputs: Tensor | Sequence[object],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of a function are what central differences of it say.

    Each element of the Jacobian matrix is compared, so the tensors should be small. At kinks, such as that of ``relu``
    at 0, differences are no derivatives.

    Parameters
    ----------
    func
        A function of tensors that returns a tensor or several.
    inputs
        Its arguments. Those tensors that require a gradient are varied; they must be float64.
    eps
        By how much each element is moved, up and down.
    atol, rtol
        A gradient may be off by ``atol + rtol * abs(difference)``.
    raise_exception
        Whether to raise an error where they do not agree, rather than return False.

    Raises
    ------
    GradientError
        If a gradient is wrong, no input requires one, or one that does is not float64.
    """
    eps = number("gradcheck", "eps", eps, 1e-12)
    bounds = Bounds(eps, number("gradcheck", "atol", atol, 0.0), number("gradcheck", "rtol", rtol, 0.0))
    flag("gradcheck", "raise_exception", raise_exception)
    fault = next(_faults(func, *_arguments("gradcheck", inputs), bounds), None)
    if fault is not None and raise_exception:
        raise GradientError(f"gradcheck: {fault}")
    return fault is None


def gradgradcheck(
    func: Checked,
    inputs: Tensor | Sequence[object],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether second gradients are what central differences of the first say; see :func:`gradcheck`.

    Parameters
    ----------
    func, inputs, eps, atol, rtol, raise_exception
        As for :func:`gradcheck`.
    grad_outputs
        The weights of the outputs in the first gradient; drawn at random if omitted.
    """
    given, varied = _arguments("gradgradcheck", inputs)
    ends = _results(func, given)
    if grad_outputs is None:
        weights = [randn(*y.shape, dtype=float64) for y in ends]
    else:
        weights = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    if len(weights) != len(ends):
        raise OptionError(
            f"gradgradcheck: there are {len(ends)} outputs with gradients, but {len(weights)} grad_outputs"
        )

    def first(*args: object) -> list[Tensor]:
        arguments, seeds = args[: len(given)], args[len(given) :]
        sources = [x for i, x in enumerate(arguments) if i in varied and isinstance(x, Tensor)]
        found = grad(_results(func, arguments), sources, list(seeds), create_graph=True, allow_unused=True)  # type: ignore[arg-type]
        return [gradient for gradient in found if gradient is not None]

    seeds = [weight.detach().requires_grad_() for weight in weights]
    return gradcheck(first, [*given, *seeds], eps, atol, rtol, raise_exception)


def _arguments(owner: str, inputs: object) -> tuple[list[object], dict[int, Tensor]]:
    """The arguments of a function, and those that are varied, by their places."""
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    varied = {i: x for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad}
    if not varied:
        raise GradientError(f"{owner}: no input requires a gradient; x.requires_grad_() of those to be checked")
    for i, x in varied.items():
        if x.dtype != float64:
            raise GradientError(f"{owner}: differences need float64, and input {i} is {x.type}; give x.double()")
    return given, varied


def _results(func: Checked, args: Sequence[object]) -> list[Tensor]:
    """The results of a function that have gradients."""
    made = func(*args)
    listed = [made] if isinstance(made, Tensor) else made
    if not isinstance(listed, list | tuple) or not all(isinstance(y, Tensor) for y in listed):
        raise OptionError(f"gradcheck: func must return a tensor or several, got {shown(made)}")
    return [y for y in listed if is_float(y.dtype)]


def _faults(func: Checked, given: Sequence[object], varied: Mapping[int, Tensor], bounds: Bounds) -> Iterator[str]:
    """Where gradients are other than differences."""
    ends = _results(func, given)
    moved = {i: _differences(func, given, i, bounds.eps) for i, x in varied.items() if x.numel()}
    for result, y in enumerate(ends):
        jacobians = zip(varied.items(), _jacobians(y, list(varied.values())), strict=True)
        for (i, x), own in ((key, matrix) for key, matrix in jacobians if key[0] in moved):
            other = moved[i][result]
            with np.errstate(invalid="ignore"):
                off = ~(np.abs(own - other) <= bounds.atol + bounds.rtol * np.abs(other))
            if off.any():
                row, column = (int(place[0]) for place in np.nonzero(off))
                at, by = (tuple(map(int, np.unravel_index(k, z.shape))) for k, z in ((row, y), (column, x)))
                yield (
                    f"the gradient of element {at} of result {result} by element {by} of input {i} is "
                    f"{own[row, column]:.8g}, and differences say {other[row, column]:.8g}; {int(off.sum())} of "
                    f"{off.size} such gradients are off"
                )


def _jacobians(y: Tensor, sources: list[Tensor]) -> list[Array]:
    """The gradients of each element of ``y`` (rows) by each of the sources (columns)."""
    made = [np.zeros((y.numel(), x.numel())) for x in sources]
    if not y.requires_grad:
        return made
    for row in range(y.numel()):
        seed = np.zeros(y.numel())
        seed[row] = 1.0
        found = grad(y, sources, seed.reshape(y.shape).astype(y.dtype), allow_unused=True)
        for matrix, gradient in zip(made, found, strict=True):
            if gradient is not None:
                matrix[row] = gradient.numpy().reshape(-1)
    return made


def _differences(func: Checked, given: Sequence[object], place: int, eps: float) -> list[Array]:
    """Central differences of each result (rows) by the elements of one argument (columns)."""
    start = np.asarray(given[place])
    columns: list[list[Array]] = []
    for k in range(start.size):
        sides = []
        for step in (eps, -eps):
            array = start.copy().reshape(-1)
            array[k] += step
            args = [*given[:place], Tensor(array.reshape(start.shape), requires_grad=True), *given[place + 1 :]]
            sides.append([y.detach().numpy().astype(np.float64).reshape(-1) for y in _results(func, args)])
        columns.append([(up - down) / (2 * eps) for up, down in zip(*sides, strict=True)])
    return [np.stack(parts, axis=1) for parts in zip(*columns, strict=True)]
