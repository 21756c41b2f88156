"""Losses: what the ones of sequences hold to, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import GradientError, LucidError
from lucid.nn import functional as F

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
STEPS = np.log(np.full((5, 2, 3), 1 / 3, np.float32))
TARGETS = np.array([[1, 2], [1, 1]])


def ctc(**changed: Any) -> Any:
    given = {"log_probs": STEPS, "targets": TARGETS, "input_lengths": [5, 5], "target_lengths": [2, 2], **changed}
    return F.ctc_loss(**given)


def test_a_compiled_loss_of_sequences_of_any_batch() -> None:
    def loss(x: Any, t: Any, s: Any, n: Any) -> Any:
        return F.ctc_loss(F.log_softmax(x, -1), t, s, n, reduction="none")

    rng = np.random.default_rng(1)
    ints = [lucid.spec("N", *more, dtype="int64") for more in ((2,), (), ())]
    net = lucid.compile(loss, lucid.spec(5, "N", 3), *ints)
    for batch in (3, 1, 0):
        x = rng.standard_normal((5, batch, 3)).astype(np.float32)
        rest = (rng.integers(1, 3, (batch, 2)), rng.integers(3, 6, batch), rng.integers(0, 3, batch))
        one, other = (lucid.tensor(x, requires_grad=True) for _ in range(2))
        y, wanted = net(one, *rest), loss(other, *rest)
        np.testing.assert_allclose(y.numpy(), wanted.numpy(), rtol=1e-5)
        y.sum().backward()
        wanted.sum().backward()
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_a_loss_of_sequences_learns_to_say_them() -> None:
    lucid.manual_seed(0)
    numbers = lucid.tensor(np.zeros((6, 2, 4), np.float32), requires_grad=True)
    for _ in range(60):
        numbers.grad = None
        loss = F.ctc_loss(F.log_softmax(numbers, -1), [[1, 2, 3], [3, 3, 0]], [6, 6], [3, 2])
        loss.backward()
        with lucid.no_grad():
            numbers -= 2.0 * numbers.grad  # type: ignore[operator]
    assert loss.item() < 0.1
    best = np.pad(numbers.numpy().argmax(-1).T, ((0, 0), (1, 0)))
    said = [row[1:][(row[1:] != 0) & (row[1:] != row[:-1])].tolist() for row in best]
    assert said == [[1, 2, 3], [3, 3]]


def test_a_loss_of_sequences_has_no_second_gradient() -> None:
    with pytest.raises(GradientError, match="CtcLoss"):
        lucid.grad(lambda y: lucid.grad(lambda x: ctc(log_probs=x))(y).sum())(lucid.tensor(STEPS))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ctc(log_probs=STEPS[0, 0]), r"ctc_loss: needs log-probabilities \(T, N, C\) or \(T, C\)"),
        (lambda: ctc(input_lengths=[6, 5]), "input_lengths are from 0 to 5, got 5 to 6"),
        (lambda: ctc(target_lengths=[2, -1]), "target_lengths are from 0 to 2"),
        (lambda: ctc(targets=[[1, 3], [1, 1]]), "targets are classes from 0 to 2, got 1 to 3"),
        (lambda: ctc(targets=[[1.0]]), "targets must be integers"),
        (lambda: ctc(target_lengths=[2]), r"target_lengths must have shape \(2,\)"),
        (lambda: ctc(blank=3), "blank is a class from 0 to 3"),
        (lambda: ctc(reduction="all"), "ctc_loss: reduction"),
        (lambda: F.triplet_margin_loss(X, X, X, margin=0), "triplet_margin_loss: margin must be positive"),
        (lambda: nn.TripletMarginLoss(-1.0), "TripletMarginLoss: margin must be positive"),
        (lambda: nn.TripletMarginWithDistanceLoss(distance_function=3), "distance_function is a function"),  # type: ignore[arg-type]
        (lambda: F.cosine_embedding_loss(X, X, X), "cosine_embedding_loss: needs"),
        (lambda: F.multi_margin_loss(X, [0, 1]), "multi_margin_loss: for scores"),
        (lambda: F.multi_margin_loss(X, [0, 1, 2, 1], p=3), "multi_margin_loss: p is 1 or 2"),
        (lambda: F.multi_margin_loss(X, [0, 1, 2, 1], p=[1, 2]), "multi_margin_loss: p is a number"),
        (lambda: F.multi_margin_loss(X, [0, 1, 2, 1], p=np.ones(2)), "multi_margin_loss: p is a number"),
        (lambda: F.multi_margin_loss(X, [0, 1, 2, 1], weight=[1.0]), "multi_margin_loss: the weight"),
        (lambda: F.multilabel_margin_loss(X, X), "multilabel_margin_loss: the target must hold class indices"),
        (lambda: F.gaussian_nll_loss(X, X, -X * X - 1), "a variance is less than 0"),
        (lambda: F.gaussian_nll_loss(X, X, X[:2] ** 2), "gaussian_nll_loss: shapes"),
        (lambda: nn.MultiMarginLoss(3), "MultiMarginLoss: p is 1 or 2"),
        (lambda: nn.MultiMarginLoss(np.ones(2)), "MultiMarginLoss: p is a number"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()


def test_no_gradient_where_a_margin_is_just_kept() -> None:
    """As PyTorch's: a class that is as far below the right one as it should be moves nothing."""
    scores = lucid.tensor(np.array([[1.0, 0.0, 0.0, 1.0]]), requires_grad=True)
    F.multi_margin_loss(scores, lucid.tensor([0])).backward()
    assert scores.grad.numpy().tolist() == [[-0.25, 0.0, 0.0, 0.25]]
    scores.grad = None
    F.multilabel_margin_loss(scores, lucid.tensor([[0, -1, -1, -1]])).backward()
    assert scores.grad.numpy().tolist() == [[-0.25, 0.0, 0.0, 0.25]]


def test_the_divergence_counts_no_target_of_0_and_hides_no_other() -> None:
    """Of numbers that are no probabilities it is NaN, as PyTorch's; they were left out without a word."""
    logs = lucid.tensor([-1.0, -np.inf, -1.0, -1.0, np.nan], requires_grad=True)
    found = F.kl_div(logs, lucid.tensor([0.5, 0.0, -0.1, np.nan, 0.0]), reduction="none")
    np.testing.assert_allclose(found.numpy()[:2], [0.5 * (np.log(0.5) + 1), 0.0], rtol=1e-6)
    assert np.isnan(found.numpy()[2:]).all()
    found[:2].sum().backward()
    assert logs.grad.numpy()[:2].tolist() == [-0.5, 0.0]
