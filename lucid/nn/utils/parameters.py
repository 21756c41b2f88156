"""Gradients that are clipped, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

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
    norm_type = number("clip_grad_norm_", "norm_type", norm_type, 0)
    flag("clip_grad_norm_", "error_if_nonfinite", error_if_nonfinite)
    if norm_type == 0:
        raise OptionError("clip_grad_norm_: norm_type must be positive, got 0")
    gradients = _gradients("clip_grad_norm_", parameters)
    with np.errstate(all="ignore"):  # gradients that have exploded are what it is for
        norms = [np.linalg.norm(g.numpy().ravel().astype(np.float64), norm_type) for g in gradients if g.numel()]
        total = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
        if error_if_nonfinite and not math.isfinite(total):
            raise GradientError(f"clip_grad_norm_: the norm of the gradients is {total}")
        scale = max_norm / (total + 1e-6)
        if not scale >= 1:
            for g in gradients:
                g.copy_((g.numpy() * scale).astype(g.dtype))
        return Tensor(np.float32(total))


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
