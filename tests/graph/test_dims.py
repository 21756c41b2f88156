"""Symbolic dimensions: canonical, exact, and parsed back from their text."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn
from lucid.errors import ShapeError, TraceError
from lucid.graph.dims import Dim, SymDim, evaluate, exact_quotient, parse_dim, symbol
from lucid.graph.traced_dims import TracedDim
from lucid.graph.types import broadcast_shapes, spec

N, M = symbol("N"), symbol("M")


def test_equal_polynomials_are_equal() -> None:
    assert N * 4 == 2 * N + 2 * N and hash(N * 4) == hash(2 * N + 2 * N)
    assert (N + 1) * (N - 1) == N * N - 1
    assert N - N == 0 and isinstance(N - N, int)
    assert N * M == M * N and N + M != N - M
    assert (N * 0) + 3 == 3


def test_exact_division_stays_a_polynomial() -> None:
    assert (N * 784) // N == 784 and (N * 784) // 784 == N
    assert (6 * N + 4) // 2 == 3 * N + 2
    assert exact_quotient((N + 1) * 3, N + 1) == 3
    assert exact_quotient(N, 2) is None and exact_quotient(N * M, M) == N
    assert str((N + 1) // 2) == "((N + 1)//(2))"


def _random_dim(rng: random.Random, depth: int) -> tuple[Dim, str]:
    """A dim and Python source for its value."""
    if depth == 0:
        return rng.choice([(N, "N"), (M, "M"), (rng.randint(1, 5),) * 2])  # type: ignore[return-value]
    (a, x), (b, y) = _random_dim(rng, depth - 1), _random_dim(rng, depth - 1)
    sign = rng.choice(["+", "-", "*", "//"])
    if sign == "//":
        return a // 3, f"(({x})//3)"
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b}[sign](), f"(({x}){sign}({y}))"


def test_random_arithmetic_agrees_with_integers_and_survives_printing() -> None:
    rng = random.Random(0)
    for _ in range(300):
        dim, source = _random_dim(rng, 3)
        for n, m in ((1, 1), (5, 3), (8, 2)):
            sizes = {"N": n, "M": m}
            want = eval(source, {}, sizes)
            assert evaluate(dim, sizes) == want, source
            assert evaluate(parse_dim(str(dim)), sizes) == want
        assert parse_dim(str(dim)) == dim


@pytest.mark.parametrize("text", ["", "N +", "__import__('os')", "N ** 2", "1.5", "N // 0", "f(N)", "True", "(" * 500])
def test_text_that_is_no_dimension(text: str) -> None:
    with pytest.raises(ShapeError, match="not a dimension"):
        parse_dim(text)


def test_a_missing_size_is_named() -> None:
    with pytest.raises(ShapeError, match="'M'"):
        (N * M).evaluate({"N": 1})  # type: ignore[union-attr]


def test_a_traced_size_refuses_decisions() -> None:
    size = TracedDim(N)
    assert (size * 2 + 1).sym == 2 * N + 1 and (size - size) == 0 and (size % 1) == 0
    for decide in (
        lambda: size == 1, lambda: size > 1, lambda: bool(size), lambda: int(size), lambda: list(size),
        lambda: range(size), lambda: [1, 2][size], lambda: size / 2 == 1, lambda: float(size * 0.5),
        lambda: round(size / 2), lambda: 1 / size > size, lambda: size**0.5 if size / 3 else 0,
    ):  # fmt: skip
        with pytest.raises(TraceError, match=r"test_dims\.py"):
            decide()


def test_a_traced_size_computes_with_tensors_on_either_side() -> None:
    x = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    functions: tuple[Callable[[Any], Any], ...] = (
        lambda x: x.shape[0] * x + (x.shape[0] + x), lambda x: x.shape[0] - x, lambda x: x.shape[0] / x,
        lambda x: x.shape[0] // x + x.shape[0] % x, lambda x: x.shape[0] > x, lambda x: x[x > 2].shape[0] / x.sum(),
    )  # fmt: skip
    for function in functions:
        found = lucid.compile(function, lucid.spec("N", 3))(x).numpy()
        np.testing.assert_array_equal(found, function(lucid.tensor(x)).numpy())


def test_sizes_in_arithmetic_are_kept_to() -> None:
    """Two times a half of an even size is it again: what a U-Net brings together."""

    def halved(x: Any) -> Any:
        return lucid.cat([F.interpolate(F.avg_pool2d(x, 2), scale_factor=2), x], 1)

    net = lucid.compile(halved, lucid.spec("N", 1, "2*h", "2*w"))
    x = np.arange(48, dtype=np.float32).reshape(1, 1, 6, 8)
    np.testing.assert_array_equal(net(x).numpy(), halved(lucid.tensor(x)).numpy())
    with pytest.raises(ShapeError, match="2\\*h"):
        net(x[:, :, :5])
    with pytest.raises(ShapeError, match="differ"):
        lucid.compile(halved, lucid.spec("N", 1, "h", "w"))


def test_masks_of_a_traced_size() -> None:
    def masks(x: Any) -> tuple[Any, ...]:
        n = x.shape[0]
        return nn.Transformer.generate_square_subsequent_mask(n), lucid.eye(n), lucid.eye(n, 3, dtype="int32")

    net = lucid.compile(masks, lucid.spec("N"))
    for size in (0, 1, 4):
        for mine, wanted in zip(net(np.zeros(size, np.float32)), masks(np.zeros(size, np.float32)), strict=True):
            assert mine.dtype == wanted.dtype
            np.testing.assert_array_equal(mine.numpy(), wanted.numpy())


def _scaled(x: Any) -> list[Any]:
    n, m = x[x > 2].shape[0], x.shape[0]
    return [
        x / (n / 2), (n / m) * x, x - n**0.5, m**2 - x, (2.5 - n) * x, (1 / n + m) * x, x * -(n * 0.1), x ** (n / 3),
        0.5 ** (n / 3) + x, x > n / 2, n / 2 <= x, x == n / 2, x.sum() * (n / m - 1), n / 3 / x, x.long() * (m / 4),
        x.long() * m**3 + n**1 - m**0,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_computed_from_traced_sizes_is_a_number_as_python_has_it(dtype: str) -> None:
    x = np.arange(1, 7).reshape(2, 3).astype(dtype)
    found = lucid.compile(_scaled, lucid.spec("N", 3, dtype=dtype))(x)
    for mine, wanted in zip(found, _scaled(lucid.tensor(x)), strict=True):
        assert mine.dtype == wanted.dtype
        np.testing.assert_allclose(mine.numpy(), wanted.numpy(), rtol=1e-6 if dtype == "float32" else 1e-15)
    with pytest.raises(TypeError, match="'TracedNumber' and 'str'"):
        TracedDim(N) / 2 + "a"


def test_spec_and_broadcasting() -> None:
    assert str(spec("N", 1, 28, 28)) == "float32[N, 1, 28, 28]"
    assert spec("N", 2).bind({"N": 3}).shape == (3, 2)
    assert broadcast_shapes("Add", (N, 1, 3), (4, 1)) == (N, 4, 3)
    with pytest.raises(ShapeError, match="do not broadcast"):
        broadcast_shapes("Add", (N,), (3,))
    assert spec("2*N + 1", "N*(M - 1) // 2", "8").shape == (2 * N + 1, N * (M - 1) // 2, 8)
    for bad in (-1, True, 2.0, "2x", None, "-3", "h / 2", "", "in", "f(h)"):
        with pytest.raises(ShapeError):
            spec(bad)  # type: ignore[arg-type]


def test_symbols_of_a_dim() -> None:
    dim = (N + M) // 3 * 2
    assert isinstance(dim, SymDim) and dim.symbols == {"N", "M"}
