"""Non-elementary functions: complement and inverse of the error function, and the logarithm of the gamma function.

The slope of that is the digamma function, whose derivatives are the polygamma functions.
"""

from __future__ import annotations

import math

from ...base import checks
from ...errors import OptionError
from ..opdef import Attrs, GradContext, Gradients, NoAttrs, T, apply, attributes
from ..types import TensorType
from .elementwise import check_kind, exp, unary
from .promotion import floating

LARGEST = 100
"""Derivatives of the digamma function up to which there are numbers."""


@attributes
class PolygammaAttrs(Attrs):
    """Which derivative of the digamma function; 0 is the function itself."""

    n: int = 0


def _polygamma_infer(attrs: PolygammaAttrs, x: TensorType) -> TensorType:
    if isinstance(attrs.n, bool) or not 0 <= attrs.n <= LARGEST + 1:  # one more is the slope of the last
        raise OptionError(f"Polygamma: n is from 0 to {LARGEST}, got {attrs.n}")
    check_kind("Polygamma", "f", x)
    return TensorType(x.shape, x.dtype)


def _erfc_gradient(c: GradContext) -> Gradients:
    x = c.inputs[0]
    return [c.dy * exp(-(x * x)) * (-2 / math.sqrt(math.pi))]


def _erfinv_gradient(c: GradContext) -> Gradients:
    y = c.outputs[0]
    return [c.dy * exp(y * y) * (math.sqrt(math.pi) / 2)]


def _polygamma_gradient(c: GradContext[PolygammaAttrs]) -> Gradients:
    return [c.dy * apply(POLYGAMMA, PolygammaAttrs(c.attrs.n + 1), c.inputs[0])]


ERFC = unary("Erfc", _erfc_gradient)
ERFINV = unary("Erfinv", _erfinv_gradient)
LGAMMA = unary("Lgamma", lambda c: [c.dy * digamma(c.inputs[0])])
POLYGAMMA = unary("Polygamma", _polygamma_gradient, attrs=PolygammaAttrs, infer=_polygamma_infer)


def erfc(x: T) -> T:
    """``1 - erf(x)``, with all digits where that is next to nothing."""
    y: T = apply(ERFC, NoAttrs(), floating(x))
    return y


def erfinv(x: T) -> T:
    """The number whose error function is ``x``: infinite at -1 and 1, and NaN beyond."""
    y: T = apply(ERFINV, NoAttrs(), floating(x))
    return y


def lgamma(x: T) -> T:
    """The logarithm of the size of the gamma function of ``x``: infinite at 0 and the negative integers."""
    y: T = apply(LGAMMA, NoAttrs(), floating(x))
    return y


def digamma(x: T) -> T:
    """The slope of :func:`lgamma`: infinite at 0, and NaN at the negative integers, on whose sides it is both."""
    return polygamma(x, 0)


def polygamma(x: T, n: int) -> T:
    """The ``n``-th derivative of :func:`digamma`, up to the hundredth."""
    y: T = apply(POLYGAMMA, PolygammaAttrs(checks.integer("polygamma", "n", n, 0, LARGEST)), floating(x))
    return y


def polygamma_at(n: int, x: T) -> T:
    """The ``n``-th derivative of :func:`digamma` at ``x``, up to the hundredth."""
    return polygamma(x, n)
