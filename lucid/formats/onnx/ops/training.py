"""Optimisers of ONNX's training preview: one step for several tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops.composite import gt
from ....graph.ops.elementwise import pow_, sqrt, where
from ....graph.ops.promotion import cast
from ..registry import Call, Value, converter

TRAINING = "ai.onnx.preview.training"
Step = Callable[..., Sequence[AbstractTensor]]


def _each(call: Call, given: Sequence[Value], states: int, step: Step) -> list[AbstractTensor]:
    """``step(rate, turn, x, gradient, *states)`` for each tensor; results are grouped by kind, like the inputs."""
    rate, turn, *rest = call.tensors(*given)
    count, more = divmod(len(rest), 2 + states)
    if more or not count:
        raise GraphError(f"takes a tensor, its gradient and {states} states for each, and got {len(rest)}")
    columns = [rest[i::count] for i in range(count)]
    made = [step(rate, turn, x, call.attribute("norm_coefficient", 0.0) * x + dx, *kept) for x, dx, *kept in columns]
    return [one for kind in zip(*made, strict=True) for one in kind]


@converter("Momentum", domain=TRAINING)
def momentum(call: Call, *given: Value) -> list[AbstractTensor]:
    alpha, beta, mode = call.required("alpha"), call.required("beta"), call.attribute("mode", "standard")
    if mode not in ("standard", "nesterov"):
        raise GraphError(f"unknown mode {mode!r}")

    def step(r: AbstractTensor, t: AbstractTensor, x: AbstractTensor, g: AbstractTensor, v: AbstractTensor) -> Sequence[
        AbstractTensor
    ]:  # fmt: skip
        new = alpha * v + cast(where(gt(t, 0), beta, 1.0), x.type.dtype) * g
        return x - r * (g + alpha * new if mode == "nesterov" else new), new

    return _each(call, given, 1, step)


@converter("Adagrad", domain=TRAINING)
def adagrad(call: Call, *given: Value) -> list[AbstractTensor]:
    decay, eps = call.attribute("decay_factor", 0.0), call.attribute("epsilon", 0.0)

    def step(r: AbstractTensor, t: AbstractTensor, x: AbstractTensor, g: AbstractTensor, h: AbstractTensor) -> Sequence[
        AbstractTensor
    ]:  # fmt: skip
        squares = h + g * g
        return x - r / (1.0 + cast(t, x.type.dtype) * decay) * g / (sqrt(squares) + eps), squares

    return _each(call, given, 1, step)


@converter("Adam", domain=TRAINING)
def adam(call: Call, *given: Value) -> list[AbstractTensor]:
    alpha, beta = call.attribute("alpha", 0.9), call.attribute("beta", 0.999)
    eps, after = call.attribute("epsilon", 0.0), call.attribute("norm_coefficient_post", 0.0)

    def step(
        r: AbstractTensor, t: AbstractTensor, x: AbstractTensor, g: AbstractTensor, v: AbstractTensor,
        h: AbstractTensor,
    ) -> Sequence[AbstractTensor]:  # fmt: skip
        mean, squares = alpha * v + (1 - alpha) * g, beta * h + (1 - beta) * g * g
        turns = cast(t, x.type.dtype)
        begun = where(gt(turns, 0), turns, 1.0)
        corrected = r * sqrt(1.0 - pow_(beta, begun)) / (1.0 - pow_(alpha, begun))
        rate = where(gt(turns, 0), corrected, r)
        return (1 - after) * (x - rate * (mean / (sqrt(squares) + eps))), mean, squares

    return _each(call, given, 2, step)


@converter("Gradient", domain=TRAINING)
def gradient(call: Call, *given: Value) -> Sequence[Value]:
    """The gradient of the sum of a value with respect to ``xs``, on which (with ``zs``) alone it is taken to depend."""
    xs, zs = list(call.required("xs")), list(call.attribute("zs") or ())
    if len(given) != len(xs) + len(zs) or not xs:
        raise GraphError(f"it is given {len(given)} inputs for {len(xs)} xs and {len(zs)} zs")
    assert call.slopes is not None  # a node that is run has it
    return call.slopes(call, call.required("y"), [*xs, *zs], given, len(xs))
