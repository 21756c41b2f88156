"""Functions of the error function, of the gamma function, and Bessel functions, one by one."""

from __future__ import annotations

import math

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.nonelementary import (
    BESSEL_I,
    ERFC,
    ERFCX,
    ERFINV,
    LGAMMA,
    NDTRI,
    POLYGAMMA,
    BesselAttrs,
    PolygammaAttrs,
)
from .evaluator import reference


@reference(ERFC)
def erfc(attrs: Attrs, x: Array) -> Array:
    return np.array([math.erfc(one) for one in x.ravel().tolist()]).reshape(x.shape)


@reference(ERFINV)
def erfinv(attrs: Attrs, x: Array) -> Array:
    return np.array([_erfinv(one) for one in x.ravel().tolist()]).reshape(x.shape)


@reference(ERFCX)
def erfcx(attrs: Attrs, x: Array) -> Array:
    return np.array([_erfcx(one) for one in x.ravel().tolist()]).reshape(x.shape)


@reference(NDTRI)
def ndtri(attrs: Attrs, x: Array) -> Array:
    return np.array([_ndtri(one) for one in x.ravel().tolist()]).reshape(x.shape)


@reference(BESSEL_I)
def bessel_i(attrs: BesselAttrs, x: Array) -> Array:
    found = [_bessel_i(attrs.order, one, attrs.scaled) for one in x.ravel().tolist()]
    return np.array(found).reshape(x.shape)


@reference(LGAMMA)
def lgamma(attrs: Attrs, x: Array) -> Array:
    return np.array([_lgamma(one) for one in x.ravel().tolist()]).reshape(x.shape)


@reference(POLYGAMMA)
def polygamma(attrs: PolygammaAttrs, x: Array) -> Array:
    return np.array([_polygamma(attrs.n, one) for one in x.ravel().astype(np.float64)]).reshape(x.shape)


def _erfinv(x: float) -> float:
    """By bisection between 0 and a number where the error function is 1."""
    if not abs(x) < 1:
        return math.copysign(math.inf, x) if abs(x) == 1 else math.nan
    if abs(x) < 1e-8:
        return x * math.sqrt(math.pi) / 2
    low, high = 0.0, 6.0
    while low < (middle := (low + high) / 2) < high:
        below = math.erf(middle) < abs(x) if abs(x) < 0.5 else math.erfc(middle) > 1 - abs(x)
        low, high = (middle, high) if below else (low, middle)
    return math.copysign(low, x)


def _erfcx(x: float) -> float:
    """From 10 on by a continued fraction."""
    if x > 10:
        below = x
        for k in range(60, 0, -1):
            below = x + k / 2 / below
        return 1 / (below * math.sqrt(math.pi))
    return math.inf if x < -26.6 else math.exp(x * x) * math.erfc(x)


def _ndtri(p: float) -> float:
    """By bisection of the share below."""
    if not 0 < p < 1:
        return math.copysign(math.inf, p - 0.5) if p in (0, 1) else math.nan
    upper = p > 0.5
    share, low, high = (1 - p if upper else p), -40.0, 0.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if math.erfc(-middle * math.sqrt(0.5)) / 2 < share else (low, middle)
    return -low if upper else low


def _bessel_i(order: int, x: float, scaled: bool) -> float:
    """The mean over half a turn of ``exp(x cos t) cos(order t)``, which equal steps give to all digits."""
    size = abs(x)
    if not math.isfinite(x):
        end = math.nan if math.isnan(x) else 0.0 if scaled else math.inf
        return math.copysign(end, x) if order else end
    steps = 40 + int(8 * math.sqrt(min(size, 1e12)))
    angles = [math.pi * (k + 0.5) / steps for k in range(steps)]
    lost = [-2 * size * math.sin(t / 2) ** 2 for t in angles]
    mean = math.fsum(math.exp(by) * math.cos(order * t) for by, t in zip(lost, angles, strict=True)) / steps
    y = mean if scaled else math.inf if size > 710 else mean * math.exp(size)
    return math.copysign(abs(y), x) if order else y


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # at a pole, or where it overflows
        return math.inf


def _polygamma(n: int, x: float) -> float:
    """Below 0 by reflection: ``p(x) - (-1)**n p(1 - x)`` has period 1, so it is computed from the fraction of ``x``."""
    if not math.isfinite(x):
        return (0.0 if n else math.inf) if x > 0 else math.nan
    if x <= 0 and x == math.floor(x):
        return (-1) ** (n + 1) * math.inf if n else math.nan if x else -math.copysign(math.inf, x)
    if x > 0:
        return _sum(n, x)
    apart = x - math.floor(x)
    return float((-1) ** n * (_sum(n, 1 - x) - _sum(n, 1 - apart)) + _sum(n, apart))


def _sum(n: int, x: float) -> float:
    """The sum of ``(x + k)**-(n + 1)`` over all k, with its factor; the tail is an integral with corrections."""
    power, count = n + 1, max(0, math.ceil(30 + n - x))
    at, near = x + count, math.fsum((x + k) ** -power for k in range(count))
    rest = at**-power / 2 + power * at ** -(n + 2) / 12
    rest -= math.prod(range(power, power + 3)) * at ** -(n + 4) / 720
    rest += math.prod(range(power, power + 5)) * at ** -(n + 6) / 30240
    whole = at**-n / n if n else -math.log(at)
    return float((-1) ** power * math.factorial(n) * (near + whole + rest))
