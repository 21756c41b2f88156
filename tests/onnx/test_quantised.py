"""Integers that stand for numbers: to the last bit what the format's reference, or the definition, makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import lucid
from lucid.errors import GraphError

from .models import Array, Case, agrees, close, model, one

RNG = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def scales(*shape: int) -> Array:
    return (np.abs(floats(*shape)) + 0.01).astype(np.float32)


def u8(*shape: int) -> Array:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def i8(*shape: int) -> Array:
    return RNG.integers(-128, 128, shape).astype(np.int8)


CASES: dict[str, Case] = {
    "QuantizeLinear": one("QuantizeLinear", [floats(3, 4) * 3, np.float32(0.05), np.uint8(128)], constant=[1, 2]),
    "QuantizeLinear 10": one("QuantizeLinear", [floats(3, 4), np.float32(0.05), np.int8(-3)], opset=10),
    "QuantizeLinear axis": one("QuantizeLinear", [floats(3, 4, 2) * 3, scales(4), i8(4)], constant=[1, 2], axis=1),
    "QuantizeLinear blocks": one("QuantizeLinear", [floats(3, 6), scales(3, 2), i8(3, 2)], constant=[1, 2], axis=1,
                                 block_size=3, opset=21),
    "QuantizeLinear int16": one("QuantizeLinear", [floats(3, 6) * 1e3, np.float32(0.01)], constant=[1],
                                output_dtype=5, opset=21),
    "DequantizeLinear 19": one("DequantizeLinear", [u8(3, 4), np.float32(0.05), np.uint8(128)], opset=19),
    "DequantizeLinear known": one("DequantizeLinear", [u8(3, 4), scales(4), u8(4)], constant=[0, 1, 2], opset=19),
    "DequantizeLinear blocks": one("DequantizeLinear", [i8(3, 5), scales(3, 2), i8(3, 2)], axis=1, block_size=3,
                                   opset=21, constant=[1, 2]),
    "DequantizeLinear known blocks": one("DequantizeLinear", [i8(3, 5), scales(3, 2)], axis=1, block_size=3, opset=21,
                                         constant=[0, 1]),
    "DequantizeLinear int4": one("DequantizeLinear", [RNG.integers(-8, 8, (4, 6)).astype(ml_dtypes.int4),
                                                      scales(2, 6)], axis=0, block_size=2, opset=21, constant=[0, 1]),
    "DynamicQuantizeLinear": one("DynamicQuantizeLinear", [floats(3, 4)], 3, opset=11),
    "DynamicQuantizeLinear above 0": one("DynamicQuantizeLinear", [scales(3, 4) + 1], 3, opset=11),
    "DynamicQuantizeLinear below 0": one("DynamicQuantizeLinear", [-scales(3, 4)], 3, opset=11),
    "MatMulInteger": one("MatMulInteger", [u8(3, 40), i8(40, 5), np.uint8(120), np.int8(3)], constant=[1, 3]),
    "MatMulInteger batch": one("MatMulInteger", [u8(2, 3, 40), i8(2, 40, 5)]),
    "MatMulInteger in float64": one("MatMulInteger", [u8(3, 4000), u8(4000, 5)], constant=[1]),
    "ConvInteger": one("ConvInteger", [u8(2, 3, 9, 9), u8(4, 3, 3, 3), np.uint8(7), np.uint8(100)], constant=[1, 3],
                       pads=[1, 1, 1, 1]),
    "ConvInteger exactly": one("ConvInteger", [u8(1, 64, 20, 20), i8(64, 64, 3, 3), np.uint8(7)], constant=[1],
                               pads=[1, 1, 1, 1]),
    "ConvInteger groups": one("ConvInteger", [u8(1, 4, 8, 8), u8(4, 2, 3, 3), np.uint8(7), u8(4)], constant=[1, 3],
                              group=2, strides=[2, 2]),
    "ConvInteger computed": one("ConvInteger", [u8(1, 4, 8, 8), u8(4, 4, 3, 3)]),
    "QLinearMatMul": one("QLinearMatMul", [u8(3, 40), np.float32(0.02), np.uint8(100), u8(40, 5), np.float32(0.03),
                                           np.uint8(120), np.float32(0.5), np.uint8(99)], constant=[3, 4, 5, 6, 7]),
    "QLinearConv": one("QLinearConv", [u8(1, 3, 7, 7), np.float32(0.02), np.uint8(100), u8(4, 3, 3, 3), scales(4),
                                       u8(4), np.float32(3), np.uint8(99),
                                       RNG.integers(-9999, 9999, 4).astype(np.int32)], constant=[3, 4, 5, 6, 7, 8]),
}  # fmt: skip

DEFINED: dict[str, tuple[Case, Callable[..., Array]]] = {
    "DequantizeLinear 13": (
        one("DequantizeLinear", [i8(3, 4), scales(3), i8(3)], axis=0),
        lambda x, scale, zero: (x.astype(np.float32) - zero[:, None]) * scale[:, None],
    ),
    "DequantizeLinear 10": (
        one("DequantizeLinear", [np.int32([5, -7, 1 << 25]), np.float32(0.5)], opset=10),
        lambda x, scale: (x * scale).astype(np.float32),
    ),
    "MatMulInteger rows and columns": (
        one("MatMulInteger", [u8(3, 40), u8(40, 5), u8(3), u8(5)]),
        lambda a, b, row, column: (a.astype(np.int32) - row[:, None]) @ (b.astype(np.int32) - column),
    ),
    "DynamicQuantizeLinear zeros": (
        one("DequantizeLinear", [np.zeros((2, 3), np.uint8), np.float32(1)], opset=11),
        lambda x, scale: x.astype(np.float32),
    ),
}
"""What the reference evaluator does not do."""


@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_what_the_format_says(name: str) -> None:
    agrees(CASES[name])


@pytest.mark.parametrize("name", DEFINED)
def test_an_operator_is_as_it_is_defined(name: str) -> None:
    case, define = DEFINED[name]
    agrees(case, [define(*case.inputs.values())])


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_batch_of_any_size_is_quantised_and_multiplied(rows: int) -> None:
    weight = i8(6, 4)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["y"]),
        helper.make_node("Cast", ["y"], ["f"], to=1),
        helper.make_node("Mul", ["f", "scale"], ["z"]),
    ]
    net = lucid.onnx.load(model(nodes, {"x": (1, ["n", 6])}, ["z"], {"w": weight}))
    x = floats(rows, 6)
    wanted = x @ weight.astype(np.float32)
    for answer in (net(x), lucid.compile(net, *net.specs)(x)):
        np.testing.assert_allclose(answer.numpy(), wanted, atol=0.01 * (np.abs(wanted).max() if rows else 1))


def test_nothing_but_zeros_are_quantised() -> None:
    case = one("DynamicQuantizeLinear", [np.zeros((2, 3), np.float32)], 3, opset=11)
    net = lucid.onnx.load(case.proto)
    y, scale, zero = net(*case.inputs.values())
    close((y, zero), [np.zeros((2, 3), np.uint8), np.zeros((), np.uint8)])
    assert np.isfinite(scale.numpy())


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (one("MatMulInteger", [np.ones((2, 2), np.int32)] * 2), "integers of 8 bits"),
        (one("QuantizeLinear", [floats(3, 4), scales(2, 2)]), "neither for all nor"),
        (one("QuantizeLinear", [floats(3, 4), np.float32(1)], opset=21, output_dtype=99), "no element type 99"),
    ],
)
def test_what_is_not_supported_is_said(case: Case, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        lucid.onnx.load(case.proto)(*case.inputs.values())


@pytest.mark.parametrize("way", ["numbers", "bytes", "a file"])
def test_numbers_of_four_bits_come_in_twos(way: str, tmp_path: Path) -> None:
    whole = np.arange(-4, 5, dtype=np.int8).reshape(3, 3)
    packed = helper.make_tensor("w", onnx.TensorProto.INT4, [3, 3], whole.ravel())
    if way != "numbers":
        packed = onnx.numpy_helper.from_array(whole.astype(ml_dtypes.int4), "w")
    proto = model([helper.make_node("DequantizeLinear", ["w", "s"], ["f"]), helper.make_node("Mul", ["f", "x"], ["y"])],
                  {"x": np.ones(1, np.float32)}, ["y"], {"s": np.array(0.5, np.float32)}, 21)  # fmt: skip
    proto.graph.initializer.append(packed)
    if way == "a file":
        onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="weights")
    net = lucid.onnx.load(tmp_path / "m.onnx" if way == "a file" else proto)
    np.testing.assert_array_equal(net(np.ones(1, np.float32)).numpy(), whole * np.float32(0.5))


def test_weights_that_are_known_are_trained() -> None:
    nodes: list[Any] = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"]), helper.make_node("MatMul", ["x", "f"], ["y"])
    ]  # fmt: skip
    net = lucid.onnx.load(model(nodes, {"x": floats(2, 3)}, ["y"], {"w": i8(3, 4), "s": np.float32(0.1).reshape(())}))
    (weight,) = net.parameters()
    assert weight.shape == (3, 4)


# ---------------------------------------------------------------- gradients


def pair_of(x: Array, scale: Any, zero: Array | None, between: Any = (), **attributes: Any) -> Any:
    """QuantizeLinear, other nodes, and DequantizeLinear."""
    ends = ["s", *(["z"] if zero is not None else [])]
    nodes = [helper.make_node("QuantizeLinear", ["x", *ends], ["q0"], **attributes)]
    for i, (op, more, given) in enumerate(between):
        nodes.append(helper.make_node(op, [f"q{i}", *more], [f"q{i + 1}"], **given))
    nodes.append(helper.make_node("DequantizeLinear", [f"q{len(between)}", *ends], ["y"], **attributes))
    constants = {"s": np.asarray(scale, np.float32), "least": np.uint8(20), "most": np.uint8(200)}
    constants = {**constants, "to": np.array([12]), **({"z": np.asarray(zero)} if zero is not None else {})}
    return lucid.onnx.load(model(nodes, {"x": x}, ["y"], {k: np.asarray(v) for k, v in constants.items()}, 23))


MAX_POOL = ("MaxPool", (), {"kernel_shape": [2], "strides": [2]})
STRAIGHT: dict[str, tuple[Any, Array | None, tuple[int, int], dict[str, Any]]] = {
    "uint8": (0.02, np.uint8(100), (0, 255), {}),
    "int8": (0.02, np.int8(-3), (-128, 127), {}),
    "no zero point": (0.02, None, (0, 255), {}),
    "int16": (0.0002, np.int16(3), (-32768, 32767), {}),
    "uint4": (0.5, np.array(3, ml_dtypes.uint4), (0, 15), {}),
    "int4": (0.5, np.array(1, ml_dtypes.int4), (-8, 7), {}),
    "axis": ([0.01, 0.02, 0.05], np.int8([0, 5, -9]), (-128, 127), {"axis": 1}),
    "last axis": ([0.01, 0.02, 0.05, 0.01], None, (0, 255), {"axis": -1}),
    "blocks": (np.full((2, 3, 2), 0.02, np.float32), None, (0, 255), {"axis": 2, "block_size": 2}),
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_gradients_pass_through_a_pair_but_where_it_clips(name: str) -> None:
    scale, zero, (low, high), attributes = STRAIGHT[name]
    x, weight = floats(2, 3, 4) * 4, floats(2, 3, 4)
    axis = attributes.get("axis", 0) % 3

    def spread(one: Any) -> Array:
        wide = np.asarray(one, np.float32)
        if wide.ndim == 3:
            return np.repeat(wide, 2, 2)
        return wide.reshape([-1 if i == axis else 1 for i in range(3)]) if wide.ndim else wide

    step, origin = spread(scale), spread(0 if zero is None else zero)
    steps = np.round(x / step) + origin
    wanted = (np.clip(steps, low, high) - origin) * step
    through = (steps >= low) & (steps <= high)
    assert 0 < through.sum() < x.size
    net = pair_of(x, scale, zero, **attributes)
    for function in (net, lucid.compile(net)):
        given = lucid.tensor(x, requires_grad=True)
        y = function(given)
        y.backward(weight)
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-6)
        np.testing.assert_allclose(given.grad.numpy(), weight * through, rtol=1e-6)


def test_gradients_pass_what_stands_between_a_pair() -> None:
    """What only moves integers, or picks some: then those that were picked take the gradient."""
    x = floats(1, 3, 8) * 4
    between = [
        ("Transpose", (), {"perm": [0, 1, 2]}), ("Clip", ("least", "most"), {}), MAX_POOL, ("Reshape", ("to",), {})
    ]  # fmt: skip
    net = pair_of(x, 0.02, np.uint8(100), between)
    steps = np.round(x / np.float32(0.02)) + 100
    held = np.clip(steps, 20, 200)
    pairs = held.reshape(12, 2)
    first = pairs.argmax(1)
    wanted = np.zeros((12, 2), np.float32)
    wanted[np.arange(12), first] = 1
    wanted = wanted.reshape(x.shape) * (held == steps)
    assert 0 < wanted.sum() < 12
    for function in (net, lucid.compile(net)):
        given = lucid.tensor(x, requires_grad=True)
        y = function(given)
        y.sum().backward()
        np.testing.assert_allclose(y.numpy(), (pairs.max(1) - 100) * 0.02, rtol=1e-5)
        np.testing.assert_array_equal(given.grad.numpy(), wanted)


def test_float8_and_whole_products_pass_gradients_too() -> None:
    x = floats(5, 6) * 4
    zero = np.array(0, ml_dtypes.float8_e4m3fn)
    weight = i8(6, 4)
    product = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["f"], to=1),
        helper.make_node("Mul", ["f", "scale"], ["y"]),
    ]  # fmt: skip
    whole = lucid.onnx.load(model(product, {"x": x}, ["y"], {"w": weight}))
    slopes = np.broadcast_to(weight.sum(1, dtype=np.float32), x.shape)
    for net, wanted in ((pair_of(x, 0.01, zero), (np.abs(x) <= 4.48).astype(np.float32)), (whole, slopes)):
        for function in (net, lucid.compile(net)):
            given = lucid.tensor(x, requires_grad=True)
            function(given).sum().backward()
            inside = np.ones_like(wanted) if net is not whole else (x > x.min()) & (x < x.max())
            np.testing.assert_allclose(given.grad.numpy()[inside > 0], wanted[inside > 0], rtol=1e-5)


def test_integers_that_are_asked_for_are_integers() -> None:
    """Whatever stands behind it that takes integers, and what the model gives."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("Cast", ["q"], ["wide"], to=6),
        helper.make_node("BitShift", ["u", "one"], ["shifted"], direction="LEFT"),
        helper.make_node("Cast", ["q"], ["u"], to=2), helper.make_node("Identity", ["q"], ["same"]),
    ]  # fmt: skip
    x = np.float32([-1, 0, 0.3, 1])
    net = lucid.onnx.load(model(nodes, {"x": x}, ["q", "wide", "shifted", "same"],
                                {"s": np.float32(0.1).reshape(()), "z": np.uint8(20).reshape(()),
                                 "one": np.uint8(1).reshape(())}))  # fmt: skip
    for function in (net, lucid.compile(net)):
        q, wide, shifted, same = function(x)
        close((q, wide, shifted, same), [np.uint8([10, 20, 23, 30]), np.int32([10, 20, 23, 30]),
                                         np.uint8([20, 40, 46, 60]), np.uint8([10, 20, 23, 30])])  # fmt: skip


def test_each_turn_of_a_loop_that_is_written_out_has_its_own_weights() -> None:
    """What is made of weights is kept for the next trace, and made again where the weights are others."""
    weights, x = i8(3, 8, 8), u8(2, 8)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Gather", ["w", "i"], ["own"]),
         helper.make_node("MatMulInteger", ["x", "own"], ["y"]), helper.make_node("Concat", ["s", "y"], ["t"], axis=0)],
        "body", [helper.make_empty_tensor_value_info(name) for name in ("i", "go", "s")],
        [helper.make_empty_tensor_value_info(name) for name in ("on", "t")],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["turns", "", "zero"], ["all"], body=body)
    constants = {"w": weights, "turns": np.array(3), "zero": np.zeros((0, 8), np.int32)}
    net = lucid.onnx.load(model([loop], {"x": x}, ["all"], constants))
    want = np.concatenate([x.astype(np.int32) @ weights[turn].astype(np.int32) for turn in range(3)])
    for run in (net, net, lucid.compile(net)):
        np.testing.assert_array_equal(run(x).numpy(), want)
