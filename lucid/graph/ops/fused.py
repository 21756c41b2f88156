"""Several element-wise ops as one: a small program that runs on one block of elements at a time.

``FusedElementwise`` has one result. ``FusedLoop`` has several, which may also be sums or means over axes, accumulated
while a block is in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import GraphError
from ..ir import Node
from ..opdef import AbstractTensor, Attrs, NoAttrs, OpDef, apply, attributes, find_op, register
from ..types import TensorType, format_shape
from .reduce import MEAN, SUM


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


@attributes
class Result(Attrs):
    """A result of a loop: a value (numbered like operands), or its ``Sum`` or ``Mean``."""

    value: int
    op: str = ""
    attrs: Attrs = NoAttrs()


@attributes
class LoopAttrs(FusedAttrs):
    """``results`` refer to values of the same shape; the program may be empty."""

    results: tuple[Result, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether no result is a sum or mean."""
        return not any(result.op for result in self.results)


def instruction_types(attrs: FusedAttrs, inputs: Sequence[TensorType]) -> list[TensorType]:
    """Types of the inputs, then of every instruction's result."""
    if len(inputs) != attrs.inputs:
        raise GraphError(f"a program of {attrs.inputs} inputs got {len(inputs)}")
    types = [x.with_order(None) for x in inputs]
    for number, step in enumerate(attrs.program):
        op = find_op(step.op)
        if not op.elementwise or not op.pure:
            raise GraphError(f"a fused program: {op.name} is not a pure element-wise op")
        if any(not 0 <= i < len(types) for i in step.operands):
            raise GraphError(f"a fused program: instruction {number} ({op.name}) reads what is not there yet")
        types += op.infer_types(step.attrs, [types[i] for i in step.operands])
    return types


def loop_type(attrs: LoopAttrs, inputs: Sequence[TensorType]) -> TensorType:
    """Type of the values to which a loop's results refer."""
    return instruction_types(attrs, inputs)[attrs.results[0].value]


def _infer(attrs: FusedAttrs, *inputs: TensorType) -> TensorType:
    if not attrs.program:
        raise GraphError("FusedElementwise: its program is empty")
    return instruction_types(attrs, inputs)[-1]


def _infer_loop(attrs: LoopAttrs, *inputs: TensorType) -> tuple[TensorType, ...]:
    types = instruction_types(attrs, inputs)
    if not attrs.results or any(not 0 <= result.value < len(types) for result in attrs.results):
        raise GraphError("FusedLoop: a result is of no value of its program, or there is none")
    whole = [result.value for result in attrs.results if not result.op]
    if len(set(whole)) < len(whole) or any(value < attrs.inputs for value in whole):
        raise GraphError("FusedLoop: it gives a value once, and none of those that it is given")
    if any(result.op not in _REDUCTIONS for result in attrs.results if result.op):
        raise GraphError(f"FusedLoop: what is added up is so by {' or '.join(_REDUCTIONS)}")
    of = [types[result.value] for result in attrs.results]
    if any(t.shape != of[0].shape for t in of):
        shapes = " and ".join(dict.fromkeys(format_shape(t.shape) for t in of))
        raise GraphError(f"FusedLoop: its results are of values of the shapes {shapes}, and one loop has one")
    made = (
        _REDUCTIONS[result.op].infer_types(result.attrs, (type_,))[0] if result.op else type_
        for result, type_ in zip(attrs.results, of, strict=True)
    )
    return tuple(made)


def _values(attrs: FusedAttrs, inputs: Sequence[AbstractTensor]) -> list[AbstractTensor]:
    values = list(inputs)
    for step in attrs.program:
        values.append(apply(find_op(step.op), step.attrs, *(values[i] for i in step.operands)))
    return values


def _decompose(attrs: FusedAttrs, *inputs: AbstractTensor) -> AbstractTensor:
    return _values(attrs, inputs)[-1]


def _decompose_loop(attrs: LoopAttrs, *inputs: AbstractTensor) -> tuple[AbstractTensor, ...]:
    values = _values(attrs, inputs)
    return tuple(
        apply(_REDUCTIONS[result.op], result.attrs, values[result.value]) if result.op else values[result.value]
        for result in attrs.results
    )


_REDUCTIONS = {op.name: op for op in (SUM, MEAN)}


FUSED_ELEMENTWISE = register(
    OpDef("FusedElementwise", _infer, None, _decompose, FusedAttrs, inputs=("*tensors",), elementwise=True)
)

FUSED_LOOP = register(
    OpDef(
        "FusedLoop", _infer_loop, None, _decompose_loop, LoopAttrs, inputs=("*tensors",), outputs=None,
        family="elementwise",
    )
)  # fmt: skip


def adds_up(node: Node) -> bool:
    """Whether the node is a sum or mean that may be a result of a loop."""
    return node.op.name in _REDUCTIONS


def element_by_element(node: Node) -> bool:
    """Whether element i of each result depends on (broadcast) element i of each input only."""
    attrs = node.attrs
    return node.op.elementwise or (isinstance(attrs, LoopAttrs) and attrs.whole)
