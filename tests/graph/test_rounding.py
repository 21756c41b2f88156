"""Rounding to narrower types: each number of theirs, what lies between them, and where gradients go."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import lucid
from lucid.errors import DTypeError, OptionError
from lucid.graph.ops.elementwise import relu
from lucid.graph.ops.pool import max_pool2d
from lucid.graph.ops.rounding import FLOAT_FORMATS, ROUND_TO, round_to
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def _type(name: str) -> Any:
    return np.float16 if name == "float16" else getattr(ml_dtypes, name)


def _numbers(name: str) -> Array:
    """All finite ones of a type, in order."""
    kind = np.dtype(_type(name))
    codes = np.arange(16 if "float4" in name else 1 << 8 * kind.itemsize, dtype=f"u{kind.itemsize}")
    with np.errstate(invalid="ignore"):
        found = codes.view(kind).astype(np.float64)
    return np.unique(found[np.isfinite(found)])


@pytest.mark.parametrize("name", FLOAT_FORMATS)
def test_every_number_and_what_lies_around_the_middle_between_two(name: str) -> None:
    known = _numbers(name)
    middle = (known[1:] / 2 + known[:-1] / 2).astype(np.float32)
    around = [np.nextafter(middle, np.float32(end)) for end in (-np.inf, np.inf)]
    beyond = np.float32([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, 1e-45, -1e-45, known[-1] * 1.003])
    x = np.concatenate([known.astype(np.float32), middle, *around, beyond])
    with np.errstate(over="ignore"):
        wanted = x.astype(_type(name)).astype(np.float32)
    for found in (round_to(Tensor(x), name), lucid.compile(lambda x: round_to(x, name))(x)):
        np.testing.assert_array_equal(found.numpy(), wanted)
        number = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found.numpy())[number], np.signbit(wanted)[number])
    assert np.isnan(round_to(Tensor(np.float32([np.nan])), name).numpy()).all()


@pytest.mark.parametrize("name", FLOAT_FORMATS)
def test_double_precision_is_rounded_once(name: str) -> None:
    known = _numbers(name)
    middle = known[1:] / 2 + known[:-1] / 2
    for end, wanted in ((-np.inf, known[:-1]), (np.inf, known[1:])):
        found = round_to(Tensor(np.nextafter(middle, end)), name).numpy()
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", FLOAT_FORMATS)
def test_what_is_too_large_is_held(name: str) -> None:
    x = np.float32([np.inf, -np.inf, 3.4e38, np.nan, 1.0])
    most = FLOAT_FORMATS[name].largest
    found = round_to(Tensor(x), name, saturate=True).numpy()
    np.testing.assert_array_equal(found, np.float32([most, -most, min(most, 3.4e38), np.nan, 1.0]).astype(found.dtype))


def test_the_gradient_passes_straight_through() -> None:
    x = Tensor(np.float32([1e-9, 0.1, 1e9, -1e9]), requires_grad=True)
    for saturate in (False, True):
        round_to(x, "float8_e4m3fn", saturate=saturate).backward(np.float32([1, 2, 3, 4]))
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), np.float32([1, 2, 3, 4]))
        x.grad = None


def test_twice_is_once_and_pooling_comes_first() -> None:
    twice = lucid.compile(lambda x: round_to(round_to(x, "bfloat16"), "bfloat16"), lucid.spec("n"))
    assert [node.op for _, node in twice.graph.nodes()].count(ROUND_TO) == 1
    pooled = lucid.compile(lambda x: max_pool2d(relu(round_to(x, "float16")), 2, 2), lucid.spec(1, 1, 8, 8))
    order = [node.op.name for _, node in pooled.graph.nodes()]
    assert order.index("MaxPool2d") < order.index(
        next(name for name in order if name in ("RoundTo", "FusedElementwise"))
    )
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    wanted = np.maximum(x, 0).astype(np.float16).astype(np.float32).reshape(4, 2, 4, 2).max((1, 3))
    np.testing.assert_array_equal(pooled(x).numpy().reshape(4, 4), wanted)


def test_other_types_are_refused() -> None:
    with pytest.raises(OptionError, match="there is no type 'float9'; known are float16"):
        round_to(Tensor(np.float32([1])), "float9")
    with pytest.raises(DTypeError, match="needs floating-point numbers"):
        round_to(Tensor([1]), "float16")
