"""Reinterpreting the bits of numbers as another type."""

from __future__ import annotations

from ...errors import DTypeError
from ..opdef import NO_GRADIENT, OpDef, T, apply, register
from ..types import TensorType, as_dtype, bool_
from .promotion import CastAttrs


def _infer(attrs: CastAttrs, x: TensorType) -> TensorType:
    if attrs.dtype.itemsize != x.dtype.itemsize or attrs.dtype == bool_:
        raise DTypeError(f"BitCast: the bits of {x} are no numbers of {attrs.dtype.name}")
    return x.with_dtype(attrs.dtype)


BIT_CAST = register(OpDef("BitCast", _infer, NO_GRADIENT, attrs=CastAttrs, elementwise=True))


def bit_cast(x: T, dtype: object) -> T:
    """The numbers of another element type that have the same bits."""
    wanted = as_dtype(dtype)
    if wanted == x.type.dtype:
        return x
    result: T = apply(BIT_CAST, CastAttrs(wanted), x)
    return result
