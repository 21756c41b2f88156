"""Kernels of the element-wise ops: ufuncs that write to given memory.

Formulas may overflow or divide by zero (``1 / (1 + exp(100))`` is 0), so NumPy's floating-point warnings are off while
a kernel runs.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ...base.arrays import Array
from ...graph.ir import Node
from ...graph.ops import elementwise as ew
from ...graph.ops import trigonometry as tr
from ...graph.ops.bits import BIT_CAST
from ...graph.ops.bounds import CLIP
from ...graph.ops.promotion import CastAttrs
from ...graph.ops.rounding import ROUND_STRAIGHT
from ...graph.types import DType, TensorType, as_dtype, bool_, is_float
from ..planning.phase import Phase
from ..planning.registry import kernel
from ..planning.work import Work
from ..program.emitter import Emitter, Operand
from . import activation_calls, erf_calls
from .calls import check_divisor, integer_power

_UFUNCS = {
    ew.ABS: "absolute", ew.EXP: "exp", ew.LOG: "log", ew.SQRT: "sqrt",
    ew.EXPM1: "expm1", ew.LOG1P: "log1p", ew.LOG2: "log2", ew.LOG10: "log10",
    ew.SIN: "sin", ew.COS: "cos", ew.TANH: "tanh", ew.FLOOR: "floor", ew.CEIL: "ceil", ew.ROUND: "rint",
    ROUND_STRAIGHT: "rint",
    ew.NOT: "invert", ew.ADD: "add", ew.SUB: "subtract", ew.MUL: "multiply", ew.DIV: "divide",
    ew.EQUAL: "equal", ew.NOT_EQUAL: "not_equal", ew.LESS: "less",
    ew.LESS_EQUAL: "less_equal", ew.GREATER: "greater", ew.GREATER_EQUAL: "greater_equal",
    ew.AND: "bitwise_and", ew.OR: "bitwise_or", ew.GCD: "gcd",
    tr.ASIN: "arcsin", tr.ACOS: "arccos", tr.ATAN: "arctan", tr.SINH: "sinh", tr.COSH: "cosh", tr.ASINH: "arcsinh",
    tr.ACOSH: "arccosh", tr.ATANH: "arctanh", tr.ATAN2: "arctan2",
}  # fmt: skip


SMALL = 1 << 12
"""The most elements of an array for which it pays to keep constants in its shape, to save NumPy the broadcasting."""


def constant(value: float, dtype: DType) -> Array:
    """A number as a 0-d array: for a Python number, NumPy takes half a microsecond longer to find the type."""
    return _constant(value, math.copysign(1.0, value), dtype)


@lru_cache(1024)
def _constant(value: float, sign: float, dtype: DType) -> Array:
    """The sign is part of the cache's key, as -0.0 equals 0.0."""
    with np.errstate(over="ignore"):  # numbers too large for single precision become infinite
        return np.array(value, dtype)


@lru_cache(256)
def filled(value: float, dtype: DType, shape: tuple[int, ...]) -> Array:
    """An array of equal numbers, cached for use as a constant."""
    return np.full(shape, value, dtype)


def scalar(k: Emitter, value: float, dtype: DType) -> str:
    """A number in the program, typed if it has to be rounded to ``dtype`` anyway."""
    return k.use(constant(float(value), dtype), "c") if is_float(dtype) else k.number(value)


def at_least(k: Emitter, low: float, x: Operand, y: Operand) -> None:
    """``maximum(x, low)`` in ``y``.

    With a number, the loop of ``np.maximum`` takes half as long again as that of ``clip``, but starts in half the time.
    With two arrays of the same shape it is as fast as ``clip``.
    """
    size = math.prod(y.shape)
    alike = x.contiguous and y.contiguous and x.type.order == y.type.order and x.shape == y.shape
    if alike and 0 < size <= SMALL:
        memory = tuple(y.shape[axis] for axis in y.type.order or range(y.type.rank))
        array = k.use(filled(float(low), y.dtype, memory), "c")
        turned = "" if y.type.order is None else f".transpose({tuple(map(int, np.argsort(y.type.order)))})"
        name = array
        if turned:
            name = k.names.fresh("c")
            k.define(name, f"{array}{turned}", Phase.STATE)
        k.line(f"np.maximum({x}, {name}, out={y})")
    elif size <= SMALL:
        k.line(f"np.maximum({x}, {scalar(k, low, y.dtype)}, out={y})")
    else:
        k.line(f"{x}.clip({scalar(k, low, y.dtype)}, {scalar(k, math.inf, y.dtype)}, out={y})")


def without_broadcast(k: Emitter, x: Operand, y: Operand) -> Operand:
    """Operand ``x`` of a ufunc with result ``y``, in a form that needs no broadcasting, so that NumPy starts faster.

    A single number becomes 0-d; a small operand that depends on parameters only is expanded to the result's shape once.
    """
    if x.shape == y.shape or x.phase is Phase.CALL or not x.contiguous:
        return x
    if x.type.size == 1:
        return k.target(x, (), "number")
    if x.type.size == y.type.size:
        return k.target(x, y.shape, "flat") if x.type.order is y.type.order is None else x
    if x.phase is Phase.STATE and y.contiguous and math.prod(y.shape) <= SMALL:
        with k.once(x):
            whole = k.scratch(y.shape, x.dtype, "whole", y.type.order)
            k.line(f"{whole}[...] = {x}")
        return whole
    return x


def intermediate(k: Emitter, y: Operand) -> Operand:
    """Memory for an intermediate value of ``y``: ``y`` itself, or scratch memory for a single number.

    NumPy takes twice as long to start a ufunc that overwrites a single number that it reads.
    """
    return k.scratch(y.shape, y.dtype, "step") if y.contiguous and y.type.size == 1 else y


@kernel(*_UFUNCS, in_place=True)
def ufunc(k: Emitter) -> None:
    _call(k, _UFUNCS[k.node.op])


@kernel(ew.MAXIMUM, ew.MINIMUM, in_place=True)
def extreme(k: Emitter) -> None:
    """The maximum or minimum; with a single number by ``clip``, for the reason given in :func:`at_least`."""
    (y,), least = k.outs, k.node.op is ew.MAXIMUM
    single = next((slot for slot, x in enumerate(k.ins) if x.type.size == 1), None)
    if single is None or not is_float(y.dtype) or math.prod(y.shape) <= SMALL:
        _call(k, "maximum" if least else "minimum")
        return
    number = without_broadcast(k, k.ins[single], y)
    unbounded = scalar(k, math.inf if least else -math.inf, y.dtype)
    bounds = f"{number}, {unbounded}" if least else f"{unbounded}, {number}"
    k.line(f"{k.ins[1 - single]}.clip({bounds}, out={y})")
    k.may_overwrite(0, 1 - single)


def _call(k: Emitter, name: str) -> None:
    """Write a call of the ufunc of this name."""
    (y,), ins = k.outs, [without_broadcast(k, x, k.outs[0]) for x in k.ins]
    unclosed = f"np.{name}({', '.join(map(str, ins))}"
    if y.type.rank and all(x.contiguous and x.type.order is y.type.order is None for x in ins):
        k.call(unclosed, y)  # for operands without gaps, a new array has none either
    else:
        k.line(f"{unclosed}, out={y})")
    if y.type.size != 1:
        k.may_overwrite(0, *range(len(k.ins)))


def negate(k: Emitter, x: Operand, y: Operand) -> None:
    """``-x`` in ``y``.

    ``np.negative`` (NumPy 2.4, with AVX-512) is wrong if both operands are strided and the input's stride is four
    32-bit numbers or eight 64-bit ones.
    """
    if y.contiguous and (y.type.order is None or (x.contiguous and x.type.order == y.type.order)):
        k.line(f"np.negative({x}, out={y})")
    elif is_float(y.dtype):  # not 0 - x, which is never -0.0
        k.line(f"np.multiply({x}, {scalar(k, -1.0, y.dtype)}, out={y})")
    else:
        k.line(f"np.subtract(0, {x}, out={y})")


@kernel(ew.NEG, in_place=True)
def negative(k: Emitter) -> None:
    negate(k, k.ins[0], k.outs[0])
    k.may_overwrite(0, 0)


@kernel(ew.FLOOR_DIVIDE, ew.REMAINDER)
def division(k: Emitter) -> None:
    """Division rounded towards minus infinity, or its remainder."""
    (dividend, divisor), (y,) = k.ins, k.outs
    if not is_float(y.dtype) and 0 not in y.shape:
        k.line(f"{k.use(check_divisor)}({divisor})")
    name = "floor_divide" if k.node.op is ew.FLOOR_DIVIDE else "remainder"
    k.line(f"np.{name}({dividend}, {divisor}, out={y})")
    k.may_overwrite(0, 0, 1)


@kernel(ew.CAST)
def cast(k: Emitter) -> None:
    k.line(f"np.copyto({k.outs[0]}, {k.ins[0]}, casting='unsafe')")


@kernel(BIT_CAST)
def bit_cast(k: Emitter[CastAttrs]) -> None:
    k.line(f"np.copyto({k.outs[0]}, {k.ins[0]}.view(np.{k.attrs.dtype.name}))")


@kernel(ew.POW)
def power(k: Emitter) -> None:
    (a, b), (y,) = k.ins, k.outs
    if y.dtype.kind == "i":
        k.line(f"{k.use(integer_power)}({a}, {b}, {y})")
    else:
        k.line(f"np.power({a}, {b}, out={y})")
        k.may_overwrite(0, 0, 1)


@kernel(ew.SIGN)
def sign(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    if is_float(x.dtype):  # np.sign keeps NaN, PyTorch's gives 0
        negative = k.scratch(x.shape, bool_)
        k.line(f"np.less({x}, 0, out={negative})")
        k.line(f"np.greater({x}, 0, out={y})")
        k.line(f"np.subtract({y}, {negative}, out={y})")
    else:
        k.line(f"np.sign({x}, out={y})")
    k.may_overwrite(0, 0)


@kernel(ew.RELU, in_place=True)
def relu(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    if is_float(y.dtype):
        at_least(k, 0.0, x, y)
    else:
        k.line(f"np.maximum({x}, 0, out={y})")
    k.may_overwrite(0, 0)


def _sigmoid_denominator(k: Emitter, x: Operand, y: Operand) -> Operand:
    """Write ``1 + exp(-x)`` to the returned operand; ``y`` is overwritten in the process."""
    # this keeps the relative accuracy of tiny results, unlike 0.5 + 0.5 * tanh(x / 2)
    t = intermediate(k, y)
    negate(k, x, t)
    k.line(f"np.exp({t}, out={y})")
    k.line(f"np.add({y}, {scalar(k, 1.0, y.dtype)}, out={t})")
    return t


@kernel(ew.SIGMOID, in_place=True)
def sigmoid(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"np.reciprocal({_sigmoid_denominator(k, x, y)}, out={y})")
    k.may_overwrite(0, 0)


@kernel(ew.SILU)
def silu(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"np.divide({x}, {_sigmoid_denominator(k, x, y)}, out={y})")


def _work(k: Emitter, rows: int) -> Operand:
    """Working memory of an activation computed part by part: its size does not depend on that of the array."""
    return k.scratch((rows, activation_calls.PART), k.outs[0].dtype, "work")


def _one_call(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    """The time of one call: slightly more than the default lowering, which is taken if no block requires this one."""
    return Work(calls=1)


@kernel(ew.SILU, lowering="in_place", in_place=True, cost=_one_call)
def silu_in_place(k: Emitter) -> None:
    """For a block of a layer's result, which it may overwrite."""
    k.line(f"{k.use(activation_calls.silu)}({k.ins[0]}, {k.outs[0]}, {_work(k, 1)})")
    k.may_overwrite(0, 0)


@kernel(ew.HARD_SWISH)
def hard_swish(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"np.multiply({x}, {scalar(k, 1 / 6, y.dtype)}, out={y})")
    k.line(f"np.add({y}, {scalar(k, 0.5, y.dtype)}, out={y})")
    k.line(f"{y}.clip({scalar(k, 0.0, y.dtype)}, {scalar(k, 1.0, y.dtype)}, out={y})")
    k.line(f"np.multiply({x}, {y}, out={y})")


@kernel(ew.HARD_SWISH, lowering="in_place", in_place=True, cost=_one_call)
def hard_swish_in_place(k: Emitter) -> None:
    """For a block of a layer's result, which it may overwrite."""
    k.line(f"{k.use(activation_calls.hard_swish)}({k.ins[0]}, {k.outs[0]}, {_work(k, 1)})")
    k.may_overwrite(0, 0)


def _choose_positive(k: Emitter, x: Operand, y: Operand) -> None:
    """Set ``y`` to ``x`` where that is positive."""
    positive = k.scratch(x.shape, bool_, "positive")
    k.line(f"np.greater({x}, 0, out={positive})")
    k.line(f"np.copyto({y}, {x}, where={positive})")


@kernel(ew.LEAKY_RELU)
def leaky_relu(k: Emitter) -> None:
    (x,), (y,), slope = k.ins, k.outs, k.attrs.alpha
    k.line(f"np.multiply({x}, {scalar(k, slope, y.dtype)}, out={y})")
    if 0 < slope <= 1:
        k.line(f"np.maximum({x}, {y}, out={y})")
    else:
        _choose_positive(k, x, y)


@kernel(ew.LEAKY_RELU, lowering="in_place", in_place=True, cost=_one_call)
def leaky_relu_in_place(k: Emitter) -> None:
    """For a block of a layer's result, which it may overwrite: the scaled values are a temporary array."""
    (x,), (y,), slope = k.ins, k.outs, k.number(k.attrs.alpha)
    if k.attrs.alpha == 0:  # infinity times 0 is NaN
        k.line(f"{y}[...] = np.where({x} > 0, {x}, {x} * {slope})")
    else:
        k.line(f"np.{'minimum' if k.attrs.alpha > 1 else 'maximum'}({x}, {x} * {slope}, out={y})")
    k.may_overwrite(0, 0)


@kernel(ew.ELU)
def elu(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"np.minimum({x}, {scalar(k, 0.0, y.dtype)}, out={y})")
    k.line(f"np.expm1({y}, out={y})")
    if k.attrs.alpha != 1:
        k.line(f"np.multiply({y}, {scalar(k, k.attrs.alpha, y.dtype)}, out={y})")
    _choose_positive(k, x, y)


def _erf(k: Emitter, y: Operand) -> None:
    """Replace the freshly written ``y`` by its error function."""
    flat = k.target(k.permuted(y, y.type.order or tuple(range(y.type.rank))), (y.type.size,), "flat")  # type: ignore[arg-type]
    length = min(erf_calls.BLOCK, y.type.size)  # type: ignore[type-var]
    work = k.scratch((erf_calls.WORK, length), y.dtype, "work")  # type: ignore[arg-type]
    mask = k.scratch((length,), bool_, "mask")  # type: ignore[arg-type]
    k.line(f"{k.use(erf_calls.erf_in_place)}({flat}, {work}, {mask})")


def _contiguous_output(k: Emitter) -> Operand:
    """The output or, if it has gaps, working memory of its shape."""
    y: Operand = k.outs[0]
    return y if y.contiguous else k.scratch(y.shape, y.dtype)


@kernel(ew.ERF)
def erf(k: Emitter) -> None:
    (x,), t = k.ins, _contiguous_output(k)
    k.line(f"{t}[...] = {x}")
    _erf(k, t)
    if t is not k.outs[0]:
        k.line(f"{k.outs[0]}[...] = {t}")
    k.may_overwrite(0, 0)


@kernel(ew.GELU)
def gelu(k: Emitter) -> None:
    (x,), y, t = k.ins, k.outs[0], _contiguous_output(k)

    def number(value: float) -> str:
        return scalar(k, value, t.dtype)

    if k.attrs.approximate == "tanh":
        k.line(f"np.multiply({x}, {x}, out={t})")
        k.line(f"np.multiply({t}, {number(ew.GELU_CUBE * ew.GELU_SCALE)}, out={t})")
        k.line(f"np.add({t}, {number(ew.GELU_SCALE)}, out={t})")
        k.line(f"np.multiply({t}, {x}, out={t})")
        k.line(f"np.tanh({t}, out={t})")
    else:
        k.line(f"np.multiply({x}, {number(0.5**0.5)}, out={t})")
        _erf(k, t)
    k.line(f"np.add({t}, {number(1.0)}, out={t})")
    k.line(f"np.multiply({t}, {number(0.5)}, out={t})")
    k.line(f"np.multiply({t}, {x}, out={y})")


@kernel(ew.SOFTPLUS)
def softplus(k: Emitter) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    linear = k.scratch(x.shape, bool_, "linear")
    k.line(f"np.multiply({x}, {k.number(a.beta)}, out={y})")
    k.line(f"np.greater({y}, {k.number(a.threshold)}, out={linear})")
    k.line(f"np.logaddexp({y}, 0, out={y})")
    k.line(f"np.divide({y}, {k.number(a.beta)}, out={y})")
    k.line(f"np.copyto({y}, {x}, where={linear})")


@kernel(ew.WHERE)
def where(k: Emitter) -> None:
    (condition, a, b), (y,) = k.ins, k.outs
    if condition.type.size == 1:
        k.line(f"np.copyto({y}, {a} if {condition} else {b})")
        k.may_overwrite(0, 1, 2)
        return
    if math.prod(y.shape) < SMALL:
        k.line(f"{y}[...] = {b}")
        k.line(f"np.copyto({y}, {a}, where={condition})")
        k.may_overwrite(0, 2)
        return
    # y = b ^ (a ^ b) * condition, on the bits as integers: a masked copy takes ten times as long
    whole = as_dtype(f"int{8 * y.dtype.itemsize}")
    first, second, target = (_bits(k, x, whole) for x in (a, b, y))
    other = k.scratch(y.shape, whole, "bits", y.type.order)
    zero = next((slot for slot, x in ((1, a), (2, b)) if _is_zero(x)), None)
    if zero is not None:  # the other operand times the condition
        if zero == 1:
            kept = k.scratch(condition.shape, bool_, "kept", condition.type.order)
            k.line(f"np.logical_not({condition}, out={kept})")
            condition, first = kept, second
        k.line(f"np.copyto({other}, {_bits(k, condition, as_dtype('int8'))})")
        k.line(f"np.multiply({other}, {first}, out={target})")
        k.may_overwrite(0, 3 - zero)
        return
    k.line(f"np.bitwise_xor({first}, {second}, out={other})")
    k.line(f"np.multiply({other}, {_bits(k, condition, as_dtype('int8'))}, out={other})")
    k.line(f"np.bitwise_xor({other}, {second}, out={target})")
    k.may_overwrite(0, 1, 2)


def _is_zero(x: Operand) -> bool:
    """Whether all elements are known to be 0 with all bits 0 (not -0.0)."""
    return x.value == 0 and math.copysign(1.0, x.value) > 0


def _bits(k: Emitter, x: Operand, whole: DType) -> Operand:
    """The operand as integers with the same bits."""
    seen = k.view(x, f"{x}.view({k.use(whole.type, whole.name)})", x.shape, order=x.type.order, contiguous=x.contiguous)
    seen.type = TensorType(x.shape, whole, x.type.order)
    return seen


@kernel(CLIP, in_place=True)
def clip(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    low, high = k.attrs.low, k.attrs.high
    if is_float(y.dtype):
        least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
        k.line(f"{x}.clip({scalar(k, least, y.dtype)}, {scalar(k, most, y.dtype)}, out={y})")
    else:
        if low is not None:
            k.line(f"np.maximum({x}, {k.number(low)}, out={y})")
        if high is not None:
            k.line(f"np.minimum({x if low is None else y}, {k.number(high)}, out={y})")
    k.may_overwrite(0, 0)
