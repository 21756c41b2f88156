"""A linear layer and the activation that follows as one op, made by passes for inference."""

from __future__ import annotations

from ..opdef import AbstractTensor, Attrs, NoAttrs, OpDef, apply, attributes, register
from ..types import TensorType
from .elementwise import MAXIMUM
from .fused_activation import activation_op, check_activation, check_floor
from .linalg import LINEAR


@attributes
class FusedLinearAttrs(Attrs):
    """What follows the product: see :class:`~lucid.graph.ops.fused_activation.Activated`."""

    activation: str | None = None
    activation_attrs: Attrs = NoAttrs()
    floor: bool = False


def _infer(attrs: FusedLinearAttrs, *inputs: TensorType) -> TensorType:
    (y,) = LINEAR.infer_types(NoAttrs(), inputs)
    check_activation("FusedLinear", attrs, y)
    check_floor("FusedLinear", attrs, len(inputs) == 3)
    return y


def _decompose(attrs: FusedLinearAttrs, *inputs: AbstractTensor) -> AbstractTensor:
    if attrs.floor:
        return apply(MAXIMUM, NoAttrs(), apply(LINEAR, NoAttrs(), *inputs[:2]), inputs[2])
    y, activation = apply(LINEAR, NoAttrs(), *inputs), activation_op(attrs)
    return y if activation is None else apply(activation, attrs.activation_attrs, y)


FUSED_LINEAR = register(
    OpDef(
        "FusedLinear", _infer, None, _decompose, attrs=FusedLinearAttrs, inputs=("x", "weight", "bias?"),
        activates=True, family="linear",
    )
)  # fmt: skip
