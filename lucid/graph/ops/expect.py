"""A value that requires a condition, which is checked when a program runs."""

from __future__ import annotations

from ...errors import ShapeError
from ..batching import Batch, Outputs
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, T, apply, attributes, register
from ..types import TensorType, bool_


@attributes
class ExpectAttrs(Attrs):
    """The required value of the condition, and the error message."""

    value: bool
    message: str


def _infer(attrs: ExpectAttrs, x: TensorType, condition: TensorType) -> TensorType:
    if condition.shape != () or condition.dtype != bool_:
        raise ShapeError(f"Expect: the condition is one bool, got {condition}")
    return TensorType(x.shape, x.dtype)


def _gradient(c: GradContext[ExpectAttrs]) -> Gradients:
    return [c.dy, None]


def _batch(batch: Batch[ExpectAttrs]) -> Outputs:
    """Of a batch of conditions none may be otherwise."""
    if not batch.batched[1]:
        return batch.apply(batch.attrs, *batch.inputs)
    wrong = ~batch.inputs[1] if batch.attrs.value else batch.inputs[1]
    return batch.apply(ExpectAttrs(True, batch.attrs.message), batch.whole(0), wrong.sum() == 0)


#: Its first input; running it raises where the condition is not as expected.
EXPECT = register(
    OpDef(
        "Expect",
        _infer,
        _gradient,
        attrs=ExpectAttrs,
        inputs=("x", "condition"),
        batch=_batch,
        view=True,
        family="other",
    )
)


def expect(x: T, condition: AbstractTensor, value: bool, message: str) -> T:
    """``x``; raises an error with ``message`` when the program runs if the condition is not ``value``."""
    checked: T = apply(EXPECT, ExpectAttrs(value, message), x, condition)
    return checked
