"""Linear layers. By blocks: the rows are the pixels of a 1x1 convolution. Of one row: workers share the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....graph.ir import Node
from ....graph.ops.fused_linear import FUSED_LINEAR, FusedLinearAttrs
from ....graph.types import TensorType, is_float
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import FORK, Product, Work
from ...program.emitter import Emitter, Operand
from ..conv.pointwise import Pointwise, emit_pixels, ways_of
from ..shared.activation import acts_anywhere, combining, has_activation, write_activation, zero_row
from ..shared.windows import bind, over_blocks, pieces
from .products import emit_linear

VECTOR = 16
"""Outputs of a share are a multiple of so many."""


def _numbers(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...]) -> Pointwise:
    x, w = inputs[0].concrete, inputs[1].concrete
    passes = len(inputs) - 2 + (node.attrs.activation is not None)
    return Pointwise(math.prod(x[:-1]), 1, 1, w[1], w[0], (1, 1), passes)


def _accepts(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...]) -> bool:
    plain = all(t.order is None for t in (*inputs, *node.outputs))
    return plain and is_float(inputs[0].dtype) and acts_anywhere(node)


def _accepts_rows(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return _numbers(node, inputs).pixels != 1 and _accepts(node, inputs)


def _accepts_row(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return _numbers(node, inputs).pixels == 1 and _accepts(node, inputs)


def _ways(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    around = 3 * this_machine().call  # the loops, and the copy of a result
    return [
        Way(around + way.seconds, way.block)
        for way in ways_of(_numbers(node, inputs), inputs[0].dtype.itemsize, threads)
    ]


@kernel(FUSED_LINEAR, lowering="blocks", accepts=_accepts_rows, ways=_ways, staged=True)
def linear_blocks(k: Emitter) -> None:
    """Multiply, add the bias, activate; the weights are kept as panels."""
    p = _numbers(k.node, tuple(x.type for x in k.ins))
    k.stage()
    (y,) = k.outs
    rows = k.target(y, (p.pixels, p.outputs), "rows")
    emit_pixels(k, p, rows, k.ins[2] if len(k.ins) > 2 else None, None, True)


def _whole_work(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    p, itemsize = _numbers(node, inputs), inputs[0].dtype.itemsize
    if p.pixels == 1:
        return _row_work(p, p.outputs, itemsize)
    multiply = Product(p.pixels, p.channels, p.outputs, itemsize, packed=True, resident=True)
    return Work((multiply,), near=2 * p.passes * p.pixels * p.outputs * itemsize, calls=3)


def _row_work(p: Pointwise, outputs: int, itemsize: int) -> Work:
    """Some outputs of one row: it takes as long as to read the weights, half of copying them."""
    weights, all_weights = p.channels * outputs * itemsize, p.channels * p.outputs * itemsize
    read = Work(near=weights / 2) if all_weights <= 2 * this_machine().l2 else Work(far=weights)
    return read + Work(near=2 * p.passes * outputs * itemsize, calls=3)


def _zeros(y: Operand) -> Any:
    """Zeros to compare with: a row, or the shape itself where that is no more, which NumPy need not broadcast."""
    row = zero_row(y.dtype, y.shape[-1])
    return row.reshape(y.shape) if math.prod(y.shape[:-1]) == 1 else row


@kernel(FUSED_LINEAR, accepts=has_activation, cost=_whole_work)
def linear_whole(k: Emitter) -> None:
    """One product, the bias, the activation."""
    (y,) = k.outs
    made = y if acts_anywhere(k.node) else k.scratch(y.shape, y.dtype, "made")
    emit_linear(k, made, combining(k))
    zeros = k.use(_zeros(y), "zeros") if y.type.order is None and y.type.rank > 0 else None
    activation = write_activation(k, y.dtype, y.shape, str(made), str(y), zeros)
    if activation is not None:
        k.buffers.extend(activation.buffers)
        k.take(activation.statements)


@dataclass(frozen=True)
class Shares:
    """The outputs of each worker."""

    ranges: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"{self.ranges[0][1] if self.ranges else 0} outputs"


def _row_ways(node: Node[FusedLinearAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    p, ways = _numbers(node, inputs), []
    for workers in {1, threads}:
        share = -(-p.outputs // (workers * VECTOR)) * VECTOR
        around = FORK if workers > 1 else Work(calls=1)  # what hands out the work, or the loop
        ranges = Shares(tuple(pieces(p.outputs, share)))
        ways.append(Way(around + _row_work(p, share, inputs[0].dtype.itemsize), ranges))
    return ways


def bind_row(ranges: Any, x: Any, weight: Any, bias: Any, zeros: Any, out: Any) -> list[list[Any]]:
    """For each worker the row, its weights, bias and zeros, and its part of the result."""
    return [[(x, weight[a:b].T, None if bias is None else bias[:, a:b], zeros[:, a:b], out[:, a:b])] for a, b in ranges]


@kernel(FUSED_LINEAR, lowering="columns", accepts=_accepts_row, ways=_row_ways, staged=True)
def linear_columns(k: Emitter) -> None:
    """Each worker multiplies the row with the weights of some outputs, as these lie."""
    (y,) = k.outs
    x, weight, *rest = k.ins
    p, ranges = _numbers(k.node, tuple(operand.type for operand in k.ins)), k.way.ranges
    row, out = k.reshaped(x, (1, p.channels), "row"), k.target(y, (1, p.outputs))
    bias = k.reshaped(rest[0], (1, p.outputs), "shift") if rest else None
    zeros = k.use(np.zeros((1, p.outputs), y.dtype), "zeros")
    reads = [operand for operand in (row, weight, bias, out) if operand is not None]
    views = bind(k, "shares", f"{k.use(bind_row)}({ranges}, {row}, {weight}, {bias}, {zeros}, {out})", *reads)
    source, weights, shift, zero, made = (k.names.fresh(n) for n in ("row", "weights", "shift", "zero", "made"))
    body = [f"{source}.dot({weights}, out={made})"]
    if rest:
        body.append(f"{combining(k)}({made}, {shift}, out={made})")
    activation = write_activation(k, y.dtype, y.shape, made, made, zero)
    body.extend(activation.lines if activation is not None else ())
    over_blocks(k, len(ranges), [f"({source}, {weights}, {shift}, {zero}, {made})"], [views], body)
