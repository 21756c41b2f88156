"""Element-wise ops, from their formulas, floats in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs, OpDef
from ..graph.ops import elementwise as ew
from ..graph.ops import trigonometry as tr
from ..graph.ops.bits import BIT_CAST
from ..graph.ops.bounds import CLIP, ClipAttrs
from ..graph.ops.elementwise import AlphaAttrs, GeluAttrs, SoftplusAttrs
from ..graph.ops.promotion import CastAttrs
from .evaluator import reference


def wide(x: Array) -> Array:
    """Floats as float64, other types unchanged."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _define(op: OpDef, formula: Callable[..., Any]) -> None:
    reference(op)(lambda attrs, *arrays: formula(*map(wide, arrays)))


_define(ew.NEG, lambda x: -x)
_define(ew.ABS, lambda x: np.where(x < 0, -x, x))
_define(ew.SIGN, lambda x: (x > 0).astype(np.int8) - (x < 0).astype(np.int8))
_define(ew.EXP, np.exp)
_define(ew.EXPM1, np.expm1)
_define(ew.LOG, np.log)
_define(ew.LOG1P, np.log1p)
_define(ew.LOG2, np.log2)
_define(ew.LOG10, np.log10)
_define(ew.SQRT, np.sqrt)
_define(ew.SIN, np.sin)
_define(ew.COS, np.cos)
_define(ew.ERF, np.vectorize(math.erf, otypes=[float]))
_define(ew.TANH, np.tanh)
_define(tr.ASIN, np.arcsin)
_define(tr.ACOS, np.arccos)
_define(tr.ATAN, np.arctan)
_define(tr.ATAN2, np.arctan2)
_define(tr.SINH, lambda x: (np.exp(x) - np.exp(-x)) / 2)
_define(tr.COSH, lambda x: (np.exp(x) + np.exp(-x)) / 2)
_define(tr.ASINH, np.arcsinh)
_define(tr.ACOSH, np.arccosh)
_define(tr.ATANH, lambda x: (np.log1p(x) - np.log1p(-x)) / 2)
_define(ew.SIGMOID, lambda x: 1 / (1 + np.exp(-x)))
_define(ew.RELU, lambda x: np.where(x < 0, np.zeros_like(x), x))
_define(ew.SILU, lambda x: x / (1 + np.exp(-x)))
_define(ew.HARD_SWISH, lambda x: x * np.clip(x / 6 + 0.5, 0, 1))
_define(ew.FLOOR, np.floor)
_define(ew.CEIL, np.ceil)
_define(ew.ROUND, np.round)
_define(ew.NOT, lambda x: ~x)
_define(ew.ADD, lambda a, b: a + b)
_define(ew.SUB, lambda a, b: a - b)
_define(ew.MUL, lambda a, b: a * b)
_define(ew.DIV, lambda a, b: a / b)
_define(ew.MAXIMUM, lambda a, b: np.where((a > b) | np.isnan(a), a, b))
_define(ew.MINIMUM, lambda a, b: np.where((a < b) | np.isnan(a), a, b))
_define(ew.EQUAL, lambda a, b: a == b)
_define(ew.NOT_EQUAL, lambda a, b: a != b)
_define(ew.LESS, lambda a, b: a < b)
_define(ew.LESS_EQUAL, lambda a, b: a <= b)
_define(ew.GREATER, lambda a, b: a > b)
_define(ew.GREATER_EQUAL, lambda a, b: a >= b)
_define(ew.AND, lambda a, b: a & b)
_define(ew.OR, lambda a, b: a | b)
_define(ew.FLOOR_DIVIDE, np.floor_divide)
_define(ew.REMAINDER, np.remainder)
_define(ew.WHERE, lambda condition, a, b: np.where(condition, a, b))


@reference(ew.CAST)
def cast(attrs: CastAttrs, x: Array) -> Array:
    return x.astype(attrs.dtype)


@reference(BIT_CAST)
def bit_cast(attrs: CastAttrs, x: Array) -> Array:
    return np.frombuffer(x.tobytes(), attrs.dtype).reshape(x.shape)


@reference(ew.GCD)
def gcd(attrs: Attrs, a: Array, b: Array) -> Array:
    """The greatest common divisor; for least numbers of a signed type, which it exceeds, it wraps to that number."""
    bits, signed = 8 * a.dtype.itemsize, a.dtype.kind == "i"

    def one(first: int, second: int) -> int:
        found = math.gcd(int(first), int(second))
        return found - (1 << bits) if signed and found >> (bits - 1) else found

    return np.vectorize(one, otypes=[a.dtype])(a, b)  # type: ignore[no-any-return]


@reference(ew.POW)
def power(attrs: Attrs, a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(wide(a) ** wide(b))

    def one(base: int, exponent: int) -> int:
        if exponent >= 0:
            return int(base**exponent)
        return 0 if base == 0 else math.trunc(1 / base**-exponent)

    bits = 8 * a.dtype.itemsize
    exact = np.vectorize(lambda x, e: one(int(x), int(e)) % 2**bits, otypes=[object])(a, b)
    return np.asarray(exact, f"u{a.dtype.itemsize}").astype(a.dtype)


@reference(ew.LEAKY_RELU)
def leaky_relu(attrs: AlphaAttrs, x: Array) -> Array:
    return np.where(x > 0, wide(x), wide(x) * attrs.alpha)


@reference(ew.ELU)
def elu(attrs: AlphaAttrs, x: Array) -> Array:
    return np.where(x > 0, wide(x), attrs.alpha * np.expm1(wide(x)))


@reference(ew.GELU)
def gelu(attrs: GeluAttrs, x: Array) -> Array:
    x = wide(x)
    if attrs.approximate == "tanh":
        return np.asarray(x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2)
    return np.asarray(x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2)


@reference(ew.SOFTPLUS)
def softplus(attrs: SoftplusAttrs, x: Array) -> Array:
    x = wide(x)
    z = attrs.beta * x
    return np.where(z > attrs.threshold, x, np.log1p(np.exp(z)) / attrs.beta)


@reference(CLIP)
def clip(attrs: ClipAttrs, x: Array) -> Array:
    y = wide(x)
    y = y if attrs.low is None else np.where(y < attrs.low, np.asarray(attrs.low, y.dtype), y)
    return y if attrs.high is None else np.where(y > attrs.high, np.asarray(attrs.high, y.dtype), y)
