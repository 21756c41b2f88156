"""Non-elementary functions: of the error function, of the gamma function, and modified Bessel functions.

Of the error function there are the complement (also scaled), the inverse, and the normal distribution's quantiles. The
slope of the gamma function's logarithm is the digamma function, whose derivatives are the polygamma functions.
"""

from __future__ import annotations

import math

from ...base import checks
from ...errors import OptionError
from ..opdef import Attrs, GradContext, Gradients, NoAttrs, T, apply, attributes
from ..types import TensorType
from .elementwise import check_kind, exp, sign, unary, where
from .promotion import floating

LARGEST = 100
"""Derivatives of the digamma function up to which there are numbers."""


@attributes
class PolygammaAttrs(Attrs):
    """Which derivative of the digamma function; 0 is the function itself."""

    n: int = 0


@attributes
class BesselAttrs(Attrs):
    """The order, 0 or 1, and whether the function is multiplied by ``exp(-|x|)``, with which it does not overflow."""

    order: int = 0
    scaled: bool = False


def _bessel_infer(attrs: BesselAttrs, x: TensorType) -> TensorType:
    if isinstance(attrs.order, bool) or attrs.order not in (0, 1):
        raise OptionError(f"BesselI: the order is 0 or 1, got {attrs.order}")
    check_kind("BesselI", "f", x)
    return TensorType(x.shape, x.dtype)


def _polygamma_infer(attrs: PolygammaAttrs, x: TensorType) -> TensorType:
    if isinstance(attrs.n, bool) or not 0 <= attrs.n <= LARGEST + 1:  # one more is the slope of the last
        raise OptionError(f"Polygamma: n is from 0 to {LARGEST}, got {attrs.n}")
    check_kind("Polygamma", "f", x)
    return TensorType(x.shape, x.dtype)


def _erfc_gradient(c: GradContext) -> Gradients:
    x = c.inputs[0]
    return [c.dy * exp(-(x * x)) * (-2 / math.sqrt(math.pi))]


def _erfcx_gradient(c: GradContext) -> Gradients:
    return [c.dy * (2 * c.inputs[0] * c.outputs[0] - 2 / math.sqrt(math.pi))]


def _ndtri_gradient(c: GradContext) -> Gradients:
    y = c.outputs[0]
    return [c.dy * exp(0.5 * y * y) * math.sqrt(2 * math.pi)]


def _bessel_gradient(c: GradContext[BesselAttrs]) -> Gradients:
    """``I0' = I1`` and ``I1' = I0 - I1 / x``, which is 1/2 at 0; those that are scaled fall by themselves besides."""
    (x,), y, a = c.inputs, c.outputs[0], c.attrs
    other = apply(BESSEL_I, BesselAttrs(1 - a.order, a.scaled), x)
    slope = where(x == 0, 0.5, other - y / where(x == 0, 1.0, x)) if a.order else other
    return [c.dy * (slope - y * sign(x) if a.scaled else slope)]


def _erfinv_gradient(c: GradContext) -> Gradients:
    y = c.outputs[0]
    return [c.dy * exp(y * y) * (math.sqrt(math.pi) / 2)]


def _polygamma_gradient(c: GradContext[PolygammaAttrs]) -> Gradients:
    return [c.dy * apply(POLYGAMMA, PolygammaAttrs(c.attrs.n + 1), c.inputs[0])]


ERFC = unary("Erfc", _erfc_gradient)
ERFCX = unary("Erfcx", _erfcx_gradient)
ERFINV = unary("Erfinv", _erfinv_gradient)
NDTRI = unary("Ndtri", _ndtri_gradient)
BESSEL_I = unary("BesselI", _bessel_gradient, attrs=BesselAttrs, infer=_bessel_infer)
LGAMMA = unary("Lgamma", lambda c: [c.dy * digamma(c.inputs[0])])
POLYGAMMA = unary("Polygamma", _polygamma_gradient, attrs=PolygammaAttrs, infer=_polygamma_infer)


def erfc(x: T) -> T:
    """``1 - erf(x)``, accurate also where ``erf(x)`` is close to 1."""
    y: T = apply(ERFC, NoAttrs(), floating(x))
    return y


def erfcx(x: T) -> T:
    """``exp(x²) * erfc(x)``, accurate also where ``erfc(x)`` underflows."""
    y: T = apply(ERFCX, NoAttrs(), floating(x))
    return y


def ndtri(x: T) -> T:
    """The quantile function of the standard normal distribution, the inverse of ``ndtr``; NaN outside 0 to 1."""
    y: T = apply(NDTRI, NoAttrs(), floating(x))
    return y


def i0(x: T) -> T:
    """The modified Bessel function of the first kind, of order 0."""
    y: T = apply(BESSEL_I, BesselAttrs(0), floating(x))
    return y


def i0e(x: T) -> T:
    """``exp(-|x|) * i0(x)``, which does not overflow."""
    y: T = apply(BESSEL_I, BesselAttrs(0, scaled=True), floating(x))
    return y


def i1(x: T) -> T:
    """The modified Bessel function of the first kind, of order 1."""
    y: T = apply(BESSEL_I, BesselAttrs(1), floating(x))
    return y


def i1e(x: T) -> T:
    """``exp(-|x|) * i1(x)``, which does not overflow."""
    y: T = apply(BESSEL_I, BesselAttrs(1, scaled=True), floating(x))
    return y


def erfinv(x: T) -> T:
    """The inverse of the error function: infinite at -1 and 1, and NaN beyond."""
    y: T = apply(ERFINV, NoAttrs(), floating(x))
    return y


def lgamma(x: T) -> T:
    """The logarithm of the magnitude of the gamma function: infinite at 0 and the negative integers."""
    y: T = apply(LGAMMA, NoAttrs(), floating(x))
    return y


def digamma(x: T) -> T:
    """The derivative of :func:`lgamma`: infinite at 0, and NaN at the negative integers, where its sign changes."""
    return polygamma(x, 0)


def polygamma(x: T, n: int) -> T:
    """The ``n``-th derivative of :func:`digamma`, up to the hundredth."""
    y: T = apply(POLYGAMMA, PolygammaAttrs(checks.integer("polygamma", "n", n, 0, LARGEST)), floating(x))
    return y


def polygamma_at(n: int, x: T) -> T:
    """The ``n``-th derivative of :func:`digamma` at ``x``, up to the hundredth."""
    return polygamma(x, n)
