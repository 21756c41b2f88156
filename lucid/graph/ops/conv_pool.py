"""Convolution, bias, residual, activation and max pooling as one op, made by passes: what is between never exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import GraphError, ShapeError
from ..opdef import Attrs, NoAttrs, OpDef, apply, register
from ..types import TensorType
from .activated import activation_op, check_activation, check_floor
from .conv import CONV, ConvAttrs
from .elementwise import MAXIMUM
from .pool import MAX_POOL, MaxPoolAttrs


@dataclass(frozen=True)
class ConvPoolAttrs(Attrs):
    """What is done, in this order.

    Attributes
    ----------
    conv
        The convolution (its bias is the op's third input).
    activation
        Name of a unary element-wise op, or None.
    activation_attrs
        Its attributes.
    pool
        The max pooling, or None.
    residual
        Whether the op's last input, of the convolution's shape, is added before the activation. There is no
        pooling then.
    floor
        Whether the third input is no bias, but the least that an element of its channel may be. There is neither a
        residual nor an activation then.
    """

    conv: ConvAttrs = ConvAttrs()
    activation: str | None = None
    activation_attrs: Attrs = NoAttrs()
    pool: MaxPoolAttrs | None = None
    residual: bool = False
    floor: bool = False


def bias_and_residual(attrs: Attrs, inputs: Sequence[Any]) -> tuple[Any | None, Any | None]:
    """What follows the input and the weight among the inputs of a convolution, alone or fused."""
    rest = list(inputs[2:])
    residual = rest.pop() if rest and isinstance(attrs, ConvPoolAttrs) and attrs.residual else None
    return (rest[0] if rest else None), residual


def _infer(attrs: ConvPoolAttrs, *inputs: TensorType) -> TensorType:
    bias, residual = bias_and_residual(attrs, inputs)
    (y,) = CONV.infer_types(attrs.conv, [*inputs[:2], *([] if bias is None else [bias])])
    if attrs.residual:
        _check_residual(attrs, y, residual)
    elif len(inputs) > 3:
        raise GraphError(
            f"ConvPool2d: takes x, weight and bias where attrs.residual is False, got {len(inputs)} inputs"
        )
    check_activation("ConvPool2d", attrs, y)
    check_floor("ConvPool2d", attrs, bias is not None and not attrs.residual)
    return y if attrs.pool is None else MAX_POOL.infer_types(attrs.pool, [y])[0]


def _check_residual(attrs: ConvPoolAttrs, y: TensorType, residual: TensorType | None) -> None:
    if attrs.pool is not None:
        raise GraphError("ConvPool2d: a residual is added without pooling; pool after it with MaxPool2d")
    if residual is None or not residual.same_value(y):
        raise ShapeError(f"ConvPool2d: the residual must be {y}, got {residual}")


def _decompose(attrs: ConvPoolAttrs, *inputs: Any) -> Any:
    bias, residual = bias_and_residual(attrs, inputs)
    if attrs.floor:
        y = apply(MAXIMUM, NoAttrs(), apply(CONV, attrs.conv, *inputs[:2]), inputs[2].reshape(-1, 1, 1))
    else:
        y = apply(CONV, attrs.conv, *inputs[:2], *([] if bias is None else [bias]))
    if residual is not None:
        y = y + residual
    activation = activation_op(attrs)
    if activation is not None:
        y = apply(activation, attrs.activation_attrs, y)
    return y if attrs.pool is None else apply(MAX_POOL, attrs.pool, y)[0]


CONV_POOL = register(
    OpDef("ConvPool2d", _infer, None, _decompose, attrs=ConvPoolAttrs, inputs=("x", "weight", "bias?", "residual?"))
)
