"""Functions that make tensors, at once and while a model is traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import DTypeError, LucidError, OptionError, ShapeError, TraceError
from lucid.tensor import creation as make
from lucid.tensor.creation import manual_seed
from lucid.tensor.tensor import Tensor


def test_filled() -> None:
    assert make.zeros(2, 3).type == lucid.spec(2, 3)
    assert make.zeros((2, 3), dtype="int64").tolist() == [[0, 0, 0], [0, 0, 0]]
    assert make.ones(2, requires_grad=True).requires_grad
    assert make.empty(0).shape == (0,)
    assert make.zeros(()).shape == ()
    assert [make.full((1,), v).dtype.name for v in (True, 2, 2.0)] == ["bool", "int64", "float32"]
    x = make.full((2, 2), 7, dtype="uint8")
    assert make.zeros_like(x).type == x.type
    assert make.ones_like(x, dtype="float64").dtype.name == "float64"
    assert make.full_like(x, 3).tolist() == [[3, 3], [3, 3]]


def test_ranges() -> None:
    assert make.arange(3).tolist() == [0, 1, 2]
    assert make.arange(1, 7, 2).dtype.name == "int64"
    assert make.arange(0.0, 1.0, 0.25).tolist() == [0, 0.25, 0.5, 0.75]
    assert make.arange(3, 0, -1).tolist() == [3, 2, 1]
    assert make.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    assert make.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_from_data() -> None:
    array = np.zeros(2, np.float32)
    shared, copied = make.from_numpy(array), make.tensor(array)
    array[0] = 5
    assert shared.tolist() == [5, 0]
    assert copied.tolist() == [0, 0]
    assert make.tensor([1.0]).dtype.name == "float32"
    assert make.tensor([1], dtype="float64", requires_grad=True).requires_grad


def test_draws_follow_the_seed() -> None:
    def draws() -> list[Any]:
        return [make.rand(2, 3), make.randn(4), make.randint(10, (5,)), make.randint(-3, 3, (2,)), make.randperm(6)]

    manual_seed(1)
    first = [x.tolist() for x in draws()]
    second = [x.tolist() for x in draws()]
    manual_seed(1)
    assert [x.tolist() for x in draws()] == first
    assert first != second
    assert sorted(first[-1]) == list(range(6))
    many = make.randint(-2, 3, (10000,)).numpy()
    assert np.unique(many).tolist() == [-2, -1, 0, 1, 2]
    uniform = make.rand(10000, dtype="float64").numpy()
    assert 0 <= uniform.min() < uniform.max() < 1
    assert make.randn(100, 100).numpy().std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make.zeros(-1), ShapeError, "zeros: sizes must not be negative"),
        (lambda: make.zeros(1.5), ShapeError, "zeros: expected an integer, got 1.5"),
        (lambda: make.full((2,), 1.0, dtype="float16"), DTypeError, "float16 is not supported"),
        (lambda: make.arange(0, 1, 0), OptionError, "step must not be 0"),
        (lambda: make.linspace(0, 1, -1), OptionError, "steps must be at least 0, got -1"),
        (lambda: make.randint(5, 5, (1,)), OptionError, "low 5 must be below high 5"),
        (lambda: make.randint(5), OptionError, r"give \(high, size\)"),
        (lambda: make.randint(2.0, (1,)), OptionError, "high must be an int, got 2.0"),
        (lambda: make.randperm(-1), OptionError, "at least 0"),
        (lambda: make.from_numpy([1]), DTypeError, "needs an array, got list"),
        (lambda: make.from_numpy(np.zeros(2, ">f4")), DTypeError, "byte order"),
        (lambda: make.ones(2, dtype="int64", requires_grad=True), LucidError, "floating-point"),
    ],
)
def test_wrong_arguments(call: Any, error: type[LucidError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- traced


def test_a_compiled_function_draws_what_the_eager_one_draws() -> None:
    def noisy(x: Tensor) -> Any:
        return x + make.randn(3, 2) * make.rand(2) + make.randint(0, 9, (3, 2))

    x = make.ones(3, 2)
    net = lucid.compile(noisy)
    for seed in (1, 2):
        manual_seed(seed)
        eager = [noisy(x).tolist() for _ in range(3)]
        net(x)
        manual_seed(seed)
        compiled = [net(x).tolist() for _ in range(3)]
        np.testing.assert_allclose(compiled, eager, rtol=1e-6)
        assert compiled[0] != compiled[1]


def test_symbolic_sizes() -> None:
    def positions(x: Tensor) -> Any:
        return x + make.arange(x.size(0)) + make.arange(1, x.size(0) + 1) + make.zeros(x.size(0)) + make.ones_like(x)

    net = lucid.compile(positions, lucid.spec("N"))
    for n in (1, 4):
        expected = 2 * np.arange(n) + 1 + 1
        assert net(np.zeros(n, np.float32)).tolist() == expected.tolist()


def test_unit_matrices_of_symbolic_sizes() -> None:
    net = lucid.compile(lambda x: make.eye(x.size(0)) * x[:, :1], lucid.spec("N", 2))
    for n in (1, 2, 5):
        x = np.arange(2.0 * n, dtype=np.float32).reshape(n, 2)
        assert net(x).tolist() == (np.eye(n) * x[:, :1]).tolist()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + make.randperm(2),
        lambda x: x + make.zeros(2, requires_grad=True),
    ],
)
def test_what_cannot_be_traced(function: Any) -> None:
    with pytest.raises(TraceError):
        lucid.compile(function, lucid.spec("N", 2))
