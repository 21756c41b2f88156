"""Normalisations that scale but do not centre: RMS norm, and local response norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...base.checks import integer
from ...errors import DTypeError, ShapeError
from ..dims import as_dim
from ..opdef import AbstractTensor
from ..types import float64, format_shape, is_float
from .pad import pad
from .reduce import mean
from .slices import piece


def rms_norm(
    x: AbstractTensor,
    normalized_shape: int | Sequence[object],
    weight: AbstractTensor | None = None,
    eps: float | None = None,
) -> AbstractTensor:
    """``x`` divided by the root of the mean of its squares over the last axes (Zhang and Sennrich, 2019).

    Parameters
    ----------
    x
        Floats.
    normalized_shape
        The sizes of these axes.
    weight
        Multiplies the result; of that shape.
    eps
        Added to the mean; when omitted the distance of 1 to the next number of the element type.
    """
    sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    shape = tuple(as_dim(size, "rms_norm") for size in sizes)
    if not is_float(x.type.dtype):
        raise DTypeError(f"rms_norm: needs a floating-point tensor, got {x.type}")
    if not shape or x.type.shape[-len(shape) :] != shape:
        raise ShapeError(f"rms_norm: the last axes of {x.type} are not {format_shape(shape)}")
    if weight is not None and weight.type.shape != shape:
        raise ShapeError(f"rms_norm: the weight must have shape {format_shape(shape)}, got {weight.type}")
    if eps is None:
        eps = float(np.finfo(np.float64 if x.type.dtype == float64 else np.float32).eps)
    y = by_root_mean_square(x, tuple(range(x.type.rank - len(shape), x.type.rank)), eps)
    return y if weight is None else y * weight


def by_root_mean_square(x: AbstractTensor, axes: tuple[int, ...], eps: float) -> AbstractTensor:
    """``x`` divided by the root of the mean of its squares over ``axes``."""
    return x / (mean(x * x, axes, keepdim=True) + eps) ** 0.5


def local_response_norm(
    x: AbstractTensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> AbstractTensor:
    """``x`` divided by ``(k + alpha * m) ** beta``, where ``m`` is the mean of the squares of ``size`` channels.

    The window is centred on the channel (axis 1), with zeros beyond the first and last (Krizhevsky et al., 2012).
    """
    count = integer("local_response_norm", "size", size)
    if x.type.rank < 3:
        raise ShapeError(f"local_response_norm: needs axes after the batch and channel axes, got {x.type}")
    return by_neighbours(x, count // 2, (count - 1) // 2, alpha, beta, k)


def by_neighbours(
    x: AbstractTensor, before: int, after: int, alpha: float, beta: float, k: float
) -> AbstractTensor:  # fmt: skip
    """``x`` divided by ``(k + alpha * m) ** beta``, for the mean square ``m`` of each channel and its neighbours.

    These are ``before`` channels before it and ``after`` channels after it, with zeros beyond the first and last.
    """
    squares = pad(x * x, [*[0, 0] * (x.type.rank - 2), before, after])
    total = piece(squares, 1, 0, x.type.shape[1])
    for start in range(1, before + after + 1):
        total = total + piece(squares, 1, start, x.type.shape[1])
    return x / (total * (alpha / (before + after + 1)) + k) ** beta
