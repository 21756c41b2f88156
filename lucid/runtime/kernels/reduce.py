"""Kernels of the reductions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...graph.ir import Node
from ...graph.opdef import OpDef
from ...graph.ops import reduce
from ...graph.types import TensorType, bool_, is_float
from ..planning.registry import kernel
from ..planning.work import Work
from ..program.emitter import Emitter
from .elementwise import scalar
from .shared.row_sums import in_rows, sum_rows

_UFUNCS: dict[OpDef[reduce.ReduceAttrs], str] = {
    reduce.SUM: "add",
    reduce.PROD: "multiply",
    reduce.MAX: "maximum",
    reduce.MIN: "minimum",
}


MOST_SLICES = 8
"""The most numbers per result that are reduced as slices: a line of the program for each."""


def _side_by_side(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether the numbers of one result are adjacent in memory."""
    x, axes = inputs[0], list(node.attrs.axes)
    memory = [axis for axis in x.order or range(x.rank) if x.concrete[axis] > 1]
    return len(axes) == 1 and memory[-1:] == axes


def _along_work(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    """If the numbers of one result are adjacent, NumPy starts a loop for each result, and combines them one by one."""
    if not _side_by_side(node, inputs):
        columns = _columns_of(node, inputs[0]) if _columns(node, inputs) else None
        return Work(calls=1, loops=columns.groups * columns.rows if columns else 0)
    return Work(calls=1, loops=math.prod(node.outputs[0].concrete), apart=math.prod(inputs[0].concrete))


def _few(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return _side_by_side(node, inputs) and inputs[0].concrete[node.attrs.axes[0]] <= MOST_SLICES


def _slices_work(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    steps = inputs[0].concrete[node.attrs.axes[0]] - 1
    return Work(calls=steps, apart=steps * math.prod(node.outputs[0].concrete))


@kernel(reduce.MAX, reduce.MIN, lowering="slices", accepts=_few, cost=_slices_work)
def slices_reduce(k: Emitter[reduce.ReduceAttrs]) -> None:
    """Combine the first number of every result with the second, then with the third, and so on."""
    (x,), (y,), (axis,) = k.ins, k.outs, k.attrs.axes
    lead, name = ":, " * axis, _UFUNCS[k.node.op]
    result = f"{y}[{lead}0, ...]" if k.attrs.keepdims else str(y)
    for i in range(1, x.shape[axis]):
        k.line(f"np.{name}({f'{x}[{lead}0]' if i == 1 else result}, {x}[{lead}{i}], out={result})")


class Columns(NamedTuple):
    """A sum over the columns of one or several tables.

    Attributes
    ----------
    groups
        The number of tables, one after another in memory, each with sums of its own.
    rows, width
        The rows and columns of each table.
    """

    groups: int
    rows: int
    width: int


def _columns_of(node: Node[reduce.ReduceAttrs], x: TensorType) -> Columns | None:
    """The reduction as a sum over columns; None unless its axes are adjacent and the others keep their order."""
    y, axes, sizes = node.outputs[0], node.attrs.axes, x.concrete
    memory = [axis for axis in x.order or range(x.rank) if sizes[axis] != 1]
    added = [place for place, axis in enumerate(memory) if axis in axes]
    if not added or added != list(range(added[0], added[-1] + 1)):
        return None
    before, after = memory[: added[0]], memory[added[-1] + 1 :]
    remaining = [axis for axis in range(x.rank) if node.attrs.keepdims or axis not in axes]
    result = [remaining[axis] for axis in y.order or range(y.rank)]
    if [axis for axis in result if axis in before + after] != before + after:
        return None
    parts = before, memory[added[0] : added[-1] + 1], after
    return Columns(*(math.prod(sizes[axis] for axis in part) for part in parts))


def _columns(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether a product can add up the columns; sums along a row have lowerings of their own."""
    c = _columns_of(node, inputs[0]) if is_float(inputs[0].dtype) else None
    return c is not None and c.rows > MOST_SLICES and (c.groups == 1 or c.width > 1) and math.prod(c) > 0


@kernel(reduce.SUM, reduce.MEAN, lowering="rows", accepts=_columns, exact=False)
def sum_of_rows(k: Emitter[reduce.ReduceAttrs]) -> None:
    """A row of ones (for a mean, of its reciprocal) times the rows: BLAS sums columns many times as fast."""
    (x,), (y,) = k.ins, k.outs
    columns = _columns_of(k.node, x.type)
    assert columns is not None
    groups, rows, width = columns
    factor = 1.0 / rows if k.node.op is reduce.MEAN else 1.0
    row = k.filled((1, rows), x.dtype, k.number(factor), "row")
    permuted = k.permuted(x, x.type.order or tuple(range(x.type.rank)))
    total = k.permuted(y, y.type.order or tuple(range(y.type.rank)))
    function, lead = ("matmul", [groups]) if groups > 1 else ("dot", [])  # dot starts faster, but takes two matrices
    tables, sums = k.reshaped(permuted, [*lead, rows, width], "rows"), k.target(total, [*lead, 1, width], "total")
    k.line(f"np.{function}({row}, {tables}, out={sums})")


@kernel(*_UFUNCS, cost=_along_work)
def ufunc_reduce(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    name = _UFUNCS[k.node.op]
    if getattr(np, name).identity is None:  # an axis of symbolic size may turn out empty
        reduce.check_not_empty(k.name, x.type, a.axes)
    k.line(f"np.{name}.reduce({x}, axis={a.axes}, keepdims={a.keepdims}, out={y})")


@kernel(reduce.PRODUCT_OF_OTHERS)
def product_of_others(k: Emitter) -> None:
    """For each element, the product of all elements before it times that of all after it."""
    (x,), (y,), axis = k.ins, k.outs, k.attrs.axis
    size = x.shape[axis]
    after = k.scratch(x.shape, x.dtype, "after")
    lead = ":, " * axis
    k.line(f"{y}[{lead}:1] = 1")
    k.line(f"{after}[{lead}-1:] = 1")
    if size > 1:
        k.line(f"np.multiply.accumulate({x}[{lead}:-1], axis={axis}, out={y}[{lead}1:])")
        k.line(f"np.multiply.accumulate({x}[{lead}:0:-1], axis={axis}, out={after}[{lead}-2::-1])")
    k.line(f"np.multiply({y}, {after}, out={y})")


def _rows(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return bool(node.attrs.axes) and node.outputs[0].order is None and in_rows(inputs[0], node.attrs.axes)


@kernel(reduce.SUM, reduce.MEAN, lowering="column", accepts=_rows, exact=False)
def sum_by_column(k: Emitter[reduce.ReduceAttrs]) -> None:
    """Rows times a column of ones or, for a mean, of its reciprocal."""
    (x,), (y,), axes = k.ins, k.outs, k.attrs.axes
    count = math.prod(x.shape[axis] for axis in axes) if k.node.op is reduce.MEAN else 1
    sum_rows(k, x, axes, y, count)


@kernel(reduce.MEAN, cost=_along_work)
def mean(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    count = math.prod(x.shape[axis] for axis in a.axes)
    k.line(f"np.add.reduce({x}, axis={a.axes}, keepdims={a.keepdims}, out={y})")
    k.line(f"np.divide({y}, {scalar(k, float(count), y.dtype)}, out={y})")


@kernel(reduce.LOG_SUM_EXP)
def log_sum_exp(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    kept = [1 if axis in a.axes else size for axis, size in enumerate(x.shape)]
    top = k.scratch(kept, x.dtype, "top")
    finite = k.scratch(kept, bool_, "finite")
    powers = k.scratch(x.shape, x.dtype, "powers")
    k.line(f"np.maximum.reduce({x}, axis={a.axes}, keepdims=True, initial=-np.inf, out={top})")
    k.line(f"np.isfinite({top}, out={finite})")
    k.line(f"np.logical_not({finite}, out={finite})")
    k.line(f"np.copyto({top}, 0, where={finite})")
    k.line(f"np.subtract({x}, {top}, out={powers})")
    k.line(f"np.exp({powers}, out={powers})")
    k.line(f"np.add.reduce({powers}, axis={a.axes}, keepdims={a.keepdims}, out={y})")
    k.line(f"np.log({y}, out={y})")
    k.line(f"np.add({y}, {k.seen(top, y.shape)}, out={y})")


@kernel(reduce.ARGMAX, reduce.ARGMIN)
def argmax(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    reduce.check_not_empty(k.name, x.type, (a.axis,))
    name = k.node.op.name.lower()
    k.line(f"{x}.{name}({a.axis}, {y}, keepdims={a.keepdims})")


@kernel(reduce.CUMSUM)
def cumsum(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    if a.reverse:
        turned = ", ".join("::-1" if i == a.axis else ":" for i in range(x.type.rank))
        x = k.view(x, f"{x}[{turned}]", x.shape, label="turned")
        y = k.view(y, f"{y}[{turned}]", y.shape, label="turned")
    k.line(f"np.add.accumulate({x}, axis={a.axis}, out={y})")
