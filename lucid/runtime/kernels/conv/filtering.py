"""Minimal filtering: weighted sums of neighbouring inputs, in fewer products than they have terms.

F(m, r), m sums of r neighbours each, takes m + r - 1 products of transformed inputs and transformed weights (Winograd,
"Arithmetic Complexity of Computations", 1980). The weights are taken as a polynomial, evaluated at m + r - 1 points,
the last of which is infinity; the sums are the transpose of interpolation at these points. Sums with a stride of s
inputs are s sums of every s-th input and every s-th weight, which takes s (m - 1) + r products.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

Matrix: TypeAlias = "list[list[Fraction]]"

POINTS = (*map(Fraction, (0, 1, -1, 2, -2)), Fraction(1, 2))
"""The points at which polynomials are evaluated, besides infinity."""
ALONG_ONE, ALONG_BOTH = 6, 5
"""The most points along one axis, or along each of both: with more, rounding is too coarse for single precision."""


class Filter(NamedTuple):
    """``m`` sums of ``taps`` neighbours each, with a ``stride`` of inputs from one sum to the next."""

    m: int
    taps: int
    stride: int

    @property
    def products(self) -> int:
        """The number of products, which is also the number of inputs read."""
        return self.stride * (self.m - 1) + self.taps

    @property
    def step(self) -> int:
        """The distance, in inputs, from one application of the filter to the next."""
        return self.stride * self.m

    def held(self, times: int) -> int:
        """The number of inputs read by ``times`` consecutive applications."""
        return self.step * (times - 1) + self.products

    @property
    def points(self) -> int:
        """The number of :data:`POINTS` used."""
        return self.m + -(-self.taps // self.stride) - 2


class Transforms(NamedTuple):
    """Matrices in double precision: sums = ``outputs`` @ ((``inputs`` @ x) * (``weights`` @ w))."""

    inputs: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    weights: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    outputs: np.ndarray[tuple[int, int], np.dtype[np.float64]]


@cache
def transforms(f: Filter) -> Transforms:
    """The three matrices, exact but for their last conversion to floating point."""
    n = f.products
    inputs, weights, outputs = np.zeros((n, n)), np.zeros((n, f.taps)), np.zeros((f.m, n))
    first = 0
    for phase in range(min(f.stride, f.taps)):
        taps = len(range(phase, f.taps, f.stride))
        rows = slice(first, first + f.m + taps - 1)
        x, w, y = _toom_cook(f.m, taps)
        inputs[rows, phase :: f.stride][:, : len(x)] = x
        weights[rows, phase :: f.stride] = w
        outputs[:, rows] = y
        first = rows.stop
    for matrix in (inputs, weights, outputs):
        matrix.flags.writeable = False
    return Transforms(inputs, weights, outputs)


def _toom_cook(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """The transforms of F(m, r)."""
    if r == 1:  # nothing can be saved
        one = [[Fraction(i == j) for j in range(m)] for i in range(m)]
        return one, [[Fraction(1)]] * m, one
    n, points = m + r - 1, POINTS[: m + r - 2]
    inputs = [_with_roots([q for q in points if q != p], n) for p in points] + [_with_roots(points, n)]
    weights = [[p**k / prod(p - q for q in points if q != p) for k in range(r)] for p in points]
    weights.append([Fraction(k == r - 1) for k in range(r)])
    outputs = [[*(p**i for p in points), Fraction(i == m - 1)] for i in range(m)]
    return inputs, weights, outputs


def _with_roots(roots: tuple[Fraction, ...] | list[Fraction], length: int) -> list[Fraction]:
    """The coefficients of the product of all (x - root), lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found + [Fraction(0)] * (length - len(found))
