"""Kernels of the reductions."""

from __future__ import annotations

import math

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


FEW = 8
"""Numbers that go together up to which slices of them are taken: a line of the program for each."""


def _side_by_side(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether the numbers that go together lie side by side."""
    x, axes = inputs[0], list(node.attrs.axes)
    memory = [axis for axis in x.order or range(x.rank) if x.concrete[axis] > 1]
    return len(axes) == 1 and memory[-1:] == axes


def _along_work(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    """Where the numbers that go together lie side by side, NumPy begins a loop for each result, and goes one by one."""
    if not _side_by_side(node, inputs):
        return Work(calls=1, loops=_rows_of(inputs[0], node.attrs.axes) if _columns(node, inputs) else 0)
    return Work(calls=1, loops=math.prod(node.outputs[0].concrete), apart=math.prod(inputs[0].concrete))


def _few(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return _side_by_side(node, inputs) and inputs[0].concrete[node.attrs.axes[0]] <= FEW


def _slices_work(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    steps = inputs[0].concrete[node.attrs.axes[0]] - 1
    return Work(calls=steps, apart=steps * math.prod(node.outputs[0].concrete))


@kernel(reduce.MAX, reduce.MIN, lowering="slices", accepts=_few, cost=_slices_work)
def slices_reduce(k: Emitter[reduce.ReduceAttrs]) -> None:
    """All first numbers of those that go together with all second ones, then with the third, and so on."""
    (x,), (y,), (axis,) = k.ins, k.outs, k.attrs.axes
    lead, name = ":, " * axis, _UFUNCS[k.node.op]
    made = f"{y}[{lead}0, ...]" if k.attrs.keepdims else str(y)
    for i in range(1, x.shape[axis]):
        k.line(f"np.{name}({f'{x}[{lead}0]' if i == 1 else made}, {x}[{lead}{i}], out={made})")


def _columns(node: Node[reduce.ReduceAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether what is added up are numbers of the same place in many rows, which lie one after another."""
    x, y, axes = inputs[0], node.outputs[0], node.attrs.axes
    memory = x.order or tuple(range(x.rank))
    there = [axis for axis in range(x.rank) if node.attrs.keepdims or axis not in axes]
    made = [there[axis] for axis in y.order or range(y.rank) if there[axis] not in axes]
    gathered = set(memory[: len(axes)]) == set(axes) and list(memory[len(axes) :]) == made
    return gathered and is_float(x.dtype) and bool(axes) and _rows_of(x, axes) > FEW and math.prod(x.concrete) > MANY


def _rows_of(x: TensorType, axes: tuple[int, ...]) -> int:
    return math.prod(x.concrete[axis] for axis in axes)


MANY = 1 << 12
"""Numbers from which on a sum over rows is a product."""


@kernel(reduce.SUM, reduce.MEAN, lowering="rows", accepts=_columns, exact=False)
def sum_of_rows(k: Emitter[reduce.ReduceAttrs]) -> None:
    """A row of ones, or of what a mean divides by, times the rows; several short ones are taken for one."""
    (x,), (y,), axes = k.ins, k.outs, k.attrs.axes
    rows = _rows_of(x.type, axes)
    width = math.prod(x.shape) // rows
    fold = next((n for n in (16, 8, 4, 2) if rows % n == 0 and n * width <= WIDE), 1)
    factor = 1.0 / rows if k.node.op is reduce.MEAN else 1.0
    turned = k.permuted(x, x.type.order or tuple(range(x.type.rank)))
    flat = k.reshaped(turned, (rows // fold, fold * width), "rows")
    row = k.filled((1, rows // fold), x.dtype, k.number(factor), "row")
    total = k.target(k.permuted(y, y.type.order or tuple(range(y.type.rank))), (1, width), "total")
    part = total if fold == 1 else k.scratch((1, fold * width), x.dtype, "part")
    k.line(f"np.dot({row}, {flat}, out={part})")
    if fold > 1:
        k.line(f"np.add.reduce({k.target(part, (fold, width), 'parts')}, axis=0, keepdims=True, out={total})")


WIDE = 64
"""Numbers up to which short rows are taken together."""


@kernel(*_UFUNCS, cost=_along_work)
def ufunc_reduce(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    name = _UFUNCS[k.node.op]
    if getattr(np, name).identity is None:  # a symbolic axis may turn out empty
        reduce.check_not_empty(k.name, x.type, a.axes)
    k.line(f"np.{name}.reduce({x}, axis={a.axes}, keepdims={a.keepdims}, out={y})")


@kernel(reduce.PRODUCT_OF_OTHERS)
def product_of_others(k: Emitter) -> None:
    """What stands before each element multiplied, times what stands after it."""
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
    """Rows times a column of ones, or of what a mean divides by."""
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
