"""Operators of ONNX Runtime, each beside what it stands for in operators of the standard."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import GraphError

from .models import Array, expected, model

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
RNG = np.random.default_rng(0)
OWN = "com.microsoft"


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def node(op: str, inputs: str, outputs: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node; ``-`` is an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain=domain, **attributes)


def own(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return node(op, inputs, outputs, OWN, **attributes)


STEP = {"s": np.float32(0.03), "z": np.uint8(120), "t": np.float32(0.05), "o": np.uint8(128)}
"""A scale and a zero point of what comes in, and those of what goes out."""


def back(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    """On the numbers that the integers ``x`` stand for, the result ``r`` of which is rounded to integers."""
    return [node("DequantizeLinear", "x s z", "d"), *nodes, node("QuantizeLinear", "r t o", "y")]


TEXT, IMAGE, CODES = floats(2, 3, 8), floats(2, 3, 6, 5), RNG.integers(0, 255, (2, 3, 6, 5)).astype(np.uint8)
NORM = {"g": floats(8), "b": floats(8), "c": floats(8)}
CONV = {"w": floats(4, 3, 3, 3), "b": floats(4)}
GELU = node("Gelu", "h", "y")

PAIRS: dict[str, tuple[Array, dict[str, Any], list[onnx.NodeProto], list[onnx.NodeProto]]] = {
    "Gelu": (TEXT, {}, [own("Gelu", "x")], [node("Gelu", "x", "y")]),
    "BiasGelu": (TEXT, NORM, [own("BiasGelu", "x b")], [node("Add", "x b", "h"), GELU]),
    "FastGelu": (
        TEXT, NORM, [own("FastGelu", "x b")], [node("Add", "x b", "h"), node("Gelu", "h", "y", approximate="tanh")],
    ),
    "QuickGelu": (
        TEXT, {"a": np.float32(1.702)}, [own("QuickGelu", "x")],
        [node("Mul", "x a", "h"), node("Sigmoid", "h", "i"), node("Mul", "x i", "y")],
    ),
    "FusedMatMul": (
        TEXT, {"w": floats(4, 8), "a": np.float32(0.5)}, [own("FusedMatMul", "x w", alpha=0.5, transB=1)],
        [node("Transpose", "w", "v"), node("MatMul", "x v", "h"), node("Mul", "h a", "y")],
    ),
    "FusedMatMul, rows before the batches": (
        TEXT, {"w": floats(2, 3, 5)}, [own("FusedMatMul", "x w", transBatchA=1, transA=1, transBatchB=1)],
        [node("Transpose", "x", "t", perm=[1, 2, 0]), node("Transpose", "w", "v", perm=[1, 0, 2]),
         node("MatMul", "t v", "y")],
    ),
    "FusedGemm": (
        TEXT[0], {"w": floats(4, 8), "b": floats(4)},
        [own("FusedGemm", "x w b", transB=1, alpha=0.5, activation="LeakyRelu", activation_alpha=0.2)],
        [node("Gemm", "x w b", "h", transB=1, alpha=0.5), node("LeakyRelu", "h", "y", alpha=0.2)],
    ),
    "FusedGemm, two numbers": (
        TEXT[0], {"w": floats(8, 4)},
        [own("FusedGemm", "x w", activation="HardSigmoid", activation_alpha=0.3, activation_beta=0.4)],
        [node("Gemm", "x w", "h"), node("HardSigmoid", "h", "y", alpha=0.3, beta=0.4)],
    ),
    "Inverse": (
        IMAGE[..., :5, :], {"e": np.eye(5, dtype=np.float32)},
        [own("Inverse", "x", "i"), node("MatMul", "x i", "y")], [node("Mul", "x e", "h"), node("Div", "h x", "y")],
    ),
    "SkipLayerNormalization": (
        TEXT, NORM, [own("SkipLayerNormalization", "x x g b c", epsilon=1e-5)],
        [node("Add", "x x", "h"), node("Add", "h c", "i"), node("LayerNormalization", "i g b", "y")],
    ),
    "SkipSimplifiedLayerNormalization": (
        TEXT, NORM, [own("SkipSimplifiedLayerNormalization", "x x g", epsilon=1e-5)],
        [node("Add", "x x", "h"), node("RMSNormalization", "h g", "y")],
    ),
    "SimplifiedLayerNormalization": (
        TEXT, NORM, [node("SimplifiedLayerNormalization", "x g", "y")], [node("RMSNormalization", "x g", "y")],
    ),
    "FusedConv": (
        IMAGE, CONV, [own("FusedConv", "x w b", activation="LeakyRelu", activation_params=[0.1], pads=[1] * 4)],
        [node("Conv", "x w b", "h", pads=[1] * 4), node("LeakyRelu", "h", "y", alpha=0.1)],
    ),
    "FusedConv and a sum": (
        IMAGE, CONV, [own("FusedConv", "x w b i", activation="Relu", pads=[1] * 4), ],
        [node("Conv", "x w b", "h", pads=[1] * 4), node("Add", "h i", "j"), node("Relu", "j", "y")],
    ),
    "Attention": (
        TEXT, {"w": floats(8, 24), "b": floats(24), "m": np.array([[1, 1, 0], [1, 1, 1]], np.int32),
               "k": np.array([[[[1, 1, 0]]], [[[1, 1, 1]]]], np.bool_)},
        [own("Attention", "x w b m", num_heads=2)],
        [node("MatMul", "x w", "h"), node("Add", "h b", "i"), node("Split", "i", "q r v", axis=2, num_outputs=3),
         node("Attention", "q r v k", "y", q_num_heads=2, kv_num_heads=2)],
    ),
    "QLinearAdd": (CODES, STEP, [own("QLinearAdd", "x s z x s z t o")], back(node("Add", "d d", "r"))),
    "QLinearMul": (CODES, STEP, [own("QLinearMul", "x s z x s z t o")], back(node("Mul", "d d", "r"))),
    "QLinearSigmoid": (CODES, STEP, [own("QLinearSigmoid", "x s z t o")], back(node("Sigmoid", "d", "r"))),
    "QLinearSoftmax": (CODES, STEP, [own("QLinearSoftmax", "x s z t o", opset=13)], back(node("Softmax", "d", "r"))),
    "QLinearLeakyRelu": (
        CODES, STEP, [own("QLinearLeakyRelu", "x s z t o", alpha=0.2)], back(node("LeakyRelu", "d", "r", alpha=0.2)),
    ),
    "QLinearConcat": (
        CODES, STEP, [own("QLinearConcat", "t o x s z x s z", axis=1)], back(node("Concat", "d d", "r", axis=1)),
    ),
    "QLinearGlobalAveragePool": (
        CODES, STEP, [own("QLinearGlobalAveragePool", "x s z t o")], back(node("GlobalAveragePool", "d", "r")),
    ),
    "QLinearGlobalAveragePool, channels last": (
        CODES, STEP, [own("QLinearGlobalAveragePool", "x s z t o", channels_last=1)],
        back(node("Transpose", "d", "e", perm=[0, 3, 1, 2]), node("GlobalAveragePool", "e", "f"),
             node("Transpose", "f", "r", perm=[0, 2, 3, 1])),
    ),
    "QLinearAveragePool": (
        CODES, STEP, [own("QLinearAveragePool", "x s z t o", kernel_shape=[2, 2])],
        back(node("AveragePool", "d", "r", kernel_shape=[2, 2])),
    ),
    "QGemm": (
        CODES[:, 0, 0], {**STEP, "w": RNG.integers(-90, 90, (4, 5)).astype(np.int8), "ws": np.float32(0.02),
                         "wz": np.int8(3), "c": np.arange(4, dtype=np.int32) * 90, "cs": np.float32(0.03 * 0.02)},
        [own("QGemm", "x s z w ws wz c t o", transB=1)],
        back(node("DequantizeLinear", "w ws wz", "v"), node("DequantizeLinear", "c cs", "u"),
             node("Gemm", "d v u", "r", transB=1)),
    ),
    "MatMulIntegerToFloat": (
        CODES, {**STEP, "w": RNG.integers(-90, 90, (5, 4)).astype(np.int8), "ws": np.float32(0.02), "c": floats(4)},
        [own("MatMulIntegerToFloat", "x w s ws z - c")],
        [node("DequantizeLinear", "x s z", "d"), node("DequantizeLinear", "w ws", "v"), node("MatMul", "d v", "h"),
         node("Add", "h c", "y")],
    ),
    "DynamicQuantizeMatMul": (
        TEXT, {"w": RNG.integers(-90, 90, (8, 4)).astype(np.int8), "ws": np.float32(0.02), "c": floats(4)},
        [own("DynamicQuantizeMatMul", "x w ws - c")],
        [node("DynamicQuantizeLinear", "x", "i a z"), node("DequantizeLinear", "i a z", "d"),
         node("DequantizeLinear", "w ws", "v"), node("MatMul", "d v", "h"), node("Add", "h c", "y")],
    ),
    "QuantizeLinear and back": (
        TEXT, STEP, [own("QuantizeLinear", "x s z", "q"), own("DequantizeLinear", "q s z", "y")],
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_what_it_stands_for(name: str) -> None:
    x, constants, nodes, spelled = PAIRS[name]
    constants = {**constants, "i": floats(2, 4, 6, 5)} if name.endswith("sum") else constants
    net = lucid.onnx.load(model(nodes, {"x": x}, ["y"], constants, 23, {OWN: 1}))
    (want,) = expected(model(spelled, {"x": x}, ["y"], constants, 23), {"x": x})
    for found in (net(x), lucid.compile(net)(x)):
        assert found.numpy().dtype == want.dtype
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-4, atol=1 if want.dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize(("bits", "zeros"), [(4, False), (4, True), (8, False), (2, False)])
def test_weights_of_few_bits_have_a_scale_for_each_block(bits: int, zeros: bool) -> None:
    inputs, outputs, block = 40, 3, 16
    numbers = RNG.integers(0, 1 << bits, (outputs, 3, block)).astype(np.uint8)
    scales, points = np.abs(floats(outputs, 3)), np.full((outputs, 4), 1 << (bits - 1), np.uint8)
    if zeros:
        points = RNG.integers(0, 1 << bits, (outputs, 4)).astype(np.uint8)
    constants: dict[str, Array] = {"w": packed(numbers, bits), "s": scales.ravel()}
    constants |= {"z": packed(points, bits).ravel()} if zeros else {}
    product = own("MatMulNBits", "x w s z" if zeros else "x w s", K=inputs, N=outputs, bits=bits, block_size=block)
    x = floats(2, inputs)
    net = lucid.onnx.load(model([product], {"x": x}, ["y"], constants, domains={OWN: 1}))
    weights = ((numbers.astype(np.float32) - points[:, :3, None]) * scales[..., None]).reshape(outputs, -1)
    np.testing.assert_allclose(net(x).numpy(), x @ weights[:, :inputs].T, rtol=1e-4, atol=1e-4)


def packed(numbers: Array, bits: int) -> Array:
    """Along the last axis, as many in a byte as go in, the first in its lowest bits."""
    parts = numbers.reshape(*numbers.shape[:-1], -1, 8 // bits).astype(np.uint16)
    return (parts << np.arange(0, 8, bits, dtype=np.uint16)).sum(-1).astype(np.uint8)


def test_what_is_not_supported_is_refused() -> None:
    odd = own("FusedConv", "x w", activation="Strange")
    with pytest.raises(GraphError, match="unknown activation 'Strange'"):
        lucid.onnx.load(model([odd], {"x": IMAGE}, ["y"], CONV, domains={OWN: 1}))(IMAGE)
