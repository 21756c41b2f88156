"""Helpers for training loops."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..errors import GradientError, OptionError
from ..tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


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
    if not norm_type > 0 or not max_norm >= 0:
        raise OptionError(f"clip_grad_norm_: needs max_norm >= 0 and norm_type > 0, got {max_norm} and {norm_type}")
    gradients = _gradients(parameters)
    norms = [float(np.linalg.norm(g.numpy().ravel(), norm_type)) if g.numel() else 0.0 for g in gradients]
    total = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
    if error_if_nonfinite and not math.isfinite(total):
        raise GradientError(f"clip_grad_norm_: the norm of the gradients is {total}")
    scale = max_norm / (total + 1e-6)
    if not scale >= 1:
        for g in gradients:
            g.copy_(g.numpy() * scale)
    return Tensor(total)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold every element of the gradients between ``-clip_value`` and ``clip_value``."""
    if not clip_value >= 0:
        raise OptionError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    for g in _gradients(parameters):
        g.copy_(np.clip(g.numpy(), -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Copies of all parameters, one after another."""
    return Tensor(np.concatenate([p.numpy().ravel() for p in parameters]))


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put the parts of a vector into the parameters, in order."""
    listed, flat, start = list(parameters), np.asarray(vector), 0
    if flat.ndim != 1 or flat.size != sum(p.numel() for p in listed):
        raise OptionError(f"vector_to_parameters: {flat.shape} does not fit {sum(p.numel() for p in listed)} elements")
    for p in listed:
        p.copy_(flat[start : start + p.numel()].reshape(p.shape))
        start += p.numel()
