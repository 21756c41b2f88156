"""Gradients that are clipped, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ...base.checks import flag, number
from ...errors import GradientError, OptionError
from ...tensor.tensor import Tensor


def _listed(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    if not isinstance(parameters, Iterable):
        raise OptionError(f"{name}: takes a parameter or an iterable of them, got {type(parameters).__name__}")
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in listed:
        if not isinstance(p, Tensor):
            raise OptionError(f"{name}: takes a parameter or an iterable of them, got a {type(p).__name__} among them")
    return listed


def _gradients(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in _listed(name, parameters) if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of all elements of several tensors, as of one vector.

    Parameters
    ----------
    tensors
        Such as the gradients of parameters.
    norm_type
        Exponent of the norm; inf is the largest absolute value.
    error_if_nonfinite
        Raise where the norm is not finite.

    Returns
    -------
    The norm, a scalar of the tensors' type.
    """
    listed = _listed("get_total_norm", tensors)
    return _as_scalar(_total_norm("get_total_norm", listed, norm_type, error_if_nonfinite), listed)


def _as_scalar(total: float, tensors: Sequence[Tensor]) -> Tensor:
    """A norm as a scalar tensor, in the element type of the tensors that it is the norm of."""
    with np.errstate(over="ignore"):
        return Tensor(np.asarray(total, np.result_type(np.float32, *(x.dtype for x in tensors))))


def _total_norm(owner: str, tensors: Sequence[Tensor], norm_type: float, error_if_nonfinite: bool) -> float:
    norm_type = number(owner, "norm_type", norm_type, 0)
    flag(owner, "error_if_nonfinite", error_if_nonfinite)
    if norm_type == 0:
        raise OptionError(f"{owner}: norm_type must be positive, got 0")
    with np.errstate(all="ignore"):  # gradients that have exploded are what it is for
        norms = [np.linalg.norm(x.numpy().ravel().astype(np.float64), norm_type) for x in tensors if x.numel()]
        total = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
        if error_if_nonfinite and not math.isfinite(total):
            raise GradientError(f"{owner}: the norm of the gradients is {total}")
        return total


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients together so that their norm is at most ``max_norm``.

    Parameters
    ----------
    parameters
        Whose gradients are scaled.
    max_norm
        Largest norm.
    norm_type
        Exponent of the norm; inf is the largest absolute value.
    error_if_nonfinite
        Raise, before anything is changed, where the norm is not finite.

    Returns
    -------
    The norm before, a scalar.
    """
    max_norm = number("clip_grad_norm_", "max_norm", max_norm, 0)
    gradients = _gradients("clip_grad_norm_", parameters)
    total = _total_norm("clip_grad_norm_", gradients, norm_type, error_if_nonfinite)
    _scale(gradients, max_norm, total)
    return _as_scalar(total, gradients)


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor | float) -> None:
    """Scale all gradients together, where their norm is known.

    Parameters
    ----------
    parameters
        Whose gradients are scaled.
    max_norm
        Largest norm.
    total_norm
        The norm that they have, as :func:`get_total_norm` gives it.
    """
    max_norm = number("clip_grads_with_norm_", "max_norm", max_norm, 0)
    total = number("clip_grads_with_norm_", "total_norm", total_norm, 0, nan=True)
    _scale(_gradients("clip_grads_with_norm_", parameters), max_norm, total)


def _scale(gradients: Sequence[Tensor], most: float, total: float) -> None:
    """Bring gradients of this norm to a norm of at most ``most``."""
    scale = most / (total + 1e-6)
    if not scale >= 1:
        with np.errstate(all="ignore"):
            for g in gradients:
                g.copy_((g.numpy() * scale).astype(g.dtype))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every element of the gradients to between ``-clip_value`` and ``clip_value``."""
    clip_value = number("clip_grad_value_", "clip_value", clip_value, 0)
    for g in _gradients("clip_grad_value_", parameters):
        g.copy_(np.clip(g.numpy(), -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Copies of all parameters, one after another."""
    listed = _listed("parameters_to_vector", parameters)
    if not listed:
        raise OptionError("parameters_to_vector: there are no parameters")
    return Tensor(np.concatenate([p.numpy().ravel() for p in listed]))


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put the parts of a vector into the parameters, in order."""
    listed, start = _listed("vector_to_parameters", parameters), 0
    flat = (vector if isinstance(vector, Tensor) else Tensor(vector)).numpy()
    if flat.ndim != 1 or flat.size != sum(p.numel() for p in listed):
        raise OptionError(f"vector_to_parameters: {flat.shape} does not fit {sum(p.numel() for p in listed)} elements")
    for p in listed:
        p.copy_(flat[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
