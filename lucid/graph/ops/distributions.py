"""Functions of probabilities: the normal distribution's, and what entropies are made of."""

from __future__ import annotations

import math

from ..opdef import AbstractTensor, Operand
from . import elementwise as ew
from .composite import eq, gt, le, logical_and, logical_or, lt
from .nonelementary import erfc, erfcx
from .promotion import floating, promote


def entr(x: AbstractTensor) -> AbstractTensor:
    """``-x * log(x)``: 0 at 0, where its slope is infinite, and minus infinity below."""
    x = floating(x)
    zero = eq(x, 0)
    nothing = ew.sqrt(ew.where(zero, x, 1.0))  # 0, and as steep
    return ew.where(zero, nothing, ew.where(lt(x, 0), -math.inf, ew.neg(ew.mul(x, ew.log(ew.where(gt(x, 0), x, 1.0))))))


def xlog1py(a: Operand, b: Operand) -> AbstractTensor:
    """``a * log(1 + b)``, and 0 where ``a`` is 0, whatever number ``b`` is."""
    a, b = (floating(x) for x in promote(a, b))
    nothing = logical_and(eq(a, 0), logical_or(le(b, -1), eq(b, math.inf)))
    return ew.mul(a, ew.log1p(ew.where(nothing, 0.0, b)))


def ndtr(x: AbstractTensor) -> AbstractTensor:
    """The cumulative distribution function of the standard normal distribution at ``x``."""
    return ew.mul(erfc(ew.mul(floating(x), -math.sqrt(0.5))), 0.5)


def log_ndtr(x: AbstractTensor) -> AbstractTensor:
    """The logarithm of :func:`ndtr`, accurate also where that underflows."""
    x = floating(x)
    far = lt(x, -1)
    below = ew.where(far, x, -1.0)
    tail = ew.sub(ew.log(ew.mul(erfcx(ew.mul(below, -math.sqrt(0.5))), 0.5)), ew.mul(ew.mul(below, below), 0.5))
    return ew.where(far, tail, ew.log1p(ew.mul(erfc(ew.mul(ew.where(far, -1.0, x), math.sqrt(0.5))), -0.5)))
