"""Functions of the error function, and the gamma function's logarithm with its derivatives.

Each takes a one-dimensional float64 array, and uses approximations that are accurate except for the last one or two
digits. Other types are converted to float64 block by block, so that data stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ...base.arrays import Array
from .erf_calls import INNER, INNER_LIMIT, OUTER

BLOCK = 8192
"""Elements worked on at a time."""

_FAR = 4.0
# Cody's third ratio: 1/√π less x exp(x²) erfc(x), times x², by 1/x²; from _FAR on
_BEYOND = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip

# M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Appl. Stat. 37 (1988): near the
# middle, and by the root of minus the logarithm of what is left in the tail; highest power first
_MIDDLE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_END = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
"""The Bernoulli numbers of even index from 2 on."""
_LARGE = 10.0
"""From here on, the asymptotic series give all digits."""


def by_blocks(function: Callable[..., Array], x: Array, y: Array, *numbers: int) -> None:
    """Write ``function(x, *numbers)``, computed in float64, to ``y``, for arrays of any layout."""
    with np.nditer(
        [x, y], ["external_loop", "buffered", "zerosize_ok"], [["readonly"], ["writeonly"]],
        op_dtypes=[np.float64, np.float64], casting="same_kind", buffersize=BLOCK,
    ) as blocks:  # fmt: skip
        for part, out in blocks:
            out[...] = function(part, *numbers)


def erfc(x: Array) -> Array:
    """``1 - erf(x)``, with all digits where that is small."""
    size = np.minimum(np.abs(x), 30.0)  # where the result is 0
    y = _scaled_erfc(size)
    steps = np.trunc(size * 16) / 16  # whose square is exact
    y *= np.exp(-steps * steps) * np.exp((steps - size) * (steps + size))
    near = np.abs(x) <= INNER_LIMIT
    inner = np.where(near, x, 0.0)
    return np.where(near, 1 - inner * _ratio(*INNER, inner * inner), np.where(x < 0, 2 - y, y))


def erfcx(x: Array) -> Array:
    """``exp(x²) * erfc(x)``."""
    size = np.abs(x)
    y = _scaled_erfc(size)
    below = np.minimum(np.where(x < 0, size, 0.0), 30.0)  # where the result is infinite
    steps = np.trunc(below * 16) / 16  # whose square is exact
    grown = np.exp(steps * steps) * np.exp((below - steps) * (below + steps))
    near = size <= INNER_LIMIT
    inner = np.where(near, x, 0.0)
    by = np.exp(inner * inner) * (1 - inner * _ratio(*INNER, inner * inner))
    return np.where(near, by, np.where(x < 0, 2 * grown - y, y))


def _scaled_erfc(size: Array) -> Array:
    """``exp(x²) * erfc(x)`` of numbers from :data:`INNER_LIMIT` on."""
    y = _ratio(*OUTER, np.minimum(size, _FAR))
    far = size > _FAR
    beyond = np.where(far, size, _FAR)
    below = 1 / beyond / beyond
    np.copyto(y, (1 / math.sqrt(math.pi) - below * _ratio(*_BEYOND, below)) / beyond, where=far)
    y[np.isnan(size)] = np.nan
    return y


def ndtri(x: Array) -> Array:
    """The number below which the share ``x`` of the standard normal distribution lies."""
    half = x - 0.5
    y = half * _ratio(*_MIDDLE, 0.180625 - half * half)
    tail = ~(np.abs(half) <= 0.425)
    if tail.any():
        left = np.sqrt(-np.log(np.minimum(x[tail], 1 - x[tail])))
        y[tail] = np.copysign(_quantile_of_tail(left), half[tail])
    return y


def _quantile_of_tail(left: Array) -> Array:
    """By the root of minus the logarithm of what is left in the tail."""
    far = np.where(left <= 5, _ratio(*_TAIL, left - 1.6), _ratio(*_END, left - 5))
    far[np.isinf(left)] = np.inf
    return far


def erfinv(x: Array) -> Array:
    """The number whose error function is ``x``."""
    half = 0.5 * x
    y = half * _ratio(*_MIDDLE, 0.180625 - half * half)
    tail = np.abs(half) > 0.425
    if tail.any():
        left = np.sqrt(-np.log(0.5 * (1 - np.abs(x[tail]))))
        y[tail] = np.copysign(_quantile_of_tail(left), x[tail])
    y *= math.sqrt(0.5)
    return y


def lgamma(x: Array) -> Array:
    """The logarithm of the gamma function's magnitude; infinite at its poles, which are 0 and the negative integers."""
    mirrored = x < -0.5
    size = np.where(mirrored, 1 - x, x)
    y = _stirling(size)
    small = size < _LARGE
    if small.any():
        y[small] = _small_lgamma(size[small])
    if mirrored.any():
        y[mirrored] = math.log(math.pi) - np.log(np.abs(_sine(x[mirrored]))) - y[mirrored]
        y[mirrored & (x == np.floor(x))] = np.inf
    return y


def polygamma(x: Array, n: int) -> Array:
    """The ``n``-th derivative of the digamma function, which is the derivative of ``lgamma``.

    At the poles, digamma is NaN (at 0 infinite, with the sign of the zero), and its derivatives are infinite, as in
    PyTorch.
    """
    mirrored = x < 0
    y = _upper(n, np.where(mirrored, 1 - x, x) + 0.0)  # no -0.0
    if mirrored.any():
        turned = x[mirrored]
        slope = np.cos(math.pi * _apart(turned)) / _sine(turned)
        y[mirrored] = (-1) ** n * y[mirrored] - math.pi ** (n + 1) * _polynomial(_cotangent(n), slope)
        y[mirrored & (x == np.floor(x)) & np.isfinite(x)] = (-1) ** (n + 1) * np.inf if n else np.nan
    if not n:
        np.copyto(y, -np.copysign(np.inf, x), where=x == 0)
    return y


def _ratio(top: tuple[float, ...], bottom: tuple[float, ...], t: Array) -> Array:
    return _polynomial(top, t) / _polynomial(bottom, t)


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    y = np.full(t.shape, coefficients[0])
    for c in coefficients[1:]:
        y *= t
        y += c
    return y


def _apart(x: Array) -> Array:
    """The distance to the next integer, with its sign."""
    return x - np.round(x)


def _sine(x: Array) -> Array:
    """``sin(πx)``, up to sign."""
    return np.sin(math.pi * _apart(x))


def _stirling(x: Array) -> Array:
    """``lgamma`` of numbers from :data:`_LARGE` on (Stirling's series)."""
    terms = [b / ((2 * k) * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)]
    more = _polynomial(tuple(terms[::-1]), 1 / (x * x)) / x
    y: Array = (x - 0.5) * (np.log(x) - 1) + (0.5 * math.log(2 * math.pi) - 0.5 + more)
    return y


@lru_cache(maxsize=1)
def _about_two() -> tuple[float, ...]:
    """The power series of ``lgamma(2 + z) / z``, highest first: 1 minus Euler's constant, and ±(ζ(k) - 1) / k."""
    euler = 0.57721566490153286061
    zeta = [math.fsum(i**-k for i in range(2, 200)) + _rest(k, 200.0) for k in range(2, 30)]
    return (*[(-1) ** k * z / k for k, z in enumerate(zeta, 2)][::-1], 1 - euler)


def _rest(k: int, n: float) -> float:
    """The sum of ``i**-k`` for i from n on (Euler-Maclaurin formula)."""
    return n ** (1 - k) / (k - 1) + n**-k / 2 + k * n ** (-k - 1) / 12 - k * (k + 1) * (k + 2) * n ** (-k - 3) / 720


def _small_lgamma(x: Array) -> Array:
    """``lgamma`` of numbers from -0.5 to 10: by the power series at 2, and above 2.5 by Stirling's series."""
    low = np.where(x < 0.5, x, np.where(x < 1.5, x - 1, np.where(x < 2.5, x - 2, 0.0)))
    y = low * _polynomial(_about_two(), low)
    y -= np.where(x < 1.5, np.log1p(low), 0.0)
    y -= np.where(x < 0.5, np.log(np.abs(np.where(x < 0.5, x, 1.0))), 0.0)
    high = x >= 2.5
    if high.any():
        product, at = x[high], x[high]
        for _ in range(7):
            at = at + 1
            product = product * at
        y[high] = _stirling(at + 1) - np.log(product)
    return y


def _upper(n: int, x: Array) -> Array:
    """``polygamma`` of numbers that are not negative; infinite at 0.

    It is ``n! (-1)**(n+1)`` times the sum of ``(x + k)**-(n + 1)`` over all k: the first terms are added up, the rest
    is an asymptotic series.
    """
    y, at = np.zeros(x.shape), x
    for _ in range(int(_LARGE) + n):
        small = at < _LARGE + n
        y += np.where(small, np.where(small, at, 1.0) ** -(n + 1), 0.0)
        at = np.where(small, at + 1, at)
    inverse = 1 / at
    square = inverse * inverse
    rises = [b * math.prod(range(n + 1, n + 2 * k)) / math.factorial(2 * k) for k, b in enumerate(_BERNOULLI, 1)]
    whole = inverse**n / n if n else -np.log(at)
    y += whole + inverse**n * (0.5 * inverse + square * _polynomial(tuple(rises[::-1]), square))
    y *= (-1) ** (n + 1) * float(math.factorial(n))
    return y


@lru_cache
def _cotangent(n: int) -> tuple[float, ...]:
    """The ``n``-th derivative of the cotangent as a polynomial in the cotangent, highest power first."""
    found = np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(n):
        found = -found.deriv() * np.polynomial.Polynomial([1.0, 0.0, 1.0])
    return tuple(found.coef[::-1])
