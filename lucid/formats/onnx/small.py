"""Numbers of eight bits and fewer, which are computed with as larger ones that lie on their grid."""

from __future__ import annotations

from typing import NamedTuple

from ...graph.opdef import AbstractTensor
from ...graph.ops.composite import eq, gt
from ...graph.ops.elementwise import abs_, floor, log2, maximum, minimum, pow_, remainder, round_, sign, where
from ...graph.ops.promotion import cast
from ...graph.types import float32, is_float


class Grid(NamedTuple):
    """Which numbers a floating-point type has.

    Attributes
    ----------
    mantissa
        Bits after the leading one.
    least
        Exponent of the smallest number that has a leading one.
    largest
        The largest number.
    infinite
        Whether there are infinities; otherwise what is too large and not held back is NaN.
    always_held
        Whether what is too large is the largest number in any case.
    """

    mantissa: int
    least: int
    largest: float
    infinite: bool = False
    always_held: bool = False


GRIDS = {
    17: Grid(3, -6, 448.0), 18: Grid(3, -7, 240.0), 19: Grid(2, -14, 57344.0, True), 20: Grid(2, -15, 57344.0),
    23: Grid(1, 0, 6.0, always_held=True),
}  # fmt: skip
"""By the number of the type in the format: float8e4m3fn, float8e4m3fnuz, float8e5m2, float8e5m2fnuz, float4e2m1."""

INTEGERS = {21: (4, False), 22: (4, True), 25: (2, False), 26: (2, True)}
"""Bits, and whether there is a sign: uint4, int4, uint2, int2."""

SMALL = frozenset({*GRIDS, *INTEGERS})


def as_small(x: AbstractTensor, kind: int, saturate: bool) -> AbstractTensor:
    """The numbers of a type that are nearest, as float32, int8 or uint8."""
    if kind in INTEGERS:
        return _wrapped(x, *INTEGERS[kind])
    grid = GRIDS[kind]
    x = cast(x, float32)
    size = minimum(abs_(x), 2.0 * grid.largest)  # of infinities there is no logarithm
    exponent = maximum(floor(log2(maximum(size, 1e-30))), float(grid.least))
    step = pow_(2.0, exponent - grid.mantissa)
    nearest = round_(size / step) * step
    if saturate or grid.always_held:
        held = minimum(nearest, grid.largest)
    else:
        held = where(gt(nearest, grid.largest), float("inf" if grid.infinite else "nan"), nearest)
    return where(eq(x, x), held * sign(x), x)


def _wrapped(x: AbstractTensor, bits: int, signed: bool) -> AbstractTensor:
    """Integers of so many bits; higher ones are dropped."""
    whole = cast(x, "int64") if is_float(x.type.dtype) or x.type.dtype.kind == "b" else x
    if not signed:
        return cast(remainder(cast(whole, "int64"), 1 << bits), "uint8")
    half = 1 << (bits - 1)
    return cast(remainder(cast(whole, "int64") + half, 2 * half) - half, "int8")
