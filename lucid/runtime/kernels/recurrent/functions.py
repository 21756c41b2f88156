"""The activations of recurrent layers and their derivatives, as functions on arrays that programs call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from ....base.arrays import Array

Function: TypeAlias = "Callable[[Array, Array, float, float], None]"
"""``function(x, out, alpha, beta)``; ``out`` may be ``x``."""
Slope: TypeAlias = "Callable[[Array, Array, Array, float, float], None]"
"""``slope(x, y, out, alpha, beta)``, where ``y`` is the activation of ``x``; ``out`` must be another array."""


def _sigmoid(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(x, 0.5, out=out)
    np.tanh(out, out=out)
    np.multiply(out, 0.5, out=out)
    np.add(out, 0.5, out=out)


def _tanh(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.tanh(x, out=out)


def _relu(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.maximum(x, 0, out=out)


def _affine(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(x, alpha, out=out)
    np.add(out, beta, out=out)


def _leaky_relu(x: Array, out: Array, alpha: float, beta: float) -> None:
    below = np.minimum(x, 0)
    np.maximum(x, 0, out=out)
    np.multiply(below, alpha, out=below)
    np.add(out, below, out=out)


def _thresholded_relu(x: Array, out: Array, alpha: float, beta: float) -> None:
    small = x <= alpha
    np.copyto(out, x)
    np.copyto(out, 0, where=small)


def _scaled_tanh(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(x, beta, out=out)
    np.tanh(out, out=out)
    np.multiply(out, alpha, out=out)


def _hard_sigmoid(x: Array, out: Array, alpha: float, beta: float) -> None:
    _affine(x, out, alpha, beta)
    np.maximum(out, 0, out=out)
    np.minimum(out, 1, out=out)


def _elu(x: Array, out: Array, alpha: float, beta: float) -> None:
    below = np.minimum(x, 0)
    np.expm1(below, out=below)
    np.multiply(below, alpha, out=below)
    np.maximum(x, 0, out=out)
    np.add(out, below, out=out)


def _softsign(x: Array, out: Array, alpha: float, beta: float) -> None:
    size = np.absolute(x)
    np.add(size, 1, out=size)
    np.divide(x, size, out=out)


def _softplus(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.logaddexp(x, 0, out=out)


def _sigmoid_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.subtract(1, y, out=out)
    np.multiply(out, y, out=out)


def _tanh_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)


def _relu_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.greater(x, 0, out=out)


def _leaky_relu_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    out.fill(1)
    np.copyto(out, alpha, where=x <= 0)


def _thresholded_relu_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.greater(x, alpha, out=out)


def _affine_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    out.fill(alpha)


def _scaled_tanh_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(x, beta, out=out)
    np.tanh(out, out=out)
    np.multiply(out, out, out=out)
    np.subtract(1, out, out=out)
    np.multiply(out, alpha * beta, out=out)


def _hard_sigmoid_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    out.fill(alpha)
    np.copyto(out, 0, where=(y <= 0) | (y >= 1))


def _elu_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.add(y, alpha, out=out)
    np.copyto(out, 1, where=x > 0)


def _softsign_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    np.absolute(y, out=out)
    np.subtract(1, out, out=out)
    np.multiply(out, out, out=out)


def _softplus_slope(x: Array, y: Array, out: Array, alpha: float, beta: float) -> None:
    _sigmoid(x, out, alpha, beta)


FUNCTIONS: Mapping[str, Function] = {
    "Sigmoid": _sigmoid, "Tanh": _tanh, "Relu": _relu, "Affine": _affine, "LeakyRelu": _leaky_relu,
    "ThresholdedRelu": _thresholded_relu, "ScaledTanh": _scaled_tanh, "HardSigmoid": _hard_sigmoid, "Elu": _elu,
    "Softsign": _softsign, "Softplus": _softplus,
}  # fmt: skip

SLOPES: Mapping[str, Slope] = {
    "Sigmoid": _sigmoid_slope, "Tanh": _tanh_slope, "Relu": _relu_slope, "Affine": _affine_slope,
    "LeakyRelu": _leaky_relu_slope, "ThresholdedRelu": _thresholded_relu_slope,
    "ScaledTanh": _scaled_tanh_slope, "HardSigmoid": _hard_sigmoid_slope, "Elu": _elu_slope,
    "Softsign": _softsign_slope, "Softplus": _softplus_slope,
}  # fmt: skip


NUMBERS = {kind: (kind(0), kind(1), kind(255)) for kind in (np.float32, np.float64)}
"""For each type: 0, 1, and the number of steps between the least and the largest of the rounded numbers."""


def rounded(x: Array, out: Array) -> None:
    """Round ``x`` to multiples of a step: 255 of them span its range, extended to include 0.

    If the least and the largest number are both half a step from a whole one, both are rounded away from 0, which would
    take 256 steps; the largest is then limited.
    """
    if not x.size:
        return
    zero, one, steps = NUMBERS[x.dtype.type]
    flat = x.ravel()
    least, most = flat[flat.argmin()], flat[flat.argmax()]  # start in a third of the time of min() and max()
    least, most = zero if least > zero else least, zero if most < zero else most
    scale = (most - least) / steps or one
    np.divide(x, scale, out=out)
    np.rint(out, out=out)
    if 0.49 < float(most / scale) % 1.0 < 0.51:
        np.minimum(out, steps - np.rint(-least / scale), out=out)
    np.multiply(out, scale, out=out)
