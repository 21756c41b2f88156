"""Element types of 16 bits or fewer, which are computed with as wider types and rounded to the narrow type's values."""

from __future__ import annotations

from ...errors import GraphError
from ...graph.opdef import AbstractTensor
from ...graph.ops.composite import ge, gt, logical_and, lt
from ...graph.ops.elementwise import abs_, floor, log2, maximum, minimum, pow_, remainder, where
from ...graph.ops.promotion import cast
from ...graph.ops.rounding import round_to
from ...graph.types import float32, is_float
from .model import SMALL

FLOATS = {
    10: "float16", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
    23: "float4_e2m1fn",
}  # fmt: skip
"""Floating-point types by their number in the format."""

INTEGERS = {21: (4, False), 22: (4, True), 25: (2, False), 26: (2, True)}
"""Bits, and whether there is a sign, of uint4, int4, uint2 and int2."""

POWERS = 24
"""The number of float8e8m0, whose values are powers of two."""


def as_small(x: AbstractTensor, kind: int, saturate: bool, rounding: str = "up") -> AbstractTensor:
    """The nearest values of a type, as float32, int8 or uint8; ``rounding`` applies to powers of two."""
    if kind in INTEGERS:
        return _wrapped(x, *INTEGERS[kind])
    if kind == POWERS:
        return _power(x, saturate, rounding)
    numbers = x if is_float(x.type.dtype) else cast(x, "float64" if x.type.dtype.itemsize > 2 else float32)
    saturate = saturate and kind in SMALL  # which is for eight bits and fewer: of 16 bits what is too large is infinite
    return cast(round_to(numbers, FLOATS[kind], saturate=saturate), float32)


def _power(x: AbstractTensor, saturate: bool, rounding: str) -> AbstractTensor:
    """The nearest powers of two, from 2**-127 to 2**127, ignoring signs."""
    if rounding not in ("up", "down", "nearest"):
        raise GraphError(f"unknown round_mode {rounding!r}")
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
    """Integers of ``bits`` bits; higher bits are dropped."""
    whole = cast(x, "int64") if is_float(x.type.dtype) or x.type.dtype.kind == "b" else x
    if not signed:
        return cast(remainder(cast(whole, "int64"), 1 << bits), "uint8")
    half = 1 << (bits - 1)
    return cast(remainder(cast(whole, "int64") + half, 2 * half) - half, "int8")
