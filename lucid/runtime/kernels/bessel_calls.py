"""Modified Bessel functions of the first kind, of orders 0 and 1, of one-dimensional float64 arrays."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ...base.arrays import Array

_FAR = 30.0
"""From here on the asymptotic series, of which the terms fall until they are below the last digit."""


def bessel_i(x: Array, order: int, scaled: int) -> Array:
    """The function, times ``exp(-|x|)`` if ``scaled``."""
    size = np.abs(x)
    near = np.minimum(size, _FAR)
    y = _polynomial(_rising(order), near * near / 4)
    y *= np.exp(-near)
    if order:
        y *= near / 2
    far = size > _FAR
    beyond = np.where(far, size, _FAR)
    np.copyto(y, _polynomial(_falling(order), 1 / beyond) / np.sqrt(2 * math.pi * beyond), where=far)
    y[np.isnan(x)] = np.nan
    if not scaled:
        half = np.exp(size / 2)  # twice, as the whole may be too large where the result is not
        y = np.where(np.isinf(size), np.inf, y * half * half)
    return np.copysign(y, x) if order else y


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    y = np.full(t.shape, coefficients[0])
    for c in coefficients[1:]:
        y *= t
        y += c
    return y


@lru_cache(maxsize=2)
def _rising(order: int) -> tuple[float, ...]:
    """The power series in ``(x / 2)²``, without the factor ``(x / 2)**order``, highest power first."""
    return tuple(1 / (math.factorial(k) * math.factorial(k + order)) for k in reversed(range(80)))


@lru_cache(maxsize=2)
def _falling(order: int) -> tuple[float, ...]:
    """The asymptotic series in ``1 / x`` of the scaled function times ``sqrt(2πx)``, highest power first."""
    terms = [1.0]
    for k in range(1, 31):
        terms.append(-terms[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return tuple(reversed(terms))
