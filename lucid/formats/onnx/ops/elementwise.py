"""Element-wise operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from ....errors import GraphError
from ....graph import texts
from ....graph.opdef import AbstractTensor, NoAttrs, OpDef, apply
from ....graph.ops import activation as act
from ....graph.ops import bitwise, bounds, composite
from ....graph.ops import elementwise as ew
from ....graph.ops.bits import bit_cast
from ....graph.ops.promotion import cast as cast_to
from ....graph.types import as_dtype, float32, is_float
from .. import one_to_one
from ..float_integers import FloatIntegers
from ..host import ELEMENT_TYPES, KINDS, as_known
from ..model import NARROW
from ..narrow_types import FLOATS, as_small
from ..registry import Call, Value, concrete, converter, is_host

Function = Callable[..., AbstractTensor]


def _plain(op: OpDef) -> Function:
    """A function that applies an op without attributes."""
    return lambda x: apply(op, NoAttrs(), x)


UNARY: dict[str, Function] = {
    **{name: _plain(op) for name, op in one_to_one.UNARY.items()},
    "Sqrt": ew.flat_sqrt, "Softplus": ew.softplus, "Reciprocal": composite.reciprocal, "BitwiseNot": ew.invert,
    "Mish": act.mish, "Softsign": act.softsign, "Tan": composite.tan, "Not": composite.logical_not, "IsNaN": ew.isnan,
}  # fmt: skip

BINARY: dict[str, Function] = {
    "Add": ew.add, "Sub": ew.sub, "Mul": ew.mul, "Less": composite.lt,
    "LessOrEqual": composite.le, "Greater": composite.gt, "GreaterOrEqual": composite.ge,
    "And": composite.logical_and, "Or": composite.logical_or, "Xor": composite.logical_xor,
    "BitwiseAnd": composite.bitwise_and, "BitwiseOr": composite.bitwise_or, "BitwiseXor": composite.bitwise_xor,
}  # fmt: skip


@converter(*UNARY)
def unary(call: Call, x: Value) -> AbstractTensor:
    return UNARY[call.node.op](call.tensor(x))


@converter(*BINARY)
def binary(call: Call, a: Value, b: Value) -> AbstractTensor:
    a, b = call.tensors(a, b)
    return BINARY[call.node.op](a, _legacy(call, a, b))


@converter("Equal")
def equal(call: Call, a: Value, b: Value) -> AbstractTensor:
    if call.is_text(a):
        return texts.equal(call.text(a), call.text(b))
    a, b = call.tensors(a, b)
    return composite.eq(a, _legacy(call, a, b))


def _legacy(call: Call, a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """The second operand; before version 7 an attribute could align its axes with an axis of the first."""
    axis = call.attribute("axis")
    if axis is None or call.node.version >= 7:
        return b
    return b.reshape((*b.type.shape, *[1] * (a.type.rank - axis - b.type.rank)))


@converter("Div")
def div(call: Call, a: Value, b: Value) -> AbstractTensor:
    a, b = call.tensors(a, b)
    b = _legacy(call, a, b)
    if is_float(a.type.dtype):
        return ew.div(a, b)
    down = ew.floor_divide(a, b)  # integers are rounded towards zero
    inexact = composite.logical_and(composite.ne(down * b, a), composite.lt(down, 0))
    return down + cast_to(inexact, a.type.dtype)


@converter("Mod")
def mod(call: Call, a: Value, b: Value) -> AbstractTensor:
    a, b = call.tensors(a, b)
    if call.attribute("fmod", 0) and is_float(a.type.dtype):  # of an infinite divisor everything is left
        return ew.remainder(ew.abs_(a), ew.abs_(b)) * ew.sign(a)
    rest = ew.remainder(a, b)
    if not call.attribute("fmod", 0):
        return rest
    wrong = composite.logical_and(composite.ne(rest, 0), composite.lt(rest * ew.sign(a), 0))
    return ew.where(wrong, rest - b, rest)


@converter("Pow")
def power(call: Call, a: Value, b: Value) -> AbstractTensor:
    if is_host(b) and np.size(b) == 1 and b.dtype != object and float(b) in (1.0, 2.0, 3.0):
        x = call.tensor(a)
        return {1.0: x, 2.0: x * x, 3.0: x * x * x}[float(b)]
    a, b = call.tensors(a, b)
    return ew.pow_(a, cast_to(b, a.type.dtype))


@converter("Min", "Max", "Sum", "Mean")
def several(call: Call, *xs: Value) -> AbstractTensor:
    functions = {"Min": ew.minimum, "Max": ew.maximum, "Sum": ew.add, "Mean": ew.add}
    total = reduce(functions[call.node.op], call.tensors(*xs))
    return total / len(xs) if call.node.op == "Mean" else total


@converter("Where", moves=(1, 2))
def where(call: Call, condition: Value, a: Value, b: Value) -> AbstractTensor:
    return ew.where(*call.tensors(condition, a, b))


TEXT = 8
"""The number of strings among the element types of the format."""


@converter("Cast")
def cast(call: Call, x: Value) -> Value:
    kind = call.required("to")
    if kind == TEXT or call.is_text(x):
        known = concrete(call.known(x, "what is written as text, or read from it,"))
        return known.astype(str if kind == TEXT else ELEMENT_TYPES[kind])
    return _as_kind(call, x, kind)


@converter("CastLike")
def cast_like(call: Call, x: Value, like: Value) -> Value:
    kind = call.kinds.get(call.node.inputs[1], 0)
    if kind not in NARROW:
        kind = KINDS[call.tensor(like).type.dtype.name]
    return _as_kind(call, x, kind)


def _as_kind(call: Call, value: Value, kind: int) -> Value:
    """A value as the element type with this number in the format."""
    if kind in NARROW and call.kinds.get(call.node.inputs[0]) == kind:
        return value  # it is of that type in the file, whatever it is computed with
    known = as_known(value, kind) if is_host(value) else None
    if known is not None:
        return known
    dtype = as_dtype(np.dtype(ELEMENT_TYPES.get(kind, np.int8)))
    straight = isinstance(value, FloatIntegers) and (kind in FLOATS or is_float(dtype))
    x = call.floats(value, dtype if is_float(dtype) else float32) if straight else call.tensor(value)
    if kind in NARROW:
        return as_small(x, kind, bool(call.attribute("saturate", 1)), call.attribute("round_mode", "up"))
    if kind not in ELEMENT_TYPES:
        raise GraphError(f"there is no element type {kind} here")
    return composite.ne(x, 0) if dtype.kind == "b" and x.type.dtype != dtype else cast_to(x, dtype)


@converter("Clip", host=(1, 2), picks=(0,))
def clip(call: Call, x: Value, low: Value = None, high: Value = None) -> AbstractTensor:
    x = call.tensor(x)
    if call.node.version < 11:
        return bounds.clip(x, call.attribute("min"), call.attribute("max"))
    ends = [None if end is None else call.number(end, "a bound") for end in (low, high)]
    return x if ends == [None, None] else bounds.clip(x, *ends)


@converter("LeakyRelu")
def leaky_relu(call: Call, x: Value) -> AbstractTensor:
    return ew.leaky_relu(call.tensor(x), call.attribute("alpha", 0.01))


@converter("Elu")
def elu(call: Call, x: Value) -> AbstractTensor:
    return ew.elu(call.tensor(x), call.attribute("alpha", 1.0))


@converter("Celu")
def celu(call: Call, x: Value) -> AbstractTensor:
    return act.celu(call.tensor(x), call.attribute("alpha", 1.0))


@converter("Selu")
def selu(call: Call, x: Value) -> AbstractTensor:
    alpha, gamma = (
        call.attribute("alpha", 1.67326319217681884765625),
        call.attribute("gamma", 1.05070102214813232421875),
    )
    return act.selu(call.tensor(x), alpha, gamma)


@converter("ThresholdedRelu")
def thresholded_relu(call: Call, x: Value) -> AbstractTensor:
    return act.threshold(call.tensor(x), call.attribute("alpha", 1.0), 0.0)


@converter("HardSigmoid")
def hard_sigmoid(call: Call, x: Value) -> AbstractTensor:
    return act.hardsigmoid(call.tensor(x), call.attribute("alpha", 0.2), call.attribute("beta", 0.5))


@converter("Gelu")
def gelu(call: Call, x: Value) -> AbstractTensor:
    return ew.gelu(call.tensor(x), call.attribute("approximate", "none"))


@converter("PRelu", names=("", "weight"))
def prelu(call: Call, x: Value, slope: Value) -> AbstractTensor:
    x, slope = call.tensors(x, slope)
    if call.node.version < 7 and slope.type.rank == 1 and x.type.rank > 2:  # a slope for each channel
        slope = slope.reshape((-1, *[1] * (x.type.rank - 2)))
    return ew.where(composite.ge(x, 0), x, slope * x)


@converter("IsInf")
def is_inf(call: Call, x: Value) -> AbstractTensor:
    x = call.tensor(x)
    if call.attribute("detect_negative", 1) and call.attribute("detect_positive", 1):
        return composite.isinf(x)
    sign = composite.gt(x, 0) if call.attribute("detect_positive", 1) else composite.lt(x, 0)
    return composite.logical_and(composite.isinf(x), sign)


@converter("Swish")
def swish(call: Call, x: Value) -> AbstractTensor:
    return act.swish(call.tensor(x), call.attribute("alpha", 1.0))


@converter("SwiGLU")
def swiglu(call: Call, a: Value, b: Value) -> AbstractTensor:
    return ew.mul(act.swish(call.tensor(a), call.attribute("alpha", 1.0)), call.tensor(b))


@converter("Shrink")
def shrink(call: Call, x: Value) -> AbstractTensor:
    known = call.tensor(x)
    bias, edge = call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    if not is_float(known.type.dtype):
        bias, edge = int(bias), int(edge)
    return act.shrink(known, edge, bias)


@converter("BitShift")
def bit_shift(call: Call, x: Value, by: Value) -> AbstractTensor:
    """A product or quotient with a power of two; shifting right by all bits leaves only the sign."""
    direction = call.required("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise GraphError(f"unknown direction {direction!r}")
    return (bitwise.shift_left if direction == "LEFT" else bitwise.shift_right)(call.tensor(x), call.tensor(by))


@converter("BitCast", since=26)
def bit_cast_(call: Call, x: Value) -> AbstractTensor:
    kind = call.required("to")
    if kind not in ELEMENT_TYPES or kind in (10, 16):
        raise GraphError(f"the bits of a number of element type {kind} are not there")
    y: AbstractTensor = bit_cast(call.tensor(x), np.dtype(ELEMENT_TYPES[kind]))
    return y
