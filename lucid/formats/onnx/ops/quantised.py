"""Operators on quantised integers, which stand for ``(x - zero point) * scale``.

Products of such integers run as products of floats, which are exact as long as no sum exceeds the mantissa: in float32
up to 2**24, beyond that in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import GraphError
from ....graph.assume import is_at_least
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import elementwise as ew
from ....graph.ops import reduce, shape
from ....graph.ops.bounds import clip
from ....graph.ops.composite import eq
from ....graph.ops.linalg import matmul
from ....graph.ops.promotion import cast
from ....graph.ops.rounding import FLOAT_FORMATS, round_straight
from ....graph.ops.source import full
from ....graph.ops.subscript import getitem
from ....graph.types import DTYPES, DType, as_dtype, float32, is_float, product
from ..float_integers import FloatIntegers
from ..host import ELEMENT_TYPES, evaluated
from ..model import SMALL, Array, NodeDef
from ..narrow_types import FLOATS, INTEGERS, as_small
from ..registry import Call, Value, converter
from .windows import convolved

FLOAT64, INT32, INT64, UINT8 = (DTYPES[name] for name in ("float64", "int32", "int64", "uint8"))
EXACT = 1 << 24
"""The largest integer up to which float32 represents all integers."""


# ---------------------------------------------------------------- to integers and back


@evaluated("DequantizeLinear")
def dequantized(node: NodeDef, x: Array, scale: Array, zero: Array | None = None) -> Array:
    """The numbers that known integers stand for, so that quantised weights become ordinary ones."""
    made = (
        scale.dtype if node.attributes.get("output_dtype", 0) == 0 else ELEMENT_TYPES[node.attributes["output_dtype"]]
    )
    axis, block = node.attributes.get("axis", 1), node.attributes.get("block_size", 0)

    def spread(one: Array) -> Array:
        if one.ndim == 0 or one.size == 1:
            return one.reshape(())
        if block:
            return np.take(np.repeat(one, block, axis), np.arange(x.shape[axis]), axis)
        return one.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])

    wide = np.float64 if x.dtype.itemsize > 2 else np.float32
    centred = x.astype(wide) if zero is None else x.astype(wide) - spread(zero.astype(wide))
    return np.asarray(centred.astype(scale.dtype) * spread(scale)).astype(made)


@converter("DequantizeLinear", since=10, host=(1, 2))
def dequantize(call: Call, x: Value, scale: Value, zero: Value = None) -> AbstractTensor:
    made = _element(call, "output_dtype")
    step, point = call.tensor(scale), call.optional(zero)
    whole = call.floats(x, step.type.dtype)
    centred = _centred(whole, None if point is None else _spread(call, point, whole), step.type.dtype)
    y = centred * _spread(call, step, whole)
    return y if made is None else cast(y, made)


@converter("QuantizeLinear", since=10, host=(1, 2))
def quantize(call: Call, x: Value, scale: Value, zero: Value = None) -> AbstractTensor | FloatIntegers:
    """Quantise numbers; the gradient passes straight through rounding, and is zero where values are clipped."""
    kind = call.attribute("output_dtype", 0) if zero is None else call.kinds.get(call.node.inputs[2], 0)
    asked = None if kind in SMALL else _element(call, "output_dtype")
    (numbers, step), point = call.tensors(x, scale), call.optional(zero)
    if call.attribute("precision", 0) not in (0, 1, 11):
        raise GraphError(f"it divides in an element type that is not known here ({call.attribute('precision')})")
    made = point.type.dtype if point is not None else asked or UINT8
    if kind not in SMALL and made.kind not in "iu":
        raise GraphError(f"numbers are quantised to integers, not to {made.name}")
    numbers = numbers if is_float(numbers.type.dtype) else cast(numbers, step.type.dtype)
    steps = numbers / _spread(call, step, numbers)
    shift = None if point is None else _spread(call, point, numbers)
    if kind in INTEGERS:
        bits, signed = INTEGERS[kind]
        low = -(1 << (bits - 1)) if signed else 0
        return saturated(steps, DTYPES["int8" if signed else "uint8"], shift, (low, low + (1 << bits) - 1))
    if kind in SMALL:
        steps, saturate = steps if shift is None else steps + shift, bool(call.attribute("saturate", 1))
        if saturate and kind in FLOATS:
            most = FLOAT_FORMATS[FLOATS[kind]].largest
            steps = clip(steps, -most, most)
        return as_small(steps, kind, saturate)
    return saturated(steps, made, shift)


def _element(call: Call, name: str) -> DType | None:
    """The element type that an attribute asks for; None if it does not specify one."""
    kind = call.attribute(name, 0)
    if not kind:
        return None
    if kind not in ELEMENT_TYPES:
        raise GraphError(f"there is no element type {kind} here")
    return as_dtype(ELEMENT_TYPES[kind])


def _spread(call: Call, one: AbstractTensor, x: AbstractTensor) -> AbstractTensor:
    """A scale or zero point shaped to broadcast to ``x``: for all, for each position or for each block of an axis."""
    if one.type.shape in ((), (1,)):
        return shape.reshape(one, ())
    rank = x.type.rank
    axis, block = call.attribute("axis", 1), call.attribute("block_size", 0)
    if not -rank <= axis < rank:
        raise GraphError(f"there is no axis {axis} in {x.type}")
    axis %= rank
    if not block:
        if one.type.rank != 1:
            raise GraphError(f"a scale of {one.type} stands neither for all nor for the places of an axis")
        return shape.reshape(one, (*[1] * axis, one.type.shape[0], *[1] * (rank - axis - 1)))
    if one.type.rank != rank or not isinstance(one.type.shape[axis], int):
        raise GraphError(f"a scale of {one.type} does not fit blocks of {block} along axis {axis} of {x.type}")
    return getitem(
        shape.repeat_interleave(one, block, axis), (*[slice(None)] * axis, slice(0, x.type.shape[axis]))
    )  # fmt: skip


def saturated(
    steps: AbstractTensor, made: DType, zero: AbstractTensor | None, limits: tuple[int, int] | None = None
) -> FloatIntegers:
    """Whole steps from a zero point as integers, clipped to the range of the type."""
    low, high = limits or (int(np.iinfo(made.name).min), int(np.iinfo(made.name).max))
    wide = cast(steps, FLOAT64) if high > EXACT else steps
    whole = round_straight(wide)
    if zero is not None:
        whole = whole + cast(zero, whole.type.dtype)
    return FloatIntegers(clip(whole, float(low), float(high)), made)


@converter("DynamicQuantizeLinear", since=11)
def dynamic_quantize(call: Call, x: Value) -> list[Value]:
    numbers = call.tensor(x)
    scale, zero = dynamic_scale(numbers)
    return [saturated(numbers / scale, UINT8, zero), scale, cast(zero, UINT8)]


def dynamic_scale(x: AbstractTensor) -> tuple[AbstractTensor, AbstractTensor]:
    """The scale with which all of ``x``, and 0, fit into uint8, and the zero point as a float."""
    if not is_at_least(x.type.size, 1, likely=True):
        return full(x, 1.0, ()), full(x, 0.0, ())
    least, most = ew.minimum(reduce.amin(x), 0.0), ew.maximum(reduce.amax(x), 0.0)
    scale = (most - least) / 255.0
    scale = ew.where(eq(scale, 0.0), 1.0, scale)  # of nothing but zeros
    return scale, ew.round_(clip(-least / scale, 0.0, 255.0))


# ---------------------------------------------------------------- products


def _range(value: Value) -> int:
    """The largest distance of an integer of this element type from a zero point of the type."""
    dtype = value.dtype if isinstance(value, np.ndarray | FloatIntegers) else value.type.dtype  # type: ignore[union-attr]
    if dtype.kind not in "iu" or dtype.itemsize != 1:
        raise GraphError(f"integers of 8 bits are multiplied here, not {dtype.name}")
    return 255


def _bound(centred: Array, axes: tuple[int, ...]) -> int:
    """An upper bound of all partial sums of products of bytes with these weights, in any order.

    The bound itself is computed in float32, which is precise enough for comparisons with it.
    """
    # what is above and what is below the zero point lie 255 apart together
    sides = (np.maximum(centred, 0).sum(axes), np.minimum(centred, 0).sum(axes))
    return 255 * max((int(np.abs(side).max()) for side in sides if side.size), default=0)


def _centred(x: AbstractTensor, zero: AbstractTensor | None, dtype: DType) -> AbstractTensor:
    wide = cast(x, dtype)
    return wide if zero is None else wide - cast(zero, dtype)


def _weights(
    call: Call, weight: Value, zero: Value, place: Sequence[int] | None, axes: tuple[int, ...], depth: Dim
) -> tuple[AbstractTensor, int | None, DType]:
    """The weights minus their zero point, a bound of sums of products with them, and the type that holds such sums.

    ``place`` is the shape that aligns a vector of zero points with the weights.
    """
    if isinstance(weight, np.ndarray) and (zero is None or isinstance(zero, np.ndarray)):
        known, bound = call.once(lambda: _known(weight, zero, place, axes), weight, zero)
        return call.world.constant(known), bound, as_dtype(known.dtype)
    most = depth * 255 * _range(weight) if isinstance(depth, int) else None
    dtype = float32 if most is not None and most <= EXACT else FLOAT64
    point = None if zero is None else call.tensor(zero)
    if point is not None and place is not None and point.type.rank == 1:
        point = shape.reshape(point, tuple(place))
    return _centred(call.floats(weight, dtype), point, dtype), most, dtype


def _known(
    weight: Array, zero: Array | None, place: Sequence[int] | None, axes: tuple[int, ...]
) -> tuple[Array, int]:  # fmt: skip
    """The same for constant weights, whose values bound the sums."""
    wide = weight.astype(np.float32)
    centred = wide if zero is None else wide - _placed(zero.astype(np.float32), place)
    bound = _bound(centred, axes)
    return centred if bound <= EXACT else centred.astype(FLOAT64), bound


def _placed(zero: Array, place: Sequence[int] | None) -> Array:
    return zero.reshape(()) if zero.size == 1 else zero.reshape(place) if place and zero.ndim == 1 else zero


def _wrapped(y: AbstractTensor, bound: int | None) -> AbstractTensor | FloatIntegers:
    """Whole numbers as int32, with wrap-around."""
    return FloatIntegers(y, INT32) if bound is not None and bound < 1 << 31 else cast(cast(y, INT64), INT32)


def _matmul(call: Call, a: Value, b: Value, a_zero: Value, b_zero: Value) -> tuple[AbstractTensor, int | None]:
    """The product of two integer matrices, as whole floats."""
    _range(a), _range(b)
    x = call.floats(a)
    shape_b = b.shape if isinstance(b, np.ndarray) else call.floats(b).type.shape
    w, bound, dtype = _weights(call, b, b_zero, None, (-2 if len(shape_b) > 1 else -1,), x.type.shape[-1])
    point = None if a_zero is None else call.tensor(a_zero)
    if point is not None and point.type.rank == 1 and point.type.shape != (1,):  # one for each row
        point = shape.unsqueeze(point, 1)
    return matmul(_centred(x, point, dtype), w), bound


@converter("MatMulInteger", since=10)
def matmul_integer(
    call: Call, a: Value, b: Value, a_zero: Value = None, b_zero: Value = None
) -> AbstractTensor | FloatIntegers:  # fmt: skip
    return _wrapped(*_matmul(call, a, b, a_zero, b_zero))


def _conv(call: Call, x: Value, w: Value, x_zero: Value, w_zero: Value) -> tuple[AbstractTensor, int | None]:
    """The convolution of integers, as whole floats; the image is padded with its zero point."""
    _range(x), _range(w)
    sizes = w.shape if isinstance(w, np.ndarray) else call.floats(w).type.shape
    axes = tuple(range(1, len(sizes)))
    place = (-1, *[1] * len(axes))
    weight, bound, dtype = _weights(call, w, w_zero, place, axes, product(sizes[1:]))
    point = None if x_zero is None else call.tensor(x_zero)
    if point is not None:
        point = shape.reshape(point, () if product(point.type.shape) == 1 else (1, -1, *[1] * (len(axes) - 1)))
    return convolved(call, _centred(call.floats(x, dtype), point, dtype), weight, exact=True), bound


@converter("ConvInteger", since=10)
def conv_integer(
    call: Call, x: Value, w: Value, x_zero: Value = None, w_zero: Value = None
) -> AbstractTensor | FloatIntegers:  # fmt: skip
    return _wrapped(*_conv(call, x, w, x_zero, w_zero))


def _rescaled(
    call: Call, y: AbstractTensor, scales: Sequence[AbstractTensor], zero: AbstractTensor
) -> FloatIntegers:  # fmt: skip
    """Whole numbers in units of two scales, converted to integers in units of a third."""
    a, b, out = scales
    wide = as_dtype(np.result_type(np.float32, a.type.dtype))
    return saturated(cast(y, wide) * (a * b / out), zero.type.dtype, zero)


@converter("QLinearMatMul", since=10, host=(1, 2, 4, 5, 6, 7))
def qlinear_matmul(
    call: Call, a: Value, a_scale: Value, a_zero: Value, b: Value, b_scale: Value, b_zero: Value, y_scale: Value,
    y_zero: Value,
) -> FloatIntegers:  # fmt: skip
    y, _ = _matmul(call, a, b, a_zero, b_zero)
    scale_a, scale_b, scale_y, zero_y = call.tensors(a_scale, b_scale, y_scale, y_zero)

    def of_rows(one: AbstractTensor) -> AbstractTensor:
        return shape.unsqueeze(one, 1) if one.type.rank == 1 and one.type.shape != (1,) else _bare(one)

    return _rescaled(call, y, (of_rows(scale_a), _bare(scale_b), of_rows(scale_y)), of_rows(zero_y))


def _bare(one: AbstractTensor) -> AbstractTensor:
    """A vector of one element as a scalar."""
    return shape.reshape(one, ()) if one.type.shape == (1,) else one


@converter("QLinearConv", since=10, host=(1, 2, 4, 5, 6, 7))
def qlinear_conv(
    call: Call, x: Value, x_scale: Value, x_zero: Value, w: Value, w_scale: Value, w_zero: Value, y_scale: Value,
    y_zero: Value, bias: Value = None,
) -> FloatIntegers:  # fmt: skip
    y, _ = _conv(call, x, w, x_zero, w_zero)

    def of_channels(one: AbstractTensor) -> AbstractTensor:
        alone = one.type.rank == 0 or one.type.shape == (1,)
        return _bare(one) if alone else shape.reshape(one, (1, -1, *[1] * (y.type.rank - 2)))

    if bias is not None:
        y = cast(y, FLOAT64) + cast(of_channels(call.tensor(bias)), FLOAT64)
    scales = [of_channels(one) for one in call.tensors(x_scale, w_scale, y_scale)]
    return _rescaled(call, y, scales, of_channels(call.tensor(y_zero)))
