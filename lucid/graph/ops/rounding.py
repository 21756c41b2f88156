"""Rounding to the values of a narrower type, kept in the wider one; gradients pass straight through."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...base.checks import shown
from ...errors import OptionError
from ..opdef import Attrs, GradContext, Gradients, NoAttrs, T, apply, attributes
from ..types import TensorType
from .elementwise import check_kind, unary


class FloatFormat(NamedTuple):
    """Which numbers a floating-point type has.

    Attributes
    ----------
    mantissa
        Bits after the leading one.
    least
        Exponent of the smallest number that has a leading one.
    largest
        The largest number.
    beyond
        What follows the largest: infinity, NaN, or nothing.
    zeros
        How many there are: one, or two with a sign each.
    """

    mantissa: int
    least: int
    largest: float
    beyond: float | None = math.inf
    zeros: int = 2


FLOAT_FORMATS = {
    "float16": FloatFormat(10, -14, 65504.0),
    "bfloat16": FloatFormat(7, -126, 255 * 2.0**120),
    "float8_e4m3fn": FloatFormat(3, -6, 448.0, math.nan),
    "float8_e4m3fnuz": FloatFormat(3, -7, 240.0, math.nan, 1),
    "float8_e5m2": FloatFormat(2, -14, 57344.0),
    "float8_e5m2fnuz": FloatFormat(2, -15, 57344.0, math.nan, 1),
    "float4_e2m1fn": FloatFormat(1, 0, 6.0, None),
}
"""By the names that ``ml_dtypes`` has for them."""


@attributes
class RoundToAttrs(Attrs):
    """The name of the type to round to, and whether numbers beyond its largest one saturate at that."""

    to: str
    saturate: bool = False

    @property
    def format(self) -> FloatFormat:
        return FLOAT_FORMATS[self.to]

    @property
    def beyond(self) -> float | None:
        """What follows the largest number here; None where that stands for all that are larger."""
        return None if self.saturate else self.format.beyond


def _infer(attrs: RoundToAttrs, x: TensorType) -> TensorType:
    check_kind("RoundTo", "f", x)
    if attrs.to not in FLOAT_FORMATS:
        raise OptionError(f"RoundTo: there is no type {shown(attrs.to)}; known are {', '.join(FLOAT_FORMATS)}")
    return TensorType(x.shape, x.dtype)


def _gradient(c: GradContext) -> Gradients:
    """It passes straight through, as that of PyTorch's casts: the slope itself is 0 nearly everywhere."""
    return [c.dy]


def _rises(attrs: RoundToAttrs) -> bool:
    return attrs.beyond is None or attrs.beyond == math.inf


ROUND_TO = unary(
    "RoundTo", _gradient, attrs=RoundToAttrs, infer=_infer, monotone=_rises, root=0.0, idempotent=True,
    conventional=True,
)  # fmt: skip


ROUND_STRAIGHT = unary(
    "RoundStraight", _gradient, monotone=True, root=0.0, idempotent=True, conventional=True
)  # fmt: skip


def round_straight(x: T) -> T:
    """The nearest whole number, of two the even one; the gradient passes straight through, as that of ``round_to``."""
    y: T = apply(ROUND_STRAIGHT, NoAttrs(), x)
    return y


def round_to(x: T, to: str, *, saturate: bool = False) -> T:
    """The nearest numbers of a type, of two the even one; those beyond its largest become that where it saturates."""
    y: T = apply(ROUND_TO, RoundToAttrs(to, saturate), x)
    return y
