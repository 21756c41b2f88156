"""A whole graph as one op: how eager code calls a compiled function and differentiates through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..opdef import Attrs, GradContext, OpDef, apply, attributes, register
from ..types import TensorType


class Callee(Protocol):
    """What a ``Call`` node calls."""

    results: int
    """How many of its outputs, from the first, have a gradient; the others are values it keeps for ``backward``."""

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        """Types of the outputs for inputs of these types."""

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Run on arrays."""

    @property
    def backward(self) -> Callee:
        """Takes the cotangents of the results, the inputs and the outputs; returns a gradient for every input."""


@attributes
class CallAttrs(Attrs):
    callee: Callee


def _infer(attrs: CallAttrs, *inputs: TensorType) -> tuple[TensorType, ...]:
    return attrs.callee.output_types(inputs)


def _gradient(c: GradContext) -> Sequence[Any]:
    cotangents = [c.cotangent(i) for i in range(c.attrs.callee.results)]
    gradients = apply(CALL, CallAttrs(c.attrs.callee.backward), *cotangents, *c.inputs, *c.outputs)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return [g if wanted else None for g, wanted in zip(gradients, c.wanted, strict=True)]


CALL = register(OpDef("Call", _infer, _gradient, attrs=CallAttrs, inputs=("*tensors",), outputs=None, pure=False))
