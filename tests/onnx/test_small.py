"""Numbers of eight bits and fewer lie on the grids of their types, beside what ``ml_dtypes`` makes of them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import numpy_helper

import lucid
from lucid.errors import LucidError
from lucid.formats.onnx.small import GRIDS, INTEGERS
from lucid.onnx import backend

from .models import one

TYPES = {
    17: ml_dtypes.float8_e4m3fn, 18: ml_dtypes.float8_e4m3fnuz, 19: ml_dtypes.float8_e5m2,
    20: ml_dtypes.float8_e5m2fnuz, 21: ml_dtypes.uint4, 22: ml_dtypes.int4, 23: ml_dtypes.float4_e2m1fn,
    25: ml_dtypes.uint2, 26: ml_dtypes.int2,
}  # fmt: skip


@pytest.mark.parametrize("kind", GRIDS)
def test_floats_are_rounded_to_the_nearest(kind: int) -> None:
    rng = np.random.default_rng(kind)
    every = np.arange(256, dtype=np.uint8).view(TYPES[kind]) if kind != 23 else np.arange(16).astype(TYPES[kind])
    known = every.astype(np.float32)
    known = known[np.isfinite(known)]
    between = (known[:, None] + known[None]).ravel() / 2
    x = np.concatenate([known, between, rng.standard_normal(1000).astype(np.float32) * 100]).astype(np.float32)
    found = lucid.onnx.load(one("Cast", [x], to=kind).proto)(x).numpy()
    largest = GRIDS[kind].largest
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
        np.testing.assert_array_equal(found, x.astype(TYPES[kind]).astype(found.dtype))


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
    x = (np.random.default_rng(kind).standard_normal(12) * 3).astype(TYPES[kind]).reshape(3, 4)
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
    with pytest.raises(LucidError, match="no round_mode 'odd'"):
        lucid.onnx.load(one("Cast", [x], opset=24, to=24, round_mode="odd").proto)(x)
