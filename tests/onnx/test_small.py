"""Numbers of eight bits and fewer lie on the grids of their types, beside what ``ml_dtypes`` makes of them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lucid
from lucid.errors import LucidError
from lucid.formats.onnx.narrow_types import FLOATS, INTEGERS
from lucid.graph.ops.rounding import FLOAT_FORMATS
from lucid.onnx import backend

from .models import Array, model, one

HALVES = {10: np.float16, 16: ml_dtypes.bfloat16}
TYPES = {
    17: ml_dtypes.float8_e4m3fn, 18: ml_dtypes.float8_e4m3fnuz, 19: ml_dtypes.float8_e5m2,
    20: ml_dtypes.float8_e5m2fnuz, 21: ml_dtypes.uint4, 22: ml_dtypes.int4, 23: ml_dtypes.float4_e2m1fn,
    25: ml_dtypes.uint2, 26: ml_dtypes.int2,
}  # fmt: skip


def narrow(x: Array, kind: int) -> Array:
    """Numbers in a small type. What a processor makes of a negative float in an unsigned type is its own affair."""
    return (x.astype(np.int32) if kind in INTEGERS else x).astype(TYPES[kind])


@pytest.mark.parametrize("kind", sorted(set(FLOATS) & set(TYPES)))
def test_floats_are_rounded_to_the_nearest(kind: int) -> None:
    rng = np.random.default_rng(kind)
    every = np.arange(256, dtype=np.uint8).view(TYPES[kind]) if kind != 23 else np.arange(16).astype(TYPES[kind])
    known = every.astype(np.float32)
    known = known[np.isfinite(known)]
    between = (known[:, None] + known[None]).ravel() / 2
    x = np.concatenate([known, between, rng.standard_normal(1000).astype(np.float32) * 100]).astype(np.float32)
    found = lucid.onnx.load(one("Cast", [x], to=kind).proto)(x).numpy()
    largest = FLOAT_FORMATS[FLOATS[kind]].largest
    wanted = np.clip(x, -largest, largest).astype(TYPES[kind]).astype(np.float32)
    np.testing.assert_array_equal(found, wanted)
    if kind != 23:
        beyond = np.float32([np.inf, -np.inf, np.nan, 1e9, 0.0])
        free = lucid.onnx.load(one("Cast", [beyond], to=kind, saturate=0).proto)(beyond).numpy()
        np.testing.assert_array_equal(free, beyond.astype(TYPES[kind]).astype(np.float32))
        held = lucid.onnx.load(one("Cast", [beyond], to=kind).proto)(beyond).numpy()
        np.testing.assert_array_equal(held, np.float32([largest, -largest, np.nan, largest, 0]))


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_lose_their_higher_bits(kind: int) -> None:
    for x in (np.arange(-40, 40, dtype=np.int32), np.arange(-9, 16, dtype=np.float32)):
        found = lucid.onnx.load(one("Cast", [x], to=kind).proto)(x).numpy()
        np.testing.assert_array_equal(found, narrow(x, kind).astype(found.dtype))


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("rounding", ["up", "down", "nearest"])
def test_powers_of_two_are_the_formats(rounding: str, saturate: int) -> None:
    sizes = np.float32([0, 2**-126, 0.7, 0.75, 0.76, 1, 1.5, 3, 3.9999998, 4, 2.0**127, 3e38, np.inf])
    x = np.concatenate([sizes, -sizes, np.float32([np.nan])])
    case = one("Cast", [x], opset=24, to=24, saturate=saturate, round_mode=rounding)
    wanted = numpy_helper.to_float8e8m0(x, bool(saturate), rounding).astype(np.float32)
    for net in (lucid.onnx.load(case.proto), lucid.compile(lucid.onnx.load(case.proto))):
        np.testing.assert_array_equal(net(x).numpy(), wanted)
        least = np.full(x.shape, 2.0**-127, np.float32)  # of which the format's function makes the next one
        np.testing.assert_array_equal(net(least).numpy(), least)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_numbers_that_are_given_or_stored_are_scaled(kind: int, stored: bool) -> None:
    """As an input of a model or in its file; the result has the type that it is declared to have."""
    x = narrow(np.random.default_rng(kind).standard_normal(12) * 3, kind).reshape(3, 4)
    scale, zero = (
        np.float32([0.5, 2, 4, 8]),
        np.array([0, 1, 1, 0] if kind in INTEGERS else [0] * 4).astype(TYPES[kind]),
    )
    given = [1, 2] if not stored else [0, 1, 2]
    case = one("DequantizeLinear", [x, scale, zero], opset=25, constant=given, axis=1)
    wanted = (x.astype(np.float32) - zero.astype(np.float32)) * scale
    (y,) = backend.prepare(case.proto).run([] if stored else [x])
    np.testing.assert_array_equal(y, wanted)
    back = one("QuantizeLinear", [wanted, scale, zero], opset=25, constant=given[-2:], axis=1)
    back.proto.graph.output[0].type.tensor_type.elem_type = kind
    (made,) = backend.prepare(back.proto).run([wanted])
    assert made.dtype == TYPES[kind]
    np.testing.assert_array_equal(made.astype(np.float32), x.astype(np.float32))


def test_an_output_may_ask_for_a_small_type() -> None:
    x = np.float32([-20, -1.5, 0.4, 2.5, 7])
    for kind, wanted in ((22, [-8, -2, 0, 2, 7]), (25, [0, 0, 0, 2, 3]), (23, [-6, -1.5, 0.5, 2, 6])):
        case = one("QuantizeLinear", [x, np.float32(1)], opset=25, constant=[1], output_dtype=kind)
        np.testing.assert_array_equal(lucid.onnx.load(case.proto)(x).numpy(), np.float32(wanted))


def test_there_are_three_ways_to_a_power() -> None:
    x = np.float32([1])
    with pytest.raises(LucidError, match="unknown round_mode 'odd'"):
        lucid.onnx.load(one("Cast", [x], opset=24, to=24, round_mode="odd").proto)(x)


# ---------------------------------------------------------------- sixteen bits


def halves(x: Array, kind: int) -> Array:
    with np.errstate(over="ignore"):
        return x.astype(HALVES[kind]).astype(np.float32)


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("source", ["float32", "float64", "int64", "bool"])
def test_a_cast_to_16_bits_rounds(kind: int, source: str) -> None:
    """Whatever is cast, known beforehand or not; what is too large is infinite, as ``saturate`` is for eight bits."""
    x = np.array([0.1, -0.3, 1.001, 1025.3, 65519.0, 65520.0, -1e6, 3.1e4]).astype(source)
    wanted = halves(x, kind)
    for case in (one("Cast", [x], to=kind), one("CastLike", [x, np.ones(1, HALVES[kind])], opset=19, saturate=1)):
        net = lucid.onnx.load(case.proto)
        given = [x, np.ones(1, np.float32)][: len(net.input_names)]
        for found in (net(*given), lucid.compile(net)(*given), lucid.compile(net, *net.specs)(*given)):
            assert str(found.dtype) == "float32"
            np.testing.assert_array_equal(found.numpy(), wanted)
    known = lucid.onnx.load(one("Cast", [x], to=kind, constant=[0]).proto)
    np.testing.assert_array_equal(known().numpy(), wanted)


def test_between_casts_numbers_are_computed_with_in_single_precision() -> None:
    """A model of 16 bits: its inputs and weights lie on the grid, and it rounds where it casts to another type."""
    x, w = np.random.default_rng(0).standard_normal((2, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["narrow", "w"], ["y"]),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["y"], ["again"], to=TensorProto.FLOAT16),
    ]
    net = lucid.onnx.load(model(nodes, {"x": x}, ["z", "again"], {"w": w.astype(np.float16)}))
    inexact = halves(x, 10) @ halves(w, 10)
    for found in (net(x), lucid.compile(net)(x)):
        np.testing.assert_allclose(found[0].numpy(), inexact, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found[1].numpy(), found[0].numpy())  # which it is of in the file


def test_gradients_pass_through_a_cast() -> None:
    x = lucid.tensor(np.float32([0.1, 2.7, 1e6]), requires_grad=True)
    for kind in (10, 16, 17, 19):
        (lucid.onnx.load(one("Cast", [x.numpy()], to=kind).proto)(x) * 3).sum().backward()
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), np.float32([3, 3, 3]))
        x.grad = None


@pytest.mark.parametrize(
    "like",
    [
        [helper.make_node("Cast", ["y"], ["like"], to=TensorProto.FLOAT16)],
        [helper.make_node("Cast", ["y"], ["a"], to=TensorProto.FLOAT16), helper.make_node("Relu", ["a"], ["b"]),
         helper.make_node("Transpose", ["b"], ["like"])],
        [helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.FLOAT16, [], [1.0])),
         helper.make_node("Identity", ["c"], ["like"])],
        [helper.make_node("Shape", ["y"], ["s"]), helper.make_node(
            "ConstantOfShape", ["s"], ["like"], value=helper.make_tensor("c", TensorProto.FLOAT16, [1], [1.0]))],
        [helper.make_node("Add", ["half", "half"], ["like"])],
    ],
    ids=["cast", "handed on", "constant", "filled", "input"],
)  # fmt: skip
def test_like_is_of_the_type_that_the_file_says(like: list[object]) -> None:
    x = np.float32([0.1, 0.7])
    nodes = [*like, helper.make_node("CastLike", ["x", "like"], ["z"])]
    inputs = {"x": x, "y": x, "half": x.astype(np.float16)}
    net = lucid.onnx.load(model(nodes, inputs, ["z"]))
    np.testing.assert_array_equal(net(x, x, x).numpy(), halves(x, 10))


def test_like_within_a_branch() -> None:
    x = np.float32([0.1, 0.7])
    branches = [
        helper.make_graph([helper.make_node("CastLike", ["x", like], ["z"])], "g", [],
                          [helper.make_empty_tensor_value_info("z")])
        for like in ("narrow", "x")
    ]  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.BFLOAT16),
        helper.make_node("If", ["c"], ["z"], then_branch=branches[0], else_branch=branches[1]),
    ]
    net = lucid.onnx.load(model(nodes, {"x": x, "c": np.array(True)}, ["z"]))
    for compiled in (net, lucid.compile(net)):
        np.testing.assert_array_equal(compiled(x, np.array(True)).numpy(), halves(x, 16))
        np.testing.assert_array_equal(compiled(x, np.array(False)).numpy(), x)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4])
def test_inputs_may_be_of_the_type_that_the_file_declares(kind: Any) -> None:
    """They are computed with as wider ones, which have the same numbers: by position and by name, again and again."""
    x = np.arange(-3, 3).reshape(2, 3).astype(kind)
    given = {"x": (helper.np_dtype_to_tensor_dtype(x.dtype), ["n", 3])}
    proto = model([helper.make_node("Add", ["x", "x"], ["y"])], given, ["y"])
    net = lucid.onnx.load(proto)
    wide = x.astype(np.int8 if kind is ml_dtypes.int4 else np.float32)
    for function in (net, lucid.compile(net), lucid.compile(net, *net.specs)):
        for _ in range(3):
            for found in (function(x), function(x=x), function(wide), function(np.asfortranarray(x))):
                np.testing.assert_array_equal(found.numpy(), 2 * wide)
                assert found.numpy().dtype == wide.dtype
