"""A linear layer by blocks: its rows are the pixels of a 1x1 convolution."""

from __future__ import annotations

import math

from ...graph.ir import Node
from ...graph.ops.fused_linear import FUSED_LINEAR
from ...graph.types import TensorType, is_float
from ..emitter import Emitter
from ..machine import this_machine
from ..registry import Way, kernel
from .activation import acts_anywhere, has_activation, write_activation, zero_row
from .linalg import emit_linear
from .panels import PACKING
from .pointwise import Pointwise, emit_pixels, ways_of


def _numbers(node: Node, inputs: tuple[TensorType, ...]) -> Pointwise:
    x, w = inputs[0].concrete, inputs[1].concrete
    passes = len(inputs) - 2 + (node.attrs.activation is not None)  # type: ignore[attr-defined]
    return Pointwise(math.prod(x[:-1]), 1, 1, w[1], w[0], (1, 1), passes)


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    plain = all(t.order is None for t in (*inputs, *node.outputs))
    return plain and is_float(inputs[0].dtype) and acts_anywhere(node)


def _ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    around = 3 * this_machine().call  # the loops, and the copy of a result
    return [
        Way(around + way.seconds, way.block)
        for way in ways_of(_numbers(node, inputs), inputs[0].dtype.itemsize, threads)
    ]


@kernel(FUSED_LINEAR, lowering="blocks", accepts=_accepts, ways=_ways, staged=True)
def linear_blocks(k: Emitter) -> None:
    """Multiply, add the bias, activate; the weights are kept as panels."""
    p = _numbers(k.node, tuple(x.type for x in k.ins))
    k.stage()
    (y,) = k.outs
    rows = k.view(y, f"{y}.reshape({p.pixels}, {p.outputs})", (p.pixels, p.outputs), contiguous=True, label="rows")
    emit_pixels(k, p, rows, k.ins[2] if len(k.ins) > 2 else None, None, True)


def _whole_cost(node: Node, inputs: tuple[TensorType, ...], threads: int) -> float:
    machine, p, itemsize = this_machine(), _numbers(node, inputs), inputs[0].dtype.itemsize
    weights = p.channels * p.outputs * itemsize
    packing = PACKING if p.pixels > 1 else 0
    # one row is a sum over the weights as they are read, which takes half of what copying them takes
    read = weights / (2 * machine.near if weights <= 2 * machine.l2 else machine.far)
    multiply = 2.0 * (p.pixels + packing) * p.channels * p.outputs * (itemsize / 4) / machine.flops
    return max(multiply, read) + 2 * p.passes * p.pixels * p.outputs * itemsize / machine.near + 3 * machine.call


@kernel(FUSED_LINEAR, accepts=has_activation, cost=_whole_cost)
def linear_whole(k: Emitter) -> None:
    """One product, the bias, the activation."""
    (y,) = k.outs
    made = y if acts_anywhere(k.node) else k.scratch(y.shape, y.dtype, "made")
    emit_linear(k, made)
    zeros = k.use(zero_row(y.dtype, y.shape[-1]), "zeros") if y.type.order is None and y.type.rank > 0 else None
    activation = write_activation(k, y.dtype, y.shape, str(made), str(y), zeros)
    if activation is not None:
        k.buffers.extend(activation.buffers)
        for line in activation.lines:
            k.line(line)
