"""Elements as often as a tensor says: what is repeated, and what is refused in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import DTypeError, ExecutionError, OptionError, ShapeError, TraceError

X = np.arange(6.0, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("counts", [[1, 2, 0], [0, 0, 0], [3, 3, 3], [2]], ids=str)
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
def test_as_numpy_repeats(counts: list[int], kind: str) -> None:
    wanted, repeats = np.repeat(X, counts, 0), lucid.tensor(counts, dtype=kind)
    for given in (repeats, counts, np.array(counts)):
        np.testing.assert_array_equal(lucid.tensor(X).repeat_interleave(given, 0).numpy(), wanted)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.repeat(lucid.tensor(X), counts, 0), wanted)

    def f(x: Any, repeats: Any) -> Any:
        return x.repeat_interleave(repeats, dim=0, output_size=len(wanted))

    np.testing.assert_array_equal(lucid.compile(f)(X, repeats).numpy(), wanted)
    if len(counts) > 1:
        any_rows = lucid.compile(f, lucid.spec("N", 2), lucid.spec("N", dtype=kind))
        np.testing.assert_array_equal(any_rows(X, repeats).numpy(), wanted)


def test_what_does_not_fit_is_refused() -> None:
    x = lucid.tensor(X)
    for repeats, size, error, words in (
        ([1, -1, 0], None, OptionError, "negative"), ([1, 2], None, ShapeError, "vector of 3"),
        ([1.0, 2.0, 0.0], None, DTypeError, "integers"), ([1, 2, 0], 4, ShapeError, "add up to 3"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            x.repeat_interleave(lucid.tensor(repeats), 0, size)
    with pytest.raises(TraceError, match="output_size"):
        lucid.compile(lambda x, n: x.repeat_interleave(n, 0))(X, np.array([1, 2, 0]))
    net = lucid.compile(lambda x, n: x.repeat_interleave(n, 0, output_size=3))
    assert net(X, np.array([1, 2, 0])).shape == (3, 2)
    with pytest.raises(ExecutionError, match="add up to"):
        net(X, np.array([1, 2, 1]))


def test_one_number_that_fills() -> None:
    x, mask = lucid.tensor(X), X > 2
    with pytest.raises(OptionError, match="for tensors use where"):
        x.masked_fill(mask, lucid.ones(1))
    with pytest.raises(DTypeError, match="does not fit"):
        x.long().masked_fill(mask, lucid.tensor(1.5))
