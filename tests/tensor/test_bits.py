"""Shifts of bits: the integers of NumPy, of every type and by every count, eagerly and compiled."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import DTypeError

TYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def _numbers(dtype: str) -> np.ndarray[Any, Any]:
    limits = np.iinfo(dtype)
    return np.array([limits.min, limits.max, 1, 0, 5, limits.max // 3, limits.min // 3], dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_shifts_are_numpys(dtype: str) -> None:
    x, bits = _numbers(dtype), 8 * np.dtype(dtype).itemsize
    for count in range(bits + 2):
        by = np.full_like(x, count)
        for shift, function, wanted in (
            (operator.lshift, lucid.bitwise_left_shift, x << by if count < bits else x * 0),
            (operator.rshift, lucid.bitwise_right_shift, x >> by if count < bits else x // np.iinfo(dtype).max // 2),
        ):
            for found in (shift(lucid.tensor(x), count), function(x, by), shift(x, lucid.tensor(by))):
                np.testing.assert_array_equal(found.numpy(), wanted)
                assert found.dtype == x.dtype
    for shift in (operator.lshift, operator.rshift):
        compiled = lucid.compile(lambda x, by, shift=shift: (shift(x, by), shift(x, 3)))(x, np.full_like(x, 2))
        np.testing.assert_array_equal(compiled[0].numpy(), shift(x, np.full_like(x, 2)))
        np.testing.assert_array_equal(compiled[1].numpy(), shift(x, np.full_like(x, 3)))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_by_less_than_nothing_only_the_sign_is_left(dtype: str) -> None:
    x = lucid.tensor(_numbers(dtype))
    assert (x << -1).tolist() == [0] * 7
    assert (x >> -1).tolist() == [-1, 0, 0, 0, 0, 0, -1]


def test_operators_of_numbers_and_in_place() -> None:
    x = lucid.tensor([1, 2, 3])
    assert (1 << x).tolist() == [2, 4, 8] and (64 >> x).tolist() == [32, 16, 8]
    same = x
    x <<= 2
    x >>= 1
    assert same is x and x.tolist() == [2, 4, 6]
    assert (5 & x).tolist() == [0, 4, 4] and (5 | x).tolist() == [7, 5, 7] and (5 ^ x).tolist() == [7, 1, 3]
    assert x.bitwise_not().tolist() == [-3, -5, -7]
    with pytest.raises(TypeError):
        x << "2"  # type: ignore[operator]


@pytest.mark.parametrize("value", [1.5, True])
def test_only_integers_have_bits_to_shift(value: object) -> None:
    x = lucid.tensor([value])
    for shift in (operator.lshift, operator.rshift):
        with pytest.raises(DTypeError, match="bits are those of integers"):
            shift(x, x)
