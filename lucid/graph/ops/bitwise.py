"""Shifts of bits, as products with powers of two and quotients by them."""

from __future__ import annotations

import numpy as np

from ...errors import DTypeError
from ..opdef import AbstractTensor, Operand
from ..types import bool_, is_float
from . import elementwise as ew
from .bounds import clip
from .composite import ge, logical_or, lt
from .indexing import index_with
from .promotion import cast, promote
from .source import full


def _integers(op: str, symbol: str, a: Operand, b: Operand) -> tuple[AbstractTensor, AbstractTensor]:
    a, b = promote(a, b)
    if is_float(a.type.dtype) or a.type.dtype == bool_:
        raise DTypeError(f"{op}: bits are those of integers, got {a.type.dtype.name}; write x {symbol} 2 ** n")
    return a, b


def shift_left(a: Operand, b: Operand) -> AbstractTensor:
    """The bits of the integers ``a`` moved up by ``b`` places; 0 where that is negative, or as many as there are."""
    a, b = _integers("<<", "*", a, b)
    return ew.where(_is_beyond(b, _bits(a)), full(a, 0, ()), ew.mul(a, _power(b)))


def shift_right(a: Operand, b: Operand) -> AbstractTensor:
    """The bits of the integers ``a`` moved down by ``b`` places, which keeps the sign.

    Where ``b`` is negative, or as many as there are, nothing but the sign is left: 0 or -1.
    """
    a, b = _integers(">>", "//", a, b)
    zero, signed = full(a, 0, ()), a.type.dtype.kind == "i"
    rest = ew.where(lt(a, 0), full(a, -1, ()), zero) if signed else zero
    return ew.where(_is_beyond(b, _bits(a) - signed), rest, ew.floor_divide(a, _power(b)))


def _bits(x: AbstractTensor) -> int:
    return 8 * x.type.dtype.itemsize


def _is_beyond(count: AbstractTensor, most: int) -> AbstractTensor:
    return logical_or(lt(count, 0), ge(count, most))


def _power(count: AbstractTensor) -> AbstractTensor:
    """2 to that power, in its element type; the last one of a signed type is negative."""
    bits, dtype = _bits(count), count.type.dtype
    powers = count.constant(np.left_shift(np.ones(bits, dtype), np.arange(bits, dtype=dtype)))
    return index_with(powers, (0,), [cast(clip(count, 0, bits - 1), "int64")])
