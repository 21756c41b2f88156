"""Convolution, bias, activation and max pooling as one op, made by a pass: the un-pooled output never exists whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import GraphError
from ..opdef import Attrs, NoAttrs, OpDef, apply, find_op, register
from ..types import TensorType
from .conv import CONV, ConvAttrs
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
    """

    conv: ConvAttrs = ConvAttrs()
    activation: str | None = None
    activation_attrs: Attrs = NoAttrs()
    pool: MaxPoolAttrs | None = None


def activation_op(attrs: ConvPoolAttrs) -> OpDef | None:
    """The activation's definition."""
    if attrs.activation is None:
        return None
    op = find_op(attrs.activation)
    if not op.elementwise or op.inputs != ("x",):
        raise GraphError(f"ConvPool2d: {op.name} is no unary element-wise op")
    return op


def _infer(attrs: ConvPoolAttrs, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    (y,) = CONV.infer_types(attrs.conv, [x, w] if b is None else [x, w, b])
    activation = activation_op(attrs)
    if activation is not None:
        (activated,) = activation.infer_types(attrs.activation_attrs, [y])
        if activated.dtype != y.dtype:
            raise GraphError(f"ConvPool2d: {activation.name} changes the element type, so it cannot be fused")
    return y if attrs.pool is None else MAX_POOL.infer_types(attrs.pool, [y])[0]


def _decompose(attrs: ConvPoolAttrs, *inputs: Any) -> Any:
    y = apply(CONV, attrs.conv, *inputs)
    activation = activation_op(attrs)
    if activation is not None:
        y = apply(activation, attrs.activation_attrs, y)
    return y if attrs.pool is None else apply(MAX_POOL, attrs.pool, y)[0]


CONV_POOL = register(
    OpDef("ConvPool2d", _infer, None, _decompose, attrs=ConvPoolAttrs, inputs=("x", "weight", "bias?"))
)
