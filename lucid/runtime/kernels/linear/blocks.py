"""Linear layers: for many rows, a product in pieces (:mod:`..shared.rows`); for one row, workers share the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....base.structs import struct
from ....graph.ir import Node
from ....graph.ops.fused_linear import FUSED_LINEAR
from ....graph.ops.linalg import LINEAR
from ....graph.types import TensorType, is_float
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import FORK, Product, Work
from ...program.emitter import Emitter, Operand
from ..elementwise import intermediate, without_broadcast
from ..shared.cut import pieces
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop
from ..shared.rows import Rows, cuts, multiply_rows, row_runs
from .blocks_views import ColumnViews, bind_columns
from .parts import Matrices, multiply_parts, ways_of
from .products import as_rows, row_major

OUTPUTS_MULTIPLE = 16
"""A worker's share of the outputs is a multiple of this: a 512-bit vector in single precision."""


def _rows(node: Node, inputs: Sequence[Any]) -> Rows:
    (*rows, depth), (outputs, _) = inputs[0].shape, inputs[1].shape
    return Rows(math.prod(rows), depth, outputs, Epilogue.of(node, inputs).passes)


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    plain = all(t.order is None for t in (*inputs, *node.outputs))
    return plain and is_float(inputs[0].dtype) and Epilogue.of(node, inputs).anywhere


def _accepts_rows(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    return _rows(node, inputs).rows != 1 and _accepts(node, inputs)


def _accepts_row(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    return _rows(node, inputs).rows == 1 and _accepts(node, inputs)


def _ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    p, itemsize = _rows(node, inputs), inputs[0].dtype.itemsize
    around = Work(calls=3)  # the loops, and the copy of the result
    return [Way(around + work, cut) for cut, work in cuts(p, row_runs(p, itemsize, threads), itemsize, threads).items()]


@kernel(LINEAR, FUSED_LINEAR, lowering="blocks", accepts=_accepts_rows, ways=_ways, staged=True, packs_weights=True)
def linear_blocks(k: Emitter) -> None:
    """Multiply by weights that are packed as panels, add the bias, activate."""
    p = _rows(k.node, k.ins)
    k.stage()
    (y,), (x, _, *bias) = k.outs, k.ins
    result = k.target(y, (p.rows, p.outputs), "rows")
    if p.rows and p.outputs:
        rows = k.reshaped(x, (p.rows, p.depth), "pixels")
        multiply_rows(BlockLoop(k, k.way.pieces), p, rows, result, bias[0] if bias else None)


def _whole_work(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    p, itemsize = _rows(node, inputs), inputs[0].dtype.itemsize
    if p.rows == 1:
        return _row_work(p, p.outputs, itemsize)
    return _product_work(p, itemsize, p.rows, p.outputs)


def _product_work(p: Rows, itemsize: int, rows: int, outputs: int) -> Work:
    """The work of computing some outputs of some rows."""
    multiply = Product(rows, p.depth, outputs, itemsize, packed=True, resident=True)
    copies = 1 if outputs == p.outputs else 3  # NumPy copies results with gaps to a buffer and back
    return Work((multiply,), near=2 * copies * p.passes * rows * outputs * itemsize, calls=3)


def _row_work(p: Rows, outputs: int, itemsize: int) -> Work:
    """The work of computing some outputs of one row: the time to read the weights, which is half that of a copy."""
    weights, all_weights = p.depth * outputs * itemsize, p.depth * p.outputs * itemsize
    read = Work(near=weights / 2) if all_weights <= 2 * this_machine().l2 else Work(far=weights)
    return read + Work(near=2 * p.passes * outputs * itemsize, calls=3)


def _runs(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    return Epilogue.of(node, inputs).runs


@kernel(LINEAR, FUSED_LINEAR, accepts=_runs, cost=_whole_work)
def linear_whole(k: Emitter) -> None:
    """One product, the bias, the activation, each for all rows at once."""
    (y,), epilogue = k.outs, Epilogue.of(k.node, k.ins)
    linear = y
    if epilogue.activation is not None:
        linear = intermediate(k, y) if epilogue.in_place else k.scratch(y.shape, y.dtype, "made")
    _multiply(k, linear, epilogue.combine)
    activation = epilogue.activate(k, y.dtype, y.shape, str(linear), str(y), y.contiguous and y.type.order is None)
    if activation is not None:
        activation.write(k)


def _multiply(k: Emitter, y: Operand, combine: str) -> None:
    """Write the product to ``y``, and combine it with the bias by the NumPy function of this name."""
    x, weight, *bias = k.ins
    target = row_major(k, y)
    rows = as_rows(k, target, "rows")
    transposed = k.permuted(weight, (1, 0))
    product = intermediate(k, rows) if bias else rows
    k.call(f"{as_rows(k, x, 'x')}.dot({transposed}", product)
    if bias:
        k.line(f"{combine}({product}, {without_broadcast(k, bias[0], rows)}, out={rows})")
    if target is not y:
        k.line(f"{y}[...] = {target}")


def _part_ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    p, itemsize = _rows(node, inputs), inputs[0].dtype.itemsize
    return ways_of(
        Matrices((p.rows, p.outputs), p.depth, itemsize), threads, lambda shape: _product_work(p, itemsize, *shape)
    )


@kernel(LINEAR, FUSED_LINEAR, lowering="parts", accepts=_accepts_rows, ways=_part_ways, staged=True)
def linear_parts(k: Emitter) -> None:
    """Workers share the rows or the outputs, and read the weights in place."""
    k.stage()
    (y,), (x, weight, *bias), p = k.outs, k.ins, _rows(k.node, k.ins)
    rows, result = k.reshaped(x, (p.rows, p.depth), "pixels"), k.target(y, (p.rows, p.outputs), "rows")
    multiply_parts(k, rows, k.permuted(weight, (1, 0)), result, bias[0] if bias else None)


@struct(frozen=True)
class ColumnCut:
    """How the work is cut: the outputs of each worker."""

    ranges: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"{self.ranges[0][1] if self.ranges else 0} outputs"


def _row_ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    p, ways = _rows(node, inputs), []
    for workers in {1, threads}:
        share = -(-p.outputs // (workers * OUTPUTS_MULTIPLE)) * OUTPUTS_MULTIPLE
        around = FORK if workers > 1 else Work(calls=1)  # handing out the work, or a loop
        cut = ColumnCut(tuple(pieces(p.outputs, share)))
        ways.append(Way(around + _row_work(p, share, inputs[0].dtype.itemsize), cut))
    return ways


@kernel(LINEAR, FUSED_LINEAR, lowering="columns", accepts=_accepts_row, ways=_row_ways, staged=True, packs_weights=True)
def linear_columns(k: Emitter) -> None:
    """Each worker multiplies the row by the weights of some outputs, which it reads in place."""
    (y,), (x, weight, *rest), p = k.outs, k.ins, _rows(k.node, k.ins)
    epilogue = Epilogue.of(k.node, k.ins)
    row, out = k.reshaped(x, (1, p.depth), "row"), k.target(y, (1, p.outputs))
    bias = k.reshaped(rest[0], (1, p.outputs), "shift") if rest else None
    if not k.way.ranges:
        return
    loop = BlockLoop(k, [[outputs] for outputs in k.way.ranges])
    s = loop.parts(loop.bind("shares", bind_columns, loop.blocks, row, weight, bias, out), ColumnViews)
    loop.line(
        f"{s.row}.dot({s.weights}, out={s.result})",
        *epilogue.terms(s.result, None if bias is None else s.bias),
        *epilogue.activation_lines(loop, s.result, y.shape),
    )
    loop.emit()
