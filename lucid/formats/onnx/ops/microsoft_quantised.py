"""Quantised operators of ``com.microsoft`` that compute with floats and round the result."""

from __future__ import annotations

from collections.abc import Callable

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops import elementwise as ew
from ....graph.ops.linalg import linear, matmul
from ....graph.ops.norm import softmax
from ....graph.ops.promotion import cast
from ....graph.ops.reduce import mean
from ....graph.ops.shape import concat, permute, reshape, transpose
from ....graph.types import float32
from ..float_integers import FloatIntegers
from ..model import MICROSOFT
from ..registry import Call, Value, converter
from .quantised import UINT8, dequantize, dynamic_scale, quantize, saturated
from .windows import pooled_mean

converter("DequantizeLinear", domain=MICROSOFT, host=(1, 2))(dequantize)
converter("QuantizeLinear", domain=MICROSOFT, host=(1, 2))(quantize)


def _numbers(call: Call, x: Value, scale: Value, zero: Value) -> AbstractTensor:
    """The numbers that integers with a single scale stand for."""
    whole: AbstractTensor = call.floats(x)
    if zero is not None:
        whole = whole - cast(_bare(call, zero), float32)
    return whole * _bare(call, scale)


def scaled(call: Call, x: Value, scale: Value, zero: Value) -> AbstractTensor:
    """The numbers that integers stand for, with one scale, or one for each position of the last axis."""
    whole: AbstractTensor = call.floats(x)
    return (whole if zero is None else whole - cast(call.tensor(zero), float32)) * call.tensor(scale)


def _integers(call: Call, y: AbstractTensor, scale: Value, zero: Value) -> FloatIntegers:
    """Numbers quantised to the type of the zero point."""
    point = None if zero is None else _bare(call, zero)
    return saturated(y / _bare(call, scale), UINT8 if point is None else point.type.dtype, point)


def _bare(call: Call, one: Value) -> AbstractTensor:
    tensor: AbstractTensor = call.tensor(one)
    if tensor.type.shape not in ((), (1,)):
        raise GraphError(f"one scale for all is supported here, not {tensor.type}")
    return reshape(tensor, ())


@converter("QLinearAdd", "QLinearMul", domain=MICROSOFT, host=(1, 2, 4, 5, 6, 7))
def of_two(
    call: Call, a: Value, a_scale: Value, a_zero: Value, b: Value, b_scale: Value, b_zero: Value, scale: Value,
    zero: Value = None,
) -> FloatIntegers:  # fmt: skip
    left, right = _numbers(call, a, a_scale, a_zero), _numbers(call, b, b_scale, b_zero)
    return _integers(call, left + right if call.node.op == "QLinearAdd" else left * right, scale, zero)


@converter("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", domain=MICROSOFT, host=(1, 2, 3, 4))
def of_one(
    call: Call, x: Value, x_scale: Value, x_zero: Value, scale: Value, zero: Value = None
) -> FloatIntegers:  # fmt: skip
    functions: dict[str, Callable[[AbstractTensor], AbstractTensor]] = {
        "QLinearSigmoid": ew.sigmoid, "QLinearSoftmax": lambda x: softmax(x, call.attribute("axis", -1)),
        "QLinearLeakyRelu": lambda x: ew.leaky_relu(x, call.attribute("alpha", 0.01)),
    }  # fmt: skip
    if call.attribute("opset", 13) < 13:
        raise GraphError("the softmax over all axes from one on is not supported on integers")
    return _integers(call, functions[call.node.op](_numbers(call, x, x_scale, x_zero)), scale, zero)


@converter("QLinearConcat", domain=MICROSOFT, host=(0, 1))
def concat_of(call: Call, scale: Value, zero: Value, *parts: Value) -> FloatIntegers:
    if len(parts) % 3:
        raise GraphError(f"takes a scale and a zero point for each tensor, got {len(parts)} inputs")
    numbers = [_numbers(call, *parts[i : i + 3]) for i in range(0, len(parts), 3)]
    return _integers(call, concat(numbers, call.required("axis")), scale, zero)


@converter("QLinearGlobalAveragePool", "QLinearAveragePool", domain=MICROSOFT, host=(1, 2, 3, 4))
def mean_of(
    call: Call, x: Value, x_scale: Value, x_zero: Value, scale: Value, zero: Value = None
) -> FloatIntegers:  # fmt: skip
    image, last = _numbers(call, x, x_scale, x_zero), bool(call.attribute("channels_last", 0))
    rank = image.type.rank
    image = permute(image, (0, rank - 1, *range(1, rank - 1))) if last else image
    everywhere = call.node.op == "QLinearGlobalAveragePool"
    y = mean(image, tuple(range(2, rank)), keepdim=True) if everywhere else pooled_mean(call, image)
    return _integers(call, permute(y, (0, *range(2, rank), 1)) if last else y, scale, zero)


@converter("QGemm", domain=MICROSOFT, host=(1, 2, 4, 5, 7, 8))
def gemm_of(
    call: Call, a: Value, a_scale: Value, a_zero: Value, b: Value, b_scale: Value, b_zero: Value, c: Value = None,
    scale: Value = None, zero: Value = None,
) -> AbstractTensor | FloatIntegers:  # fmt: skip
    left, weight = _numbers(call, a, a_scale, a_zero), _columns(call, b, b_scale, b_zero)
    left = transpose(left, 0, 1) if call.attribute("transA", 0) else left
    y = linear(left, weight) * call.attribute("alpha", 1.0)
    if c is not None:  # whole numbers of the steps that products have
        y = y + cast(call.tensor(c), float32) * (_bare(call, a_scale) * call.tensor(b_scale))
    return y if scale is None else _integers(call, y, scale, zero)


def _columns(call: Call, b: Value, scale: Value, zero: Value) -> AbstractTensor:
    """Weights (out, in), possibly with a scale for each output."""
    whole: AbstractTensor = call.floats(b)
    whole = whole if call.attribute("transB", 0) else transpose(whole, 0, 1)
    step, point = (None if one is None else _upright(call.tensor(one)) for one in (scale, zero))
    whole = whole if point is None else whole - cast(point, float32)
    return whole if step is None else whole * step


def _upright(one: AbstractTensor) -> AbstractTensor:
    return reshape(one, (-1, 1)) if one.type.rank == 1 else one


@converter("MatMulIntegerToFloat", "DynamicQuantizeMatMul", domain=MICROSOFT)
def matmul_to_float(call: Call, a: Value, b: Value, *more: Value) -> AbstractTensor:
    """A product with weights that have one scale, or one for each output, as floats."""
    given = [*more, *[None] * 5]
    if call.node.op == "DynamicQuantizeMatMul":
        b_scale, b_zero, bias = given[:3]
        numbers: AbstractTensor = call.tensor(a)
        scale, zero = dynamic_scale(numbers)
        left = (saturated(numbers / scale, UINT8, zero).floats - zero) * scale
    else:
        a_scale, b_scale, a_zero, b_zero, bias = given[:5]
        left = _numbers(call, a, a_scale, a_zero)
    y = matmul(left, scaled(call, b, b_scale, b_zero))
    return y if bias is None else y + call.tensor(bias)
