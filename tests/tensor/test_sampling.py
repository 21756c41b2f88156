"""Choices by weights: as often as these say, and never what has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import LucidError
from lucid.nn import functional as F

WEIGHTS = np.array([[0.1, 0.2, 0.0, 0.7], [1.0, 1.0, 1.0, 3.0]], np.float32)
SHARES = WEIGHTS / WEIGHTS.sum(1, keepdims=True)
both = pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile], ids=["eager", "compiled"])


def _counted(numbers: Any) -> Any:
    return np.stack([np.bincount(row, minlength=4) / len(row) for row in numbers])


@both
def test_numbers_are_drawn_as_often_as_their_weights_say(wrap: Any) -> None:
    lucid.manual_seed(0)
    found = wrap(lambda x: lucid.multinomial(x, 20000, replacement=True))(WEIGHTS)
    assert found.dtype == lucid.int64 and found.shape == (2, 20000)
    np.testing.assert_allclose(_counted(found.numpy()), SHARES, atol=0.012)
    first = wrap(lambda x: x[:, None].expand(2, 5000, 4).reshape(-1, 4).multinomial(3))(lucid.tensor(WEIGHTS)).numpy()
    np.testing.assert_allclose(_counted(first[:, 0].reshape(2, 5000)), SHARES, atol=0.025)
    assert all(len(set(row)) == 3 for row in first.tolist()) and 2 not in first[:5000]


@both
def test_a_number_is_never_one_without_weight(wrap: Any) -> None:
    draw = wrap(lambda x: lucid.multinomial(x, 100_000, True))
    assert set(draw(np.array([0, 0.1, 0, 0.2, 0], np.float32)).tolist()) == {1, 3}


@both
def test_smooth_choices(wrap: Any) -> None:
    logits = np.broadcast_to(np.log(np.maximum(WEIGHTS, 1e-9)), (5000, 2, 4)).astype(np.float32)
    lucid.manual_seed(0)
    hard = wrap(lambda x: F.gumbel_softmax(x, tau=0.5, hard=True))(logits).numpy()
    np.testing.assert_allclose(hard.mean(0), SHARES, atol=0.025)
    np.testing.assert_allclose(np.sort(hard)[..., 3], 1, rtol=1e-6)
    x = lucid.tensor(logits[:3], requires_grad=True)
    y = wrap(lambda x: F.gumbel_softmax(x, hard=True, dim=0))(x)
    np.testing.assert_allclose(y.detach().numpy().sum(0), 1, rtol=1e-6)
    (y * lucid.arange(3).reshape(3, 1, 1)).sum().backward()
    assert x.grad is not None and (x.grad.numpy() != 0).any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lucid.multinomial([1.0, -1.0], 1), "must not be negative"),
        (lambda: lucid.multinomial([np.inf, 1.0], 1), "must not be negative"),
        (lambda: lucid.multinomial([0.0, 0.0], 1, True), "as many not 0 as are drawn"),
        (lambda: lucid.multinomial([0.0, 1.0], 2), "as many not 0 as are drawn"),
        (lambda: lucid.multinomial([1.0, 1.0], 3), "cannot draw 3 of the 2"),
        (lambda: lucid.multinomial([1.0], 0, True), "cannot draw 0"),
        (lambda: lucid.multinomial([1, 2], 1), "floating-point weights"),
        (lambda: lucid.multinomial(1.0, 1), "must be a tensor"),
        (lambda: F.gumbel_softmax([1.0], tau=0.0), "tau must be positive"),
    ],
)
def test_what_is_refused_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()
