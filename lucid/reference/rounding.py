"""Rounding to integers, or to the numbers of a narrower floating-point type."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.rounding import ROUND_STRAIGHT, ROUND_TO, RoundToAttrs
from .elementwise import wide
from .evaluator import reference


@reference(ROUND_STRAIGHT)
def round_straight(attrs: Attrs, x: Array) -> Array:
    return np.asarray(np.round(wide(x)))


@reference(ROUND_TO)
def round_to(attrs: RoundToAttrs, x: Array) -> Array:
    """Round to the nearest multiple of the type's step at that magnitude, half to even."""
    target, size = attrs.format, np.abs(wide(x))
    exponent = np.maximum(np.frexp(size)[1] - 1, target.least)
    nearest = np.ldexp(np.rint(np.ldexp(size, target.mantissa - exponent)), exponent - target.mantissa)
    most = target.largest if attrs.beyond is None else attrs.beyond
    signed = np.copysign(np.where(nearest > target.largest, most, nearest), x)
    return np.where(np.isnan(x), x, signed if target.zeros == 2 else signed + 0.0)
