"""Kernel of rounding to the numbers of a narrower floating-point type."""

from __future__ import annotations

import math

import numpy as np

from ...graph.ops.rounding import ROUND_TO, FloatFormat, RoundToAttrs
from ...graph.types import DTYPES, DType, bool_
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .elementwise import scalar

FLOAT64 = DTYPES["float64"]


@kernel(ROUND_TO)
def round_to(k: Emitter[RoundToAttrs]) -> None:
    """Add a number so large that ``x`` is rounded to the type's number of bits, and subtract it again.

    The number is a multiple of the power of two in ``x``, but at least of the type's least normal number: below that,
    all steps are equal.
    """
    (x,), (y,), target, beyond = k.ins, k.outs, k.attrs.format, k.attrs.beyond
    wide = _computed_in(target, x.dtype)
    value, result = x, y
    if wide != x.dtype:
        value = result = k.scratch(x.shape, wide, "wide")
        k.line(f"np.copyto({value}, {x})")
    large = k.scratch(x.shape, wide, "large")
    whole = f"np.int{8 * wide.itemsize}"
    k.line(f"np.bitwise_and({value}.view({whole}), {_exponent_bits(wide)}, out={large}.view({whole}))")
    low, high = scalar(k, 2.0**target.least, wide), scalar(k, _power_below(target.largest), wide)
    k.line(f"{large}.clip({low}, {high}, out={large})")
    k.line(f"np.multiply({large}, {scalar(k, _factor(target, wide), wide)}, out={large})")
    k.line(f"np.add({value}, {large}, out={result})")
    k.line(f"np.subtract({result}, {large}, out={result})")
    least, most = scalar(k, -target.largest, wide), scalar(k, target.largest, wide)
    if beyond is None:
        k.line(f"{result}.clip({least}, {most}, out={result})")
    else:
        outside = k.scratch(x.shape, bool_, "outside")
        k.line(f"np.absolute({result}, out={large})")
        k.line(f"np.greater({large}, {most}, out={outside})")
        k.line(f"np.multiply({result}, {scalar(k, beyond, wide)}, out={result}, where={outside})")
    if result is not y:
        k.line(f"np.copyto({y}, {result}, casting='same_kind')")
    if target.zeros == 2:
        k.line(f"np.copysign({y}, {x}, out={y})")


def _computed_in(target: FloatFormat, dtype: DType) -> DType:
    """The operand's type, or a wider one if the large number would be infinite in it."""
    top = math.log2(_power_below(target.largest) * _factor(target, dtype))
    return dtype if top < np.finfo(dtype.name).maxexp - 1 else FLOAT64


def _factor(target: FloatFormat, dtype: DType) -> float:
    """The large number per power of two in ``x``: 1.5 times a power, so that adding ``x`` keeps the exponent."""
    return 1.5 * 2.0 ** int(np.finfo(dtype.name).nmant - target.mantissa)


def _power_below(x: float) -> float:
    return 2.0 ** math.floor(math.log2(x))


def _exponent_bits(dtype: DType) -> int:
    info = np.finfo(dtype.name)
    return ((1 << info.nexp) - 1) << info.nmant
