"""``Call``: a Python callee as one op, with a gradient that is a ``Call`` too.

Eager code records it for calls of compiled functions and of ``autograd.Function``, and for gradient hooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..opdef import Attrs, GradContext, Gradients, OpDef, apply, attributes, register
from ..types import TensorType


class Callee(Protocol):
    """What a ``Call`` node calls."""

    name: str
    """What it is, for messages."""

    results: int
    """How many of its outputs, from the first, may have a gradient; the others are values kept for ``backward``."""

    def output_types(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        """Types of the outputs for inputs of these types."""

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Run on arrays."""

    def backward(self, used: tuple[bool, ...]) -> BackwardCallee:
        """The gradient if only the ``used`` results have a cotangent."""


class BackwardCallee(Callee, Protocol):
    """Takes the cotangents of the used results, and those inputs and outputs that it reads; returns the gradients."""

    reached: tuple[bool, ...]
    """For each input of the call, whether a gradient reaches it."""

    reads: tuple[bool, ...]
    """For each input of the call, then each output, whether its value is needed."""


@attributes
class CallAttrs(Attrs):
    callee: Callee


def _infer(attrs: CallAttrs, *inputs: TensorType) -> tuple[TensorType, ...]:
    return attrs.callee.output_types(inputs)


def _gradient(c: GradContext[CallAttrs]) -> Gradients:
    callee: Callee = c.attrs.callee
    cotangents = c.cotangents[: callee.results]
    backward = callee.backward(tuple(dy is not None for dy in cotangents))
    if not any(backward.reached):
        return [None] * len(c.inputs)
    given = [dy for dy in cotangents if dy is not None]
    given += [value for value, read in zip((*c.inputs, *c.outputs), backward.reads, strict=True) if read]
    gradients = apply(CALL, CallAttrs(backward), *given)
    found = iter(gradients if isinstance(gradients, tuple) else (gradients,))
    return [next(found) if reached else None for reached in backward.reached]


CALL = register(OpDef("Call", _infer, _gradient, attrs=CallAttrs, inputs=("*tensors",), outputs=None, pure=False))
