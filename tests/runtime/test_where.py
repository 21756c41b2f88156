"""A choice between two arrays takes the bits of one of them, whatever these are."""

from __future__ import annotations

import numpy as np
import pytest

import lucid

SIZE = 5000
"""Numbers from which on bits are taken."""


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("shapes", [("all", "all"), ("all", "one"), ("one", "all"), ("row", "column")], ids=str)
def test_each_number_is_one_of_the_two(dtype: str, shapes: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    sizes = {"all": (50, 100), "one": (), "row": (100,), "column": (50, 1)}
    special = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40] if dtype.startswith("float") else [0, 1]
    a, b = (rng.choice(np.array([*special, 1, 0, 1]), sizes[shape]).astype(dtype) for shape in shapes)
    condition = rng.random((50, 100)) < 0.5
    wanted = np.where(condition, a, b)
    for made in (
        lucid.where(lucid.tensor(condition), lucid.tensor(a), lucid.tensor(b)),
        lucid.compile(lambda c, a, b: lucid.where(c, a, b))(condition, a, b),
        lucid.compile(lambda c, a, b: lucid.where(c.logical_not(), b, a))(condition, a, b),
    ):
        assert made.numpy().tobytes() == wanted.tobytes()


def test_it_may_be_written_over_either() -> None:
    x = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    for function in (
        lambda x: lucid.where(x > 0, x * 2, x + 1),
        lambda x: lucid.where(x * 2 > 1, x.exp(), 0.0),
        lambda x: lucid.where(x > 0, 0.0, (x * 3).sin()),
    ):
        np.testing.assert_allclose(lucid.compile(function)(x).numpy(), function(lucid.tensor(x)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "bool"])
def test_a_number_that_is_known_is_written_with_its_sign(dtype: str) -> None:
    """What remains where the other is a zero is its bits times 0 or 1; a negative zero has a bit of its own."""
    rng = np.random.default_rng(0)
    special = [np.nan, np.inf, -np.inf, -0.0, 1e-40] if dtype.startswith("float") else [0]
    x = rng.choice(np.array([*special, 1, -3]), (50, 100)).astype(dtype)
    for number in (0.0, -0.0, 1.0) if dtype.startswith("float") else (0, 1):
        value = np.array(number, dtype)[()]
        for condition in (rng.random((50, 100)) < 0.5, rng.random((50, 1)) < 0.5, rng.random((100, 50)).T < 0.5):
            for function, wanted in (
                (lambda c, x, value=value: lucid.where(c, value, x), np.where(condition, value, x)),
                (lambda c, x, value=value: lucid.where(c, x, value), np.where(condition, x, value)),
            ):
                made = lucid.compile(function)(condition, x)
                assert made.numpy().tobytes() == wanted.tobytes()


@pytest.mark.parametrize("rest", [0, 100])
def test_a_short_last_block_is_not_written_over_what_it_reads(rest: int) -> None:
    """Few elements are chosen by a copy, which allows less than that of many: the result took the memory of ``a``."""

    def chosen(x: lucid.Tensor, y: lucid.Tensor) -> lucid.Tensor:
        a, b = x.cumsum(0), y.cumsum(0)
        return lucid.where((x > 0) | (y > 0.5), a, b).cumsum(0)

    x, y = np.random.default_rng(0).integers(-9, 9, (2, (1 << 15) + rest)).astype(np.float64)
    found = lucid.compile(chosen)(x, y).numpy()
    np.testing.assert_array_equal(found, chosen(lucid.tensor(x), lucid.tensor(y)).numpy())
