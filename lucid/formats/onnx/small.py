"""Numbers of eight bits and fewer, which are computed with as larger ones that lie on their grid."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import GraphError
from ...graph.opdef import AbstractTensor
from ...graph.ops.composite import eq, ge, gt, logical_and, lt
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

POWERS = 24
"""float8e8m0, whose numbers are powers of two."""


def as_small(x: AbstractTensor, kind: int, saturate: bool, rounding: str = "up") -> AbstractTensor:
    """The numbers of a type that are nearest, as float32, int8 or uint8; ``rounding`` is that of powers of two."""
    if kind in INTEGERS:
        return _wrapped(x, *INTEGERS[kind])
    if kind == POWERS:
        return _power(x, saturate, rounding)
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


def _power(x: AbstractTensor, saturate: bool, rounding: str) -> AbstractTensor:
    """Powers of two from 2**-127 to 2**127, whatever the sign."""
    if rounding not in ("up", "down", "nearest"):
        raise GraphError(f"there is no round_mode {rounding!r}")
    size = maximum(abs_(cast(x, "float64")), 2.0**-127)
    exponent = floor(log2(minimum(size, 2.0**128)))
    if rounding != "down":
        least = 1.0 if rounding == "up" else 1.5
        behind = gt if rounding == "up" else ge
        more = behind(size / pow_(2.0, exponent), least)
        exponent = exponent + cast(logical_and(more, lt(exponent, 127.0)) if saturate else more, "float64")
    inside = lt(exponent, 127.5) if saturate else lt(exponent, 128.0)
    known = logical_and(inside, lt(size, float("inf")))
    return cast(where(known, pow_(2.0, minimum(exponent, 127.0)), float("nan")), float32)


def _wrapped(x: AbstractTensor, bits: int, signed: bool) -> AbstractTensor:
    """Integers of so many bits; higher ones are dropped."""
    whole = cast(x, "int64") if is_float(x.type.dtype) or x.type.dtype.kind == "b" else x
    if not signed:
        return cast(remainder(cast(whole, "int64"), 1 << bits), "uint8")
    half = 1 << (bits - 1)
    return cast(remainder(cast(whole, "int64") + half, 2 * half) - half, "int8")
