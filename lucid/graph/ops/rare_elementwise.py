"""Element-wise functions that are rarely used, composed of other ops."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...errors import DTypeError, OptionError
from ..opdef import AbstractTensor, NoAttrs, Operand, apply
from ..types import DTYPES, bool_, float64, int64, is_float
from . import elementwise as ew
from .bits import bit_cast
from .bounds import clip
from .composite import eq, ge, gt, isfinite, le, logical_and, logical_not, logical_or, lt
from .nonelementary import lgamma
from .promotion import cast, floating, promote
from .reduce import sum as total
from .shape import reshape, stop_gradient
from .source import full


class Mantissa(NamedTuple):
    """Mantissas, of magnitude 0.5 (included) to 1 or equal to 0, and exponents of two."""

    mantissa: AbstractTensor
    exponent: AbstractTensor


def fmax(a: Operand, b: Operand) -> AbstractTensor:
    """The larger of two, or the other one if one is NaN. Of equal operands the first takes the gradient."""
    a, b = promote(a, b)
    return ew.where(logical_or(ge(a, b), ew.isnan(b)), a, b)


def fmin(a: Operand, b: Operand) -> AbstractTensor:
    """The smaller of two, or the other one if one is NaN. Of equal operands the first takes the gradient."""
    a, b = promote(a, b)
    return ew.where(logical_or(le(a, b), ew.isnan(b)), a, b)


def isposinf(x: AbstractTensor) -> AbstractTensor:
    """Whether each element is infinite and positive."""
    return eq(x, math.inf) if is_float(x.type.dtype) else full(x, False, None, bool_)


def isneginf(x: AbstractTensor) -> AbstractTensor:
    """Whether each element is infinite and negative."""
    return eq(x, -math.inf) if is_float(x.type.dtype) else full(x, False, None, bool_)


def isreal(x: AbstractTensor) -> AbstractTensor:
    """True everywhere: there are no complex numbers."""
    return full(x, True, None, bool_)


def positive(x: AbstractTensor) -> AbstractTensor:
    """The tensor itself, which must hold numbers."""
    if x.type.dtype == bool_:
        raise DTypeError(f"positive: needs numbers, got {x.type}")
    return x


def angle(x: AbstractTensor) -> AbstractTensor:
    """π where ``x`` is negative, else 0; NaN stays."""
    x = floating(x)
    return ew.where(ew.isnan(x), x, ew.where(lt(x, 0), full(x, math.pi, ()), full(x, 0.0, ())))


def gcd(a: Operand, b: Operand) -> AbstractTensor:
    """The greatest common divisor of integers, which is not negative."""
    return apply(ew.GCD, NoAttrs(), *promote(a, b))


def lcm(a: Operand, b: Operand) -> AbstractTensor:
    """The least common multiple of integers, which is not negative; 0 where one of them is."""
    a, b = promote(a, b)
    common = gcd(a, b)
    divisor = ew.where(eq(common, 0), full(common, 1, ()), common)
    return ew.abs_(ew.mul(ew.floor_divide(a, divisor), b))


def ldexp(a: Operand, b: Operand) -> AbstractTensor:
    """``a * 2**b``, also where ``2**b`` alone is too large or too small for the element type."""
    a, b = (floating(x) for x in promote(a, b))
    most = np.finfo(a.type.dtype.name).maxexp - 2
    rest = clip(b, -3 * most, 3 * most)  # beyond, all but 0 is infinite or 0
    for _ in range(3):
        part = clip(rest, -most, most)
        a, rest = ew.mul(a, ew.pow_(2.0, part)), ew.sub(rest, part)
    return a


def frexp(x: AbstractTensor) -> Mantissa:
    """``x`` as ``mantissa * 2**exponent``; infinities and NaN are their own mantissas, with exponent 0."""
    if not is_float(x.type.dtype):
        raise DTypeError(f"frexp: needs floating-point numbers, got {x.type}")
    facts, whole = np.finfo(x.type.dtype.name), _integers_like(x)
    least = lt(ew.abs_(x), float(facts.smallest_normal))
    lifted = ew.where(least, ew.mul(x, 2.0 ** (facts.nmant + 1)), x)
    raw = ew.floor_divide(bit_cast(stop_gradient(ew.abs_(lifted)), whole), 1 << facts.nmant)
    exponent = ew.sub(
        raw, ew.where(least, full(raw, facts.maxexp - 1 + facts.nmant, ()), full(raw, facts.maxexp - 2, ()))
    )
    exponent = ew.where(logical_and(isfinite(x), logical_not(eq(x, 0))), exponent, full(raw, 0, ()))
    return Mantissa(ldexp(x, ew.neg(exponent)), cast(exponent, DTYPES["int32"]))


def _integers_like(x: AbstractTensor) -> object:
    return int64 if x.type.dtype == float64 else DTYPES["int32"]


def nextafter(a: Operand, b: Operand) -> AbstractTensor:
    """The next representable number after ``a`` towards ``b``; it has no gradient."""
    a, b = promote(a, b)
    if not is_float(a.type.dtype):
        raise DTypeError(f"nextafter: needs floating-point numbers, got {a.type}")
    a, b = stop_gradient(a), stop_gradient(b)
    bits = bit_cast(a, _integers_like(a))
    up = gt(b, a)
    away = eq(gt(a, 0), up)  # from 0, where the next number has the next bits
    moved = bit_cast(ew.add(bits, ew.where(away, full(bits, 1, ()), full(bits, -1, ()))), a.type.dtype)
    least = float(np.finfo(a.type.dtype.name).smallest_subnormal)
    moved = ew.where(eq(a, 0), ew.where(up, full(a, least, ()), full(a, -least, ())), moved)
    found = ew.where(eq(a, b), b, moved)
    return ew.where(logical_or(ew.isnan(a), ew.isnan(b)), math.nan, found)


def mvlgamma(x: AbstractTensor, p: int) -> AbstractTensor:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    if p < 1:
        raise OptionError(f"mvlgamma: p is at least 1, got {p}")
    x = floating(x)
    halves = x.constant(np.arange(p).astype(x.type.dtype.name) / 2)
    each = lgamma(ew.sub(reshape(x, (*x.type.shape, 1)), halves))
    return ew.add(total(each, -1), p * (p - 1) / 4 * math.log(math.pi))
