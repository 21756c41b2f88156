"""Kernels of the reductions."""

from __future__ import annotations

from ...graph.ops import reduce
from ..emitter import Emitter
from ..registry import kernel

_UFUNCS = {reduce.SUM: "add", reduce.MAX: "maximum", reduce.MIN: "minimum"}


@kernel(*_UFUNCS)
def ufunc_reduce(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    k.line(f"np.{_UFUNCS[k.node.op]}.reduce({x}, axis={a.axes}, keepdims={a.keepdims}, out={y})")


@kernel(reduce.MEAN)
def mean(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    count = 1
    for axis in a.axes:
        count *= x.shape[axis]
    k.line(f"np.add.reduce({x}, axis={a.axes}, keepdims={a.keepdims}, out={y})")
    k.line(f"np.divide({y}, {float(count)!r}, out={y})")


@kernel(reduce.ARGMAX, reduce.ARGMIN)
def argmax(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    name = k.node.op.name.lower()
    k.line(f"np.{name}({x}, axis={a.axis}, keepdims={a.keepdims}, out={y})")


@kernel(reduce.CUMSUM)
def cumsum(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    if a.reverse:
        turned = ", ".join("::-1" if i == a.axis else ":" for i in range(x.type.rank))
        k.line(f"np.add.accumulate({x}[{turned}], axis={a.axis}, out={y}[{turned}])")
    else:
        k.line(f"np.add.accumulate({x}, axis={a.axis}, out={y})")
