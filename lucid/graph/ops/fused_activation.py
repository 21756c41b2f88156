"""The activation at the end of a fused op: any unary element-wise op, by name."""

from __future__ import annotations

from typing import Protocol

from ...errors import GraphError
from ..opdef import Attrs, OpDef, find_op
from ..types import TensorType


class Activated(Protocol):
    """Attributes of an op with an activation.

    Attributes
    ----------
    activation
        Name of a unary element-wise op, or None.
    activation_attrs
        Its attributes.
    floor
        Whether the third input is the least that a result may be, instead of a bias; there is no activation then.
    """

    @property
    def floor(self) -> bool: ...

    @property
    def activation(self) -> str | None: ...

    @property
    def activation_attrs(self) -> Attrs: ...


def activation_op(attrs: Activated) -> OpDef | None:
    """The activation's definition."""
    if attrs.activation is None:
        return None
    op = find_op(attrs.activation)
    if not op.elementwise or op.inputs != ("x",):
        raise GraphError(f"{op.name} is no activation: it is not a unary element-wise op")
    return op


def check_activation(name: str, attrs: Activated, y: TensorType) -> None:
    """Raise where the op called ``name`` cannot end with this activation."""
    op = activation_op(attrs)
    if op is not None:
        (activated,) = op.infer_types(attrs.activation_attrs, [y])
        if activated.dtype != y.dtype:
            raise GraphError(f"{name}: {op.name} changes the element type, so it cannot be fused")


def check_floor(name: str, attrs: Activated, possible: bool) -> None:
    """Raise where the op called ``name`` cannot have a floor."""
    if attrs.floor and (not possible or attrs.activation is not None):
        raise GraphError(f"{name}: a floor stands in the place of a bias, and needs neither activation nor residual")
