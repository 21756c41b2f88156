"""Kernels of the element-wise ops: ufuncs that write where they are told."""

from __future__ import annotations

from ...graph.ops import elementwise as ew
from ..emitter import Emitter
from ..registry import kernel

_UFUNCS = {
    ew.NEG: "negative", ew.ABS: "absolute", ew.SIGN: "sign", ew.EXP: "exp", ew.LOG: "log", ew.SQRT: "sqrt",
    ew.SIN: "sin", ew.COS: "cos", ew.TANH: "tanh", ew.FLOOR: "floor", ew.CEIL: "ceil", ew.ROUND: "rint",
    ew.NOT: "invert", ew.ADD: "add", ew.SUB: "subtract", ew.MUL: "multiply", ew.DIV: "divide", ew.POW: "power",
    ew.MAXIMUM: "maximum", ew.MINIMUM: "minimum", ew.EQUAL: "equal", ew.NOT_EQUAL: "not_equal", ew.LESS: "less",
    ew.LESS_EQUAL: "less_equal", ew.GREATER: "greater", ew.GREATER_EQUAL: "greater_equal",
    ew.AND: "bitwise_and", ew.OR: "bitwise_or",
}  # fmt: skip


@kernel(*_UFUNCS)
def ufunc(k: Emitter) -> None:
    (y,) = k.outs
    k.line(f"np.{_UFUNCS[k.node.op]}({', '.join(map(str, k.ins))}, out={y})")
    k.may_overwrite(0, *range(len(k.ins)))


@kernel(ew.CAST)
def cast(k: Emitter) -> None:
    k.line(f"np.copyto({k.outs[0]}, {k.ins[0]}, casting='unsafe')")


@kernel(ew.RELU)
def relu(k: Emitter) -> None:
    k.line(f"np.maximum({k.ins[0]}, 0, out={k.outs[0]})")
    k.may_overwrite(0, 0)


@kernel(ew.SIGMOID)
def sigmoid(k: Emitter) -> None:
    # by tanh: exact at both ends, no overflow, one transcendental
    (x,), (y,) = k.ins, k.outs
    k.line(f"np.multiply({x}, 0.5, out={y})")
    k.line(f"np.tanh({y}, out={y})")
    k.line(f"np.multiply({y}, 0.5, out={y})")
    k.line(f"np.add({y}, 0.5, out={y})")
    k.may_overwrite(0, 0)


@kernel(ew.WHERE)
def where(k: Emitter) -> None:
    (condition, a, b), (y,) = k.ins, k.outs
    k.line(f"np.copyto({y}, {b})")
    k.line(f"np.copyto({y}, {a}, where={condition})")
    k.may_overwrite(0, 2)


@kernel(ew.CLIP)
def clip(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    if k.attrs.low is not None:
        k.line(f"np.maximum({x}, {k.number(k.attrs.low)}, out={y})")
        x = y
    if k.attrs.high is not None:
        k.line(f"np.minimum({x}, {k.number(k.attrs.high)}, out={y})")
    k.may_overwrite(0, 0)
