"""Small terms of a sum are added up before they meet the large; what others read stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.passes.combine_terms import combine_terms

from .helpers import assert_same, trace

IMAGE = (4, 3, 5)
SMALL = dict.fromkeys("msbd", (3, 1))


def large(graph: Any) -> list[str]:
    """The ops whose results are as large as an image."""
    return [node.op.name for _, node in graph.nodes() if node.op.inputs and node.outputs[0].shape == IMAGE]


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x, m, s, b, d: (x - m) * s + b, ["Mul", "Add"]),
        (lambda x, m, s, b, d: b - (x + m) * s, None),
        (lambda x, m, s, b, d: b + s * (m + x), ["Mul", "Add"]),
        (lambda x, m, s, b, d: m - (b - x), ["Add"]),
        (lambda x, m, s, b, d: (x - m) * s * d + b, ["Mul", "Add"]),
        (lambda x, m, s, b, d: (x - m) - b, ["Add"]),
        (lambda x, m, s, b, d: x * s + b, None),
        (lambda x, m, s, b, d: (x * x - m) * s + (x.exp() - b), ["Mul", "Mul", "Exp", "Add", "Add"]),
    ],
)
def test_small_terms_are_added_up_first(function: Callable[..., Any], left: list[str] | None) -> None:
    before = trace(function, IMAGE, **SMALL)
    after = combine_terms(before)
    if left is None:
        assert after is before
    else:
        assert sorted(large(after)) == sorted(left)
        assert_same(before, after, rtol=1e-5, atol=1e-5)


def test_a_gradient_of_what_is_normalised_reads_each_image_once() -> None:
    before = trace(lambda dy, x, m, s, b, d: (dy * s - b) - (x - m) * d, IMAGE, IMAGE, **SMALL)
    after = combine_terms(before)
    assert large(after) == ["Mul", "Mul", "Sub", "Add"]
    assert_same(before, after, rtol=1e-5, atol=1e-5)


def test_a_difference_that_others_read_is_looked_through_where_it_is_multiplied() -> None:
    def function(x: Any, m: Any, s: Any, b: Any) -> Any:
        centred = x - m
        return centred * s + b, (centred * centred).mean()

    before = trace(function, IMAGE, m=(3, 1), s=(3, 1), b=(3, 1))
    after = combine_terms(before)
    assert sorted(large(after)) == ["Add", "Mul", "Mul", "Sub"]
    assert_same(before, after, rtol=1e-5, atol=1e-5)


def test_a_sum_that_others_read_stays() -> None:
    def function(x: Any, s: Any, b: Any, m: Any) -> Any:
        y = x * s + b
        return y, y - m

    before = trace(function, IMAGE, s=(3, 1), b=(3, 1), m=(3, 1))
    assert combine_terms(before) is before


def test_small_terms_along_other_axes_stay_apart() -> None:
    before = trace(lambda x, m, s, b: (x - m) * s + b, IMAGE, m=(3, 1), s=(3, 1), b=(5,))
    assert combine_terms(before) is before


@pytest.mark.parametrize(
    "function",
    [
        lambda x, m, s, b, d: (x + m) - m,
        lambda x, m, s, b, d: ((x + m) - m) * s + b,
        lambda x, m, s, b, d: (x + 12582912.0) - 12582912.0,
        lambda x, m, s, b, d: (x - 1e6) * s + b,
    ],
)
def test_what_is_there_to_round_stays(function: Callable[..., Any]) -> None:
    before = trace(function, IMAGE, **SMALL)
    assert combine_terms(before) is before


def test_a_step_rounds_by_a_large_number_as_the_eager_model_does() -> None:
    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    layer, large = nn.Linear(6, 7), 1.5 * 2.0**23

    def loss(y: Any) -> Any:
        return (((y * 4 + large) - large) ** 2).mean()

    wanted = float(loss(layer(lucid.tensor(x))))
    step = lucid.compile_step(layer, loss, optim.SGD(layer.parameters(), lr=0.1))
    assert float(step(x)) == pytest.approx(wanted, rel=1e-6)


def test_a_step_normalises_as_the_eager_model_far_from_zero() -> None:
    """What lies a hundred deviations from zero, in single precision, beside double."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 6)) + 100, rng.standard_normal((64, 6))
    found = {}
    for dtype in ("float32", "float64"):
        model = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
        for p in model.parameters():
            p.data = lucid.tensor(p.numpy().astype(dtype))
        model.to(dtype)
        step = lucid.compile_step(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
        losses = [float(step(x.astype(dtype), y.astype(dtype))) for _ in range(20)]
        found[dtype] = losses
    # 4e-6 seen; what is a hundred deviations from zero is rounded by 6e-6 of one
    np.testing.assert_allclose(found["float32"], found["float64"], rtol=2e-5)
