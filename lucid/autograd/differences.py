"""``gradcheck`` and ``gradgradcheck``: gradients compared with finite differences.

They are meant for a :class:`~lucid.autograd.Function`, whose ``backward`` is written by hand.
"""

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
"""A function whose gradients are checked."""


class Tolerances(NamedTuple):
    """The step of the differences, and the absolute and relative error that a gradient may have."""

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
    """Whether the gradients of a function agree with its central differences.

    Each element of the Jacobian is compared, so the tensors should be small. Where the function is not differentiable,
    as ``relu`` at 0, its differences say nothing about the gradient.

    Parameters
    ----------
    func
        A function of tensors that returns a tensor, or a list or tuple of tensors.
    inputs
        Its arguments. Gradients with respect to the tensors that require one are checked; these must be float64.
    eps
        The step of the differences, added to each element and subtracted from it.
    atol, rtol
        A gradient may deviate by ``atol + rtol * abs(difference)``.
    raise_exception
        Whether to raise an error if a gradient deviates further, rather than return False.

    Raises
    ------
    GradientError
        If a gradient is wrong, no input requires one, or one that does is not float64.
    OptionError
        If the function returns something else than tensors, or an option is out of range.
    """
    eps = number("gradcheck", "eps", eps, 1e-12)
    tolerances = Tolerances(eps, number("gradcheck", "atol", atol, 0.0), number("gradcheck", "rtol", rtol, 0.0))
    flag("gradcheck", "raise_exception", raise_exception)
    args, varied = _arguments("gradcheck", inputs)
    mismatch = next(_mismatches(func, args, varied, tolerances), None)
    if mismatch is not None and raise_exception:
        raise GradientError(f"gradcheck: {mismatch}")
    return mismatch is None


def gradgradcheck(
    func: Checked,
    inputs: Tensor | Sequence[object],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether second gradients agree with central differences of the first ones; see :func:`gradcheck`.

    Parameters
    ----------
    func, inputs, eps, atol, rtol, raise_exception
        As for :func:`gradcheck`.
    grad_outputs
        A cotangent for each output, with which the first gradients are computed; random if omitted.
    """
    args, varied = _arguments("gradgradcheck", inputs)
    outputs = _outputs(func, args)
    if grad_outputs is None:
        cotangents = [randn(*y.shape, dtype=float64) for y in outputs]
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    if len(cotangents) != len(outputs):
        raise OptionError(
            f"gradgradcheck: there are {len(outputs)} outputs with gradients, but {len(cotangents)} grad_outputs"
        )

    def gradients(*args_and_cotangents: object) -> list[Tensor]:
        moved, seeds = args_and_cotangents[: len(args)], args_and_cotangents[len(args) :]
        sources = [x for i, x in enumerate(moved) if i in varied and isinstance(x, Tensor)]
        found = grad(_outputs(func, moved), sources, list(seeds), create_graph=True, allow_unused=True)  # type: ignore[arg-type]
        return [gradient for gradient in found if gradient is not None]

    seeds = [cotangent.detach().requires_grad_() for cotangent in cotangents]
    return gradcheck(gradients, [*args, *seeds], eps, atol, rtol, raise_exception)


def _arguments(owner: str, inputs: object) -> tuple[list[object], dict[int, Tensor]]:
    """The arguments as a list, and those of them that require a gradient, by position."""
    args = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    varied = {i: x for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad}
    if not varied:
        raise GradientError(f"{owner}: no input requires a gradient; x.requires_grad_() of those to be checked")
    for i, x in varied.items():
        if x.dtype != float64:
            raise GradientError(f"{owner}: differences need float64, and input {i} is {x.type}; give x.double()")
    return args, varied


def _outputs(func: Checked, args: Sequence[object]) -> list[Tensor]:
    """The floating-point results of a function."""
    returned = func(*args)
    outputs = [returned] if isinstance(returned, Tensor) else returned
    if not isinstance(outputs, list | tuple) or not all(isinstance(y, Tensor) for y in outputs):
        raise OptionError(f"gradcheck: func must return a tensor or several, got {shown(returned)}")
    return [y for y in outputs if is_float(y.dtype)]


def _mismatches(
    func: Checked, args: Sequence[object], varied: Mapping[int, Tensor], tolerances: Tolerances
) -> Iterator[str]:
    """A description of the first wrong element of each Jacobian that has one."""
    outputs = _outputs(func, args)
    numerical = {i: _numerical_jacobians(func, args, i, tolerances.eps) for i, x in varied.items() if x.numel()}
    for result, y in enumerate(outputs):
        analytical = zip(varied.items(), _jacobians(y, list(varied.values())), strict=True)
        for (i, x), own in ((argument, jacobian) for argument, jacobian in analytical if argument[0] in numerical):
            expected = numerical[i][result]
            with np.errstate(invalid="ignore"):
                wrong = ~(np.abs(own - expected) <= tolerances.atol + tolerances.rtol * np.abs(expected))
            if wrong.any():
                row, column = (int(indices[0]) for indices in np.nonzero(wrong))
                at, by = (tuple(map(int, np.unravel_index(k, z.shape))) for k, z in ((row, y), (column, x)))
                yield (
                    f"the gradient of element {at} of result {result} by element {by} of input {i} is "
                    f"{own[row, column]:.8g}, and differences say {expected[row, column]:.8g}; {int(wrong.sum())} of "
                    f"{wrong.size} such gradients are off"
                )


def _jacobians(y: Tensor, sources: list[Tensor]) -> list[Array]:
    """The Jacobian of ``y`` with respect to each source, of shape ``(y.numel(), source.numel())``, by its gradients."""
    jacobians = [np.zeros((y.numel(), x.numel())) for x in sources]
    if not y.requires_grad:
        return jacobians
    for row in range(y.numel()):
        cotangent = np.zeros(y.numel())
        cotangent[row] = 1.0
        gradients = grad(y, sources, cotangent.reshape(y.shape).astype(y.dtype), allow_unused=True)
        for jacobian, gradient in zip(jacobians, gradients, strict=True):
            if gradient is not None:
                jacobian[row] = gradient.numpy().reshape(-1)
    return jacobians


def _numerical_jacobians(func: Checked, args: Sequence[object], position: int, eps: float) -> list[Array]:
    """The Jacobian of each result with respect to the argument at ``position``, by central differences."""
    start = np.asarray(args[position])
    columns: list[list[Array]] = []
    for k in range(start.size):
        sides = []
        for step in (eps, -eps):
            array = start.copy().reshape(-1)
            array[k] += step
            moved = [*args[:position], Tensor(array.reshape(start.shape), requires_grad=True), *args[position + 1 :]]
            sides.append([y.detach().numpy().astype(np.float64).reshape(-1) for y in _outputs(func, moved)])
        columns.append([(up - down) / (2 * eps) for up, down in zip(*sides, strict=True)])
    return [np.stack(parts, axis=1) for parts in zip(*columns, strict=True)]
