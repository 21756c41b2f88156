"""Convolution, bias, residual, activation and max pooling as a single op, which passes create by fusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ...errors import GraphError, ShapeError
from ..opdef import AbstractTensor, Attrs, NoAttrs, OpDef, apply, apply_all, attributes, register
from ..types import TensorType
from .conv import CONV, ConvAttrs
from .elementwise import MAXIMUM
from .fused_activation import activation_op, check_activation, check_floor
from .pool import MAX_POOL, MaxPoolAttrs

SIMPLE = (None, "Relu", "Clip")
"""Activations that may run in place on any part of a result."""


@attributes
class ConvPoolAttrs(Attrs):
    """The operations, in this order.

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
        Whether the third input is not a bias, but a lower bound of the elements for each channel. Then there is neither
        a residual nor an activation.
    filled
        Whether the op's last input is the value of the padding, a number for each channel of x. Then the convolution is
        depthwise, with a third input and without residual and pooling, and the activation is one of ``SIMPLE``.
    """

    conv: ConvAttrs = ConvAttrs()
    activation: str | None = None
    activation_attrs: Attrs = NoAttrs()
    pool: MaxPoolAttrs | None = None
    residual: bool = False
    floor: bool = False
    filled: bool = False

    @property
    def exact(self) -> bool:
        return self.conv.exact


V = TypeVar("V")


def as_fused(attrs: Attrs) -> ConvPoolAttrs:
    """The attributes of a plain or fused convolution as those of a fused one."""
    if isinstance(attrs, ConvPoolAttrs):
        return attrs
    assert isinstance(attrs, ConvAttrs)
    return ConvPoolAttrs(attrs)


def bias_and_residual(attrs: Attrs, inputs: Sequence[V]) -> tuple[V | None, V | None]:
    """The third input and the residual of a plain or fused convolution; None if there is none."""
    rest = list(inputs[2:])
    if rest and isinstance(attrs, ConvPoolAttrs) and attrs.filled:
        rest.pop()
    residual = rest.pop() if rest and isinstance(attrs, ConvPoolAttrs) and attrs.residual else None
    return (rest[0] if rest else None), residual


def _infer(attrs: ConvPoolAttrs, *inputs: TensorType) -> TensorType:
    bias, residual = bias_and_residual(attrs, inputs)
    (y,) = CONV.infer_types(attrs.conv, [*inputs[:2], *([] if bias is None else [bias])])
    if attrs.filled:
        _check_fill(attrs, inputs)
    if attrs.residual:
        _check_residual(attrs, y, residual)
    elif len(inputs) > 3 + attrs.filled:
        raise GraphError(
            f"ConvPool2d: takes x, weight and bias where attrs.residual is False, got {len(inputs)} inputs"
        )
    check_activation("ConvPool2d", attrs, y)
    check_floor("ConvPool2d", attrs, bias is not None and not attrs.residual)
    return y if attrs.pool is None else MAX_POOL.infer_types(attrs.pool, [y])[0]


def _check_fill(attrs: ConvPoolAttrs, inputs: Sequence[TensorType]) -> None:
    x, fill = inputs[0], inputs[-1]
    alone = not attrs.residual and attrs.pool is None and attrs.activation in SIMPLE and len(inputs) == 4
    if not alone or attrs.conv.groups == 1 or attrs.conv.groups != x.shape[1]:
        raise GraphError(
            "ConvPool2d: only what has a depthwise convolution, a bias and no more can have filled padding"
        )
    if fill.shape != (x.shape[1],) or fill.dtype != x.dtype:
        raise ShapeError(f"ConvPool2d: what the padding holds must be {x.dtype.name}[{x.shape[1]}], got {fill}")


def _check_residual(attrs: ConvPoolAttrs, y: TensorType, residual: TensorType | None) -> None:
    if attrs.pool is not None:
        raise GraphError("ConvPool2d: a residual is added without pooling; pool after it with MaxPool2d")
    if residual is None or not residual.same_value(y):
        raise ShapeError(f"ConvPool2d: the residual must be {y}, got {residual}")


def _decompose(attrs: ConvPoolAttrs, *inputs: AbstractTensor) -> AbstractTensor:
    bias, residual = bias_and_residual(attrs, inputs)
    x, w = inputs[:2]
    if attrs.filled:
        y = _filled(attrs, x, w, inputs[-1])
        y = y if attrs.floor else y + inputs[2].reshape(-1, 1, 1)
    else:
        y = apply(CONV, attrs.conv, x, w, *([] if bias is None or attrs.floor else [bias]))
    if attrs.floor:
        y = apply(MAXIMUM, NoAttrs(), y, inputs[2].reshape(-1, 1, 1))
    if residual is not None:
        y = y + residual
    activation = activation_op(attrs)
    if activation is not None:
        y = apply(activation, attrs.activation_attrs, y)
    return y if attrs.pool is None else apply_all(MAX_POOL, attrs.pool, y)[0]


def _filled(attrs: ConvPoolAttrs, x: AbstractTensor, w: AbstractTensor, fill: AbstractTensor) -> AbstractTensor:
    """A depthwise convolution with padding values: that of x minus these, plus that of these everywhere."""
    rest = apply(CONV, attrs.conv, x - fill.reshape(-1, 1, 1), w)
    outputs, channels = w.type.shape[0], fill.type.shape[0]
    everywhere = w.sum((1, 2, 3)).reshape(channels, outputs // channels) * fill.reshape(channels, 1)
    return rest + everywhere.reshape(outputs, 1, 1)


CONV_POOL = register(
    OpDef(
        "ConvPool2d", _infer, None, _decompose, attrs=ConvPoolAttrs,
        inputs=("x", "weight", "bias?", "residual?", "fill?"),
        activates=True, convolution=True, windowed=True, channels_last=True, family="conv",
    )
)  # fmt: skip
