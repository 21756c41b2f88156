"""The exponential of matrices by scaling and squaring (Higham, 2005)."""

from __future__ import annotations

import math

import numpy as np

from ...base.arrays import Array

DEGREE = 13
"""The degree of both polynomials whose quotient approximates the exponential."""
FACTORS = [
    math.factorial(2 * DEGREE - k)
    * math.factorial(DEGREE)
    / (math.factorial(2 * DEGREE) * math.factorial(k) * math.factorial(DEGREE - k))
    for k in range(DEGREE + 1)
]
"""Their coefficients."""
LARGEST_NORM = 5.371920351148152
"""The norm of a matrix up to which the approximation is accurate to float64."""


def exponential(x: Array) -> Array:
    """The exponential of each matrix; NaN if a matrix is not finite."""
    norms = np.abs(x).sum(-2, dtype=np.float64).max(-1, initial=0.0)
    finite = np.isfinite(norms)
    halved = np.ceil(np.log2(np.maximum(np.where(finite, norms, 0.0) / LARGEST_NORM, 1.0))).astype(int)
    scaled = x.astype(np.float64) * np.exp2(-halved)[..., None, None]
    found = _near(np.where(finite[..., None, None], scaled, 0.0))
    for number in range(int(halved.max(initial=0))):
        found = np.where((halved > number)[..., None, None], found @ found, found)
    return np.where(finite[..., None, None], found, np.nan)


def _near(x: Array) -> Array:
    """The exponential of matrices of small norm: the quotient of even powers plus and minus odd powers."""
    one, square = np.eye(x.shape[-1]), x @ x
    even, odd = FACTORS[-2] * one, FACTORS[-1] * one
    for k in range(DEGREE - 3, -1, -2):
        even, odd = even @ square + FACTORS[k] * one, odd @ square + FACTORS[k + 1] * one
    odd = x @ odd
    return np.linalg.solve(even - odd, even + odd)
