"""Reductions over axes."""

from __future__ import annotations

from .....graph.opdef import OpDef
from .....graph.ops import reduce
from .....graph.ops.norm import LOG_SOFTMAX, SOFTMAX
from .....graph.ops.reduce import ArgAttrs, CumSumAttrs, ReduceAttrs
from .....graph.ops.shape import AxisAttrs
from .....graph.ops.top_k import TOP_K, TopKAttrs
from .....graph.types import int64
from ..draft import Item
from ..registry import Use, Written, writer

REDUCED: dict[OpDef[ReduceAttrs], str] = {
    reduce.SUM: "ReduceSum", reduce.PROD: "ReduceProd", reduce.MEAN: "ReduceMean", reduce.MAX: "ReduceMax",
    reduce.MIN: "ReduceMin", reduce.LOG_SUM_EXP: "ReduceLogSumExp",
}  # fmt: skip


@writer(*REDUCED)
def reduced(use: Use[ReduceAttrs]) -> Item:
    """Axes are an input since version 18 (for sums since 13); without axes nothing is reduced."""
    (x,), op, axes = use.inputs, REDUCED[use.node.op], use.attrs.axes
    keep = int(use.attrs.keepdims)
    if not axes:
        return use.emit("Identity", x) if op != "ReduceLogSumExp" else x
    if use.opset < 18 and op != "ReduceSum":
        return use.emit(op, x, axes=list(axes), keepdims=keep)
    return use.emit(op, x, use.array(axes), keepdims=keep)


@writer(reduce.ARGMAX, reduce.ARGMIN)
def position(use: Use[ArgAttrs]) -> Item:
    op = "ArgMax" if use.node.op is reduce.ARGMAX else "ArgMin"
    return use.emit(op, *use.inputs, dtype=int64, axis=use.attrs.axis, keepdims=int(use.attrs.keepdims))


@writer(reduce.CUMSUM)
def cumsum(use: Use[CumSumAttrs]) -> Item:
    return use.emit("CumSum", *use.inputs, use.array(use.attrs.axis), reverse=int(use.attrs.reverse))


@writer(SOFTMAX, LOG_SOFTMAX)
def softmax(use: Use[AxisAttrs]) -> Item:
    return use.emit("Softmax" if use.node.op is SOFTMAX else "LogSoftmax", *use.inputs, axis=use.attrs.axis)


@writer(TOP_K)
def top_k(use: Use[TopKAttrs]) -> Written:
    attrs = use.attrs
    dtypes = [use.type.dtype, int64]
    count = use.shape([attrs.k])
    return use.emit_all(
        "TopK", *use.inputs, count, dtypes=dtypes, axis=attrs.axis, largest=int(attrs.largest), sorted=1
    )
