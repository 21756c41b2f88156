"""``CustomGradient``: values whose gradient a given region computes, as for a traced ``autograd.Function``."""

from __future__ import annotations

from dataclasses import replace

from ...errors import DTypeError, GradientError, GraphError
from ..batching import Batch, Outputs
from ..opdef import AbstractTensor, GradContext, Gradients, NoAttrs, OpDef, attributes, register
from ..region import Region, RegionAttrs, check_region, inline
from ..types import TensorType, is_float


@attributes
class CustomGradientAttrs(RegionAttrs):
    """The number of values, ``results``, and the region ``backward`` that computes the gradients.

    The operands are the values, then the sources that they were computed from, then the captures of the region. The
    region takes the cotangents of the values, the values, and the captures; it returns a gradient for each source.
    """

    results: int
    backward: Region

    @property
    def handed(self) -> int:
        return 2 * self.results

    @property
    def captures(self) -> int:
        """The position of the first captured operand."""
        return self.results + len(self.backward.graph.outputs)


def _infer(attrs: CustomGradientAttrs, *operands: TensorType) -> tuple[TensorType, ...]:
    values, sources = operands[: attrs.results], operands[attrs.results : attrs.captures]
    if attrs.results < 1 or len(operands) < attrs.captures:
        raise GraphError(f"CustomGradient: {len(operands)} operands are too few for {attrs.results} values")
    for type_ in (*values, *sources):
        if not is_float(type_.dtype):
            raise DTypeError(f"CustomGradient: {type_} has no gradient")
    check_region("CustomGradient", attrs.backward, (*values, *values, *operands[attrs.captures :]))
    for source, found in zip(sources, attrs.backward.graph.output_types, strict=True):
        if not found.same_value(source):
            raise GraphError(f"CustomGradient: its region gives a gradient {found} for {source}")
    return values


def _gradient(c: GradContext[CustomGradientAttrs]) -> Gradients:
    """The region inlined, for the sources; no other operand gets a gradient."""
    first, last = c.attrs.results, c.attrs.captures
    cotangents = [c.cotangent(number) for number in range(first)]
    found = inline(c.attrs.backward, [*cotangents, *c.outputs, *c.inputs[last:]], c.inputs[0])
    return [*[None] * first, *found, *[None] * (len(c.inputs) - last)]


def _decompose(attrs: CustomGradientAttrs, *operands: AbstractTensor) -> tuple[AbstractTensor, ...]:
    return operands[: attrs.results]


def _batch(batch: Batch[CustomGradientAttrs]) -> Outputs:
    """The region of the whole batch; the gradient of a source that all rows share is summed over them."""
    a, last = batch.attrs, batch.attrs.captures
    values, captures = [batch.whole(i) for i in range(last)], batch.inputs[last:]
    given = [*values[: a.results], *values[: a.results], *captures]
    differ = [*(True for _ in range(a.handed)), *batch.batched[last:]]
    backward = batch.region(a.backward, [x.type for x in given], differ, [True] * len(a.backward.graph.outputs))
    return batch.apply(replace(a, backward=backward), *values, *captures)


#: Returns the values as they are; the region computes the gradients of the sources.
CUSTOM_GRADIENT = register(
    OpDef(
        "CustomGradient", _infer, _gradient, _decompose, attrs=CustomGradientAttrs, inputs=("*operands",), outputs=None,
        batch=_batch, regions=True, conventional=True, gradient_only=True, family="gradient",
    )
)  # fmt: skip


def _once(attrs: NoAttrs, gradient: TensorType, *behind: TensorType) -> TensorType:
    return gradient


def _once_batch(batch: Batch[NoAttrs]) -> Outputs:
    return batch.apply(batch.attrs, batch.whole(0), *batch.inputs[1:])


def _refused(c: GradContext) -> Gradients:
    raise GradientError(
        "the backward of a Function is marked @once_differentiable, so its gradients are not differentiated again: "
        "take the mark away if it computes with tensors only"
    )


#: The identity of a gradient that cannot be differentiated further; the other operands are what it was computed from.
ONCE = register(
    OpDef(
        "OnceDifferentiable", _once, _refused, lambda attrs, gradient, *behind: gradient,
        inputs=("gradient", "*behind"), batch=_once_batch, conventional=True, family="gradient",
    )
)  # fmt: skip
