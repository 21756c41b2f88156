"""Ops without inputs: graph inputs, parameters, constants and filled tensors."""

from __future__ import annotations

import math

import numpy as np

from ...errors import DTypeError
from ..dims import Dim
from ..opdef import NO_GRADIENT, AbstractTensor, Attrs, ConstArray, OpDef, T, TypeAttrs, apply, attributes, register
from ..opdef import ParameterAttrs as ParameterAttrs
from ..types import DType, Shape, TensorType, as_dtype


@attributes
class ConstantAttrs(Attrs):
    value: ConstArray


@attributes
class FullAttrs(TypeAttrs):
    """``value`` may be a dim: the number of elements of a symbolic batch, say."""

    value: bool | int | float | Dim = 0

    def __post_init__(self) -> None:
        if self.value != self.value:  # NaN equals itself only as one object
            object.__setattr__(self, "value", math.nan)

    def __eq__(self, other: object) -> bool:
        """-0.0 and 0.0 differ here, since dividing by them gives infinities of opposite signs."""
        return (
            isinstance(other, FullAttrs)
            and (self.shape, self.dtype, self.value) == (other.shape, other.dtype, other.value)
            and _negative_zero(self.value) == _negative_zero(other.value)
        )


def _full_infer(attrs: FullAttrs) -> TensorType:
    value, dtype = attrs.value, attrs.dtype
    if dtype.kind in "iu" and isinstance(value, int | float):
        limits = np.iinfo(dtype.name)
        if not limits.min <= value <= limits.max:  # nor is NaN
            raise DTypeError(f"Full: {str(value)[:40]} does not fit into {dtype.name}")
    elif dtype.kind == "f" and isinstance(value, int) and abs(value) >= 1 << 1023:
        raise DTypeError(f"Full: {str(value)[:40]} does not fit into {dtype.name}")
    return attrs.type


def _negative_zero(value: object) -> bool:
    return isinstance(value, float) and value == 0 and math.copysign(1.0, value) < 0


def _told(attrs: TypeAttrs) -> TensorType:
    return attrs.type


def _constant_infer(attrs: ConstantAttrs) -> TensorType:
    array = attrs.value.array
    return TensorType(array.shape, as_dtype(array.dtype))


INPUT = register(OpDef("Input", _told, NO_GRADIENT, attrs=TypeAttrs, inputs=(), pure=False, source="input"))
PARAMETER = register(
    OpDef("Parameter", _told, NO_GRADIENT, attrs=ParameterAttrs, inputs=(), pure=False, source="parameter")
)
CONSTANT = register(OpDef("Constant", _constant_infer, NO_GRADIENT, attrs=ConstantAttrs, inputs=(), source="constant"))
FULL = register(OpDef("Full", _full_infer, NO_GRADIENT, attrs=FullAttrs, inputs=(), family="constant"))


def full(like: T, value: bool | int | float | Dim, shape: Shape | None = None, dtype: DType | None = None) -> T:
    """A tensor of the kind of ``like`` (eager or symbolic) filled with ``value``, by default of its shape and dtype."""
    type_ = like.type
    attrs = FullAttrs(type_.shape if shape is None else shape, dtype or type_.dtype, value)
    result: T = apply(FULL, attrs, like=like)
    return result


def constant(like: AbstractTensor, array: object) -> AbstractTensor:
    """``array`` as a constant of the kind of ``like``: an eager tensor or a symbol."""
    value = np.asarray(array)
    if value.dtype.kind not in "fbiu":
        raise DTypeError(f"constant: an array of {value.dtype} is not a tensor")
    return like.constant(value)
