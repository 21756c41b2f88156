"""What a tensor says of itself: sizes in bytes, kinds of numbers, how it lies, and whether it is like another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError, ShapeError, TraceError


def test_of_the_type() -> None:
    t = lucid.zeros(2, 3, dtype="float64")
    assert (t.itemsize, t.element_size(), t.nbytes) == (8, 8, 48)
    assert t.is_signed() and not t.byte().is_signed() and not t.bool().is_signed() and not t.is_complex()
    assert [t.short().dtype, t.byte().dtype, t.char().dtype] == ["int16", "uint8", "int8"]
    assert t.conj() is t and t.real is t and t.is_same_size(lucid.ones(2, 3)) and not t.is_same_size(t[0])
    assert lucid.compile(lambda x: x * x.nbytes + x.element_size())(lucid.ones(2, 3)).tolist() == [[28.0] * 3] * 2


def test_turned_matrices() -> None:
    x = np.arange(12.0).reshape(2, 3, 2)
    t = lucid.tensor(x)
    np.testing.assert_array_equal(t.mH.numpy(), x.swapaxes(1, 2))
    np.testing.assert_array_equal(lucid.compile(lambda t: t.adjoint())(x).numpy(), x.swapaxes(1, 2))
    np.testing.assert_array_equal(t[0].H.numpy(), x[0].T)
    assert lucid.tensor(2.0).H.item() == 2.0
    for wrong in (lambda: t.H, lambda: t[0, 0].mH, lambda: t[0, 0].adjoint()):
        with pytest.raises(ShapeError):
            wrong()


def test_how_it_lies() -> None:
    t = lucid.zeros(2, 3, 4)
    assert t.stride() == (12, 4, 1) and t.stride(-2) == 4 and t.is_contiguous()
    turned = t.transpose(0, 2)
    assert turned.stride() == (1, 4, 12) and not turned.is_contiguous() and turned.contiguous().is_contiguous()

    def run(x: Any) -> Any:
        y = x.T
        return y.reshape(-1) * 2 if y.is_contiguous() else y.contiguous().reshape(-1)

    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(lucid.compile(run)(x).numpy(), x.T.reshape(-1))
    assert lucid.compile(lambda x: x + 1 if x.is_contiguous() else x)(x).tolist() == (x + 1).tolist()
    with pytest.raises(TraceError, match="stride"):
        lucid.compile(lambda x: x * x.stride(0))(x)
    with pytest.raises(LucidError):
        t.stride(3)


def test_whether_it_is_like_another() -> None:
    t = lucid.tensor([1.0, 2.0, np.nan])
    assert not t.equal(t) and t[:2].equal(t[:2]) and not t[:2].equal(t) and not t[:2].equal([1.0, 2.0])
    assert t[:2].allclose(t[:2] * 1.000001) and not t[:2].allclose(t[:2] * 1.1) and not t.allclose(t)
    assert t.allclose(t, equal_nan=True) and t[:2].allclose(t[:2] + 0.5, atol=0.6)
    for ask in (lambda x: x * x.equal(x), lambda x: x * x.allclose(x)):
        with pytest.raises(TraceError):
            lucid.compile(ask)(t)
