"""Element-wise functions composed of a few other ops: of two arguments, logarithms, signs and fractions."""

from __future__ import annotations

import math

import numpy as np

from ...errors import DTypeError
from ..opdef import AbstractTensor, Operand
from ..types import DTYPES, bool_, float64, int64, is_float
from . import elementwise as ew
from .bits import bit_cast
from .bounds import clip
from .composite import check_alike, eq, ge, gt, isinf, le, logical_and, logical_or, lt, trunc
from .promotion import cast, floating, promote
from .shape import stop_gradient
from .source import full


def _floats(a: Operand, b: Operand) -> tuple[AbstractTensor, AbstractTensor]:
    a, b = promote(a, b)
    return floating(a), floating(b)


def _given_floats(op: str, a: Operand, b: Operand) -> tuple[AbstractTensor, AbstractTensor]:
    """As :func:`_floats`, where one of the two must be of a floating-point type."""
    a, b = promote(a, b)
    if not is_float(a.type.dtype):
        raise DTypeError(f"{op}: needs floating-point numbers, got {a.type} and {b.type}")
    return a, b


def hypot(a: Operand, b: Operand) -> AbstractTensor:
    """``sqrt(a² + b²)`` without overflow, which has slope 0 where both are 0."""
    a, b = _given_floats("hypot", a, b)
    size = stop_gradient(ew.maximum(ew.abs_(a), ew.abs_(b)))
    scale = ew.where(gt(size, 0), size, 1.0)
    within = ew.flat_sqrt(ew.add(ew.pow_(ew.div(a, scale), 2), ew.pow_(ew.div(b, scale), 2)))
    return ew.where(logical_or(isinf(a), isinf(b)), math.inf, ew.mul(within, scale))


def logaddexp(a: Operand, b: Operand) -> AbstractTensor:
    """``log(exp(a) + exp(b))`` without overflow."""
    return _log_add_exp(*_given_floats("logaddexp", a, b))


def _log_add_exp(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    first = ge(a, b)  # chosen, as the largest and the distance have slopes of their own where both are the same
    large, small = ew.where(first, a, b), ew.where(first, b, a)
    endless = isinf(large)  # of which the difference may be no number
    below = ew.where(endless, 0.0, ew.sub(small, large))
    return ew.where(endless, ew.maximum(a, b), ew.add(large, ew.softplus(below)))


def logaddexp2(a: Operand, b: Operand) -> AbstractTensor:
    """``log2(2**a + 2**b)`` without overflow."""
    a, b = _given_floats("logaddexp2", a, b)
    return ew.div(_log_add_exp(ew.mul(a, math.log(2)), ew.mul(b, math.log(2))), math.log(2))


def xlogy(a: Operand, b: Operand) -> AbstractTensor:
    """``a * log(b)``, and 0 where ``a`` is 0, unless ``b`` is NaN."""
    a, b = _floats(a, b)
    nothing = logical_and(eq(a, 0), logical_or(le(b, 0), eq(b, math.inf)))
    return ew.mul(a, ew.log(ew.where(nothing, 1.0, b)))


def sinc(x: AbstractTensor) -> AbstractTensor:
    """``sin(πx) / (πx)``, and 1 at 0."""
    x = floating(x)
    zero = eq(x, 0)
    angle = ew.mul(ew.where(zero, 1.0, x), math.pi)
    top = ew.sub(1.0, ew.mul(ew.pow_(ew.where(zero, x, 0.0), 2), math.pi**2 / 6))  # 1, and as bent as the rest
    return ew.where(zero, top, ew.div(ew.sin(angle), angle))


def exp2(x: AbstractTensor) -> AbstractTensor:
    """``2**x``."""
    return ew.pow_(2.0, floating(x))


def frac(x: AbstractTensor) -> AbstractTensor:
    """The fractional part, with the sign of ``x``."""
    if not is_float(x.type.dtype):
        raise DTypeError(f"frac: needs floating-point numbers, got {x.type}")
    return ew.sub(x, trunc(x))


def fmod(a: Operand, b: Operand) -> AbstractTensor:
    """The remainder of ``a / b``, with the sign of ``a``; that of ``remainder`` has the sign of ``b``."""
    a, b = promote(a, b)
    if a.type.dtype.kind not in "fi":
        return ew.remainder(a, b)
    sign = ew.where(lt(a, 0), full(a, -1, ()), full(a, 1, ()))
    return ew.mul(ew.remainder(ew.mul(a, sign), ew.abs_(b)), sign)


def heaviside(x: AbstractTensor, values: Operand) -> AbstractTensor:
    """0 below 0, 1 above it, and ``values`` at 0."""
    check_alike("heaviside", x, values)
    x, values = promote(x, values)
    return ew.where(eq(x, 0), values, cast(gt(x, 0), x.type.dtype))


def nan_to_num(
    x: AbstractTensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> AbstractTensor:
    """``x`` with NaN replaced by ``nan`` (0 if None), and infinities by ``posinf`` and ``neginf``.

    These are by default the largest and the least number of the element type.
    """
    if not is_float(x.type.dtype):
        return x
    limits = np.finfo(x.type.dtype.name)
    x = ew.where(eq(x, math.inf), float(limits.max) if posinf is None else posinf, x)
    x = ew.where(eq(x, -math.inf), float(limits.min) if neginf is None else neginf, x)
    return ew.where(ew.isnan(x), 0.0 if nan is None else nan, x)


def logit(x: AbstractTensor, eps: float | None = None) -> AbstractTensor:
    """``log(x / (1 - x))``, the inverse of ``sigmoid``; ``eps`` clamps ``x`` to between ``eps`` and ``1 - eps``."""
    x = floating(x)
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    return ew.sub(ew.log(x), ew.log1p(ew.neg(x)))


def signbit(x: AbstractTensor) -> AbstractTensor:
    """Whether the sign bit is set, also for -0.0 and NaN."""
    if x.type.dtype == bool_:
        return full(x, False)
    if is_float(x.type.dtype):
        x = bit_cast(x, int64 if x.type.dtype == float64 else DTYPES["int32"])
    return lt(x, 0)


def copysign(a: Operand, b: Operand) -> AbstractTensor:
    """The magnitude of ``a`` with the sign of ``b``, also where that is -0.0."""
    a, b = _floats(a, b)
    size = ew.abs_(a)
    return ew.where(signbit(b), ew.neg(size), size)


def float_power(a: Operand, b: Operand) -> AbstractTensor:
    """``a ** b`` in float64."""
    a, b = promote(a, b)
    return ew.pow_(cast(a, float64), cast(b, float64))


def deg2rad(x: AbstractTensor) -> AbstractTensor:
    """Degrees in radians."""
    return ew.mul(floating(x), math.pi / 180)


def rad2deg(x: AbstractTensor) -> AbstractTensor:
    """Radians in degrees."""
    return ew.mul(floating(x), 180 / math.pi)
