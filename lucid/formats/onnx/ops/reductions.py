"""Operators that reduce axes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....graph.opdef import AbstractTensor
from ....graph.ops import elementwise as ew
from ....graph.ops import reduce
from ....graph.ops.promotion import cast
from ....graph.ops.slices import flip
from ....graph.ops.source import full
from ....graph.ops.subscript import getitem
from ....graph.types import is_float
from ..registry import Call, Value, converter
from .shapes import axes_of

REDUCTIONS: dict[str, Callable[..., AbstractTensor]] = {
    "ReduceSum": reduce.sum, "ReduceMean": reduce.mean, "ReduceMax": reduce.amax, "ReduceMin": reduce.amin,
    "ReduceProd": reduce.prod, "ReduceLogSumExp": reduce.logsumexp,
    "ReduceL1": lambda x, axes, keep: reduce.sum(ew.abs_(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: ew.sqrt(reduce.sum(x * x, axes, keep)),
    "ReduceSumSquare": lambda x, axes, keep: reduce.sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: ew.log(reduce.sum(x, axes, keep)),
}  # fmt: skip


@converter(*REDUCTIONS, host=(1,))
def reduced(call: Call, x: Value, axes: Value = None) -> AbstractTensor:
    x, along = call.tensor(x), axes_of(call, axes)
    if not along and call.attribute("noop_with_empty_axes", 0):
        return x
    everything = tuple(range(x.type.rank))
    if call.node.op in ("ReduceMax", "ReduceMin") and 0 in (x.type.shape[axis] for axis in along or everything):
        x = _with_bound(call, x, along or everything)
    y = REDUCTIONS[call.node.op](x, along or everything, bool(call.attribute("keepdims", 1)))
    return y if is_float(x.type.dtype) else cast(y, x.type.dtype)  # which is that of the result too


def _with_bound(call: Call, x: AbstractTensor, axes: tuple[int, ...]) -> AbstractTensor:
    """The input extended by the least or largest number of the type, so that a maximum or minimum of nothing exists."""
    kind = x.type.dtype
    if kind.kind == "f":
        least, largest = -math.inf, math.inf
    else:
        least, largest = (0, 1) if kind.kind == "b" else (int(np.iinfo(kind.name).min), int(np.iinfo(kind.name).max))
    along = {axis % x.type.rank for axis in axes}
    shape = tuple(1 if axis in along else dim for axis, dim in enumerate(x.type.shape))
    return full(x, least if call.node.op == "ReduceMax" else largest, shape)


@converter("ArgMax", "ArgMin")
def arg(call: Call, x: Value) -> AbstractTensor:
    x, axis, keep = call.tensor(x), call.attribute("axis", 0), bool(call.attribute("keepdims", 1))
    function = reduce.argmax if call.node.op == "ArgMax" else reduce.argmin
    if call.attribute("select_last_index", 0):  # the first from the end
        return x.type.shape[axis] - 1 - function(flip(x, axis), axis, keep)
    return function(x, axis, keep)


@converter("CumSum", host=(1,))
def cumsum(call: Call, x: Value, axis: Value) -> AbstractTensor:
    x, along = call.tensor(x), int(call.scalar(axis, "the axis"))
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        flipped = call.attribute("reverse", 0)
        flipped_x = _flip(x, along) if flipped else x
        total = reduce.cumsum(flipped_x, along)
        total = total - flipped_x if call.attribute("exclusive", 0) else total
        return cast(_flip(total, along) if flipped else total, x.type.dtype)
    return cast(reduce.cumsum(x, along), x.type.dtype)


def _flip(x: AbstractTensor, axis: int) -> AbstractTensor:
    return getitem(x, (*[slice(None)] * (axis % x.type.rank), slice(None, None, -1)))
