"""Kernels of the reductions."""

from __future__ import annotations

import math

import numpy as np

from ...graph.opdef import OpDef
from ...graph.ops import reduce
from ...graph.types import bool_
from ..planning.registry import kernel
from ..program.emitter import Emitter

_UFUNCS: dict[OpDef, str] = {reduce.SUM: "add", reduce.PROD: "multiply", reduce.MAX: "maximum", reduce.MIN: "minimum"}


@kernel(*_UFUNCS)
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


@kernel(reduce.MEAN)
def mean(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    count = math.prod(x.shape[axis] for axis in a.axes)
    k.line(f"np.add.reduce({x}, axis={a.axes}, keepdims={a.keepdims}, out={y})")
    k.line(f"np.divide({y}, {k.number(float(count))}, out={y})")


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
    k.line(f"np.{name}({x}, axis={a.axis}, keepdims={a.keepdims}, out={y})")


@kernel(reduce.CUMSUM)
def cumsum(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    if a.reverse:
        turned = ", ".join("::-1" if i == a.axis else ":" for i in range(x.type.rank))
        x = k.view(x, f"{x}[{turned}]", x.shape, label="turned")
        y = k.view(y, f"{y}[{turned}]", y.shape, label="turned")
    k.line(f"np.add.accumulate({x}, axis={a.axis}, out={y})")
