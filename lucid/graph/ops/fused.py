"""Several element-wise ops as one: a small program that runs on a block of elements at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import GraphError
from ..opdef import AbstractTensor, Attrs, OpDef, apply, attributes, find_op, register
from ..types import TensorType


@attributes
class Instruction(Attrs):
    """One element-wise op. Operand ``i`` is input ``i`` of the node, or, from ``inputs`` on, an earlier result."""

    op: str
    attrs: Attrs
    operands: tuple[int, ...]


@attributes
class FusedAttrs(Attrs):
    """``program`` runs from first to last; the last result is the node's output."""

    inputs: int
    program: tuple[Instruction, ...]


def instruction_types(attrs: FusedAttrs, inputs: Sequence[TensorType]) -> list[TensorType]:
    """Types of the inputs, then of every instruction's result."""
    if len(inputs) != attrs.inputs or not attrs.program:
        raise GraphError(f"FusedElementwise: a program of {attrs.inputs} inputs got {len(inputs)}")
    types = [x.with_order(None) for x in inputs]
    for number, step in enumerate(attrs.program):
        op = find_op(step.op)
        if not op.elementwise or not op.pure:
            raise GraphError(f"FusedElementwise: {op.name} is not a pure element-wise op")
        if any(not 0 <= i < len(types) for i in step.operands):
            raise GraphError(f"FusedElementwise: instruction {number} ({op.name}) reads what is not there yet")
        types += op.infer_types(step.attrs, [types[i] for i in step.operands])
    return types


def _infer(attrs: FusedAttrs, *inputs: TensorType) -> TensorType:
    return instruction_types(attrs, inputs)[-1]


def _decompose(attrs: FusedAttrs, *inputs: AbstractTensor) -> AbstractTensor:
    values = list(inputs)
    for step in attrs.program:
        values.append(apply(find_op(step.op), step.attrs, *(values[i] for i in step.operands)))
    return values[-1]


FUSED_ELEMENTWISE = register(
    OpDef("FusedElementwise", _infer, None, _decompose, FusedAttrs, inputs=("*tensors",), elementwise=True)
)
