"""Attention against its definition in NumPy, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError
from lucid.nn import functional as F
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def by_hand(q: Array, k: Array, v: Array, mask: Array | None = None, scale: float | None = None) -> Array:
    """Query by query; a mask of numbers is added, one of bools hides."""
    group = q.shape[-3] // k.shape[-3]
    k, v = k.repeat(group, -3), v.repeat(group, -3)
    y = np.zeros((*q.shape[:-1], v.shape[-1]))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    added = np.zeros((q.shape[-2], k.shape[-2])) if mask is None else mask
    added = np.where(added, 0.0, -np.inf) if added.dtype == bool else added
    added = np.broadcast_to(added, (*q.shape[:-1], k.shape[-2]))
    for at in np.ndindex(*q.shape[:-1]):
        *head, _ = at
        scores = k[tuple(head)] @ q[at] * scale + added[at]
        if scores.max() > -np.inf:
            shares = np.exp(scores - scores.max())
            y[at] = shares / shares.sum() @ v[tuple(head)]
    return y


Q, K, V = noise(2, 4, 3, 8), noise(2, 4, 5, 8, seed=1), noise(2, 4, 5, 6, seed=2)
BOOLS = noise(2, 1, 3, 5, seed=3) > 0
BOOLS[0, 0, 1] = False


@pytest.mark.parametrize("mask", [None, BOOLS, np.where(BOOLS, 0.5, -np.inf), noise(3, 5)])
@pytest.mark.parametrize("heads", [4, 2, 1])
def test_each_query_takes_shares_of_the_values(mask: Array | None, heads: int) -> None:
    key, value = K[:, :heads], V[:, :heads]

    def attend(q: Any, k: Any, v: Any) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)

    wanted = by_hand(Q, key, value, mask)
    np.testing.assert_allclose(attend(Q, key, value).numpy(), wanted, atol=1e-12)
    np.testing.assert_allclose(lucid.compile(attend)(Q, key, value).numpy(), wanted, atol=1e-12)


def test_one_trace_serves_every_length() -> None:
    def attend(q: Any, k: Any, v: Any) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)

    shapes = ("N", 4, "T", 8), ("N", 4, "S", 8), ("N", 4, "S", 6)
    net = lucid.compile(attend, *(lucid.spec(*shape, dtype="float64") for shape in shapes))
    for batch, queries, keys in ((2, 3, 5), (1, 6, 6), (3, 1, 2), (0, 2, 2)):
        q, k, v = noise(batch, 4, queries, 8), noise(batch, 4, keys, 8, seed=1), noise(batch, 4, keys, 6, seed=2)
        wanted = by_hand(q, k, v, np.tril(np.ones((queries, keys), bool)), 0.3)
        np.testing.assert_allclose(net(q, k, v).numpy(), wanted, atol=1e-12)


def test_a_query_that_sees_nothing_takes_no_gradient() -> None:
    given = [Tensor(x, requires_grad=True) for x in (Q, K, V)]
    F.scaled_dot_product_attention(*given, attn_mask=np.zeros((3, 5), bool)).sum().backward()
    assert all(x.grad is not None and not x.grad.numpy().any() for x in given)


def test_dropout_takes_shares_away() -> None:
    lucid.manual_seed(0)
    shares = F.scaled_dot_product_attention(
        np.zeros((400, 1, 8)), np.zeros((400, 5, 8)), np.ones((400, 5, 1)), None, 0.5
    )
    assert set(np.round(shares.numpy().ravel() * 2.5)) == {0, 1, 2, 3, 4, 5}
    assert shares.mean().item() == pytest.approx(1, abs=0.1)


def test_pairs_of_features_are_turned() -> None:
    x, angle = noise(2, 3, 4, 6), noise(4, 2)
    turned = np.exp(1j * angle)
    for interleaved in (False, True):
        pairs = x[..., :4].reshape(2, 3, 4, 2, 2)
        pairs = pairs if interleaved else pairs.swapaxes(-1, -2)
        y = (pairs[..., 0] + 1j * pairs[..., 1]) * turned
        parts = np.stack([y.real, y.imag], -1)
        wanted = (parts if interleaved else parts.swapaxes(-1, -2)).reshape(2, 3, 4, 4)
        found = F.rotary_embedding(x, np.cos(angle), np.sin(angle), interleaved).numpy()
        np.testing.assert_allclose(found, np.concatenate([wanted, x[..., 4:]], -1), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((Q, K, V, BOOLS, 0.0, True), "attn_mask or is_causal, not both"),
        ((Q, K[:, :2], V[:, :2]), "need enable_gqa=True"),
        ((Q, K[:, :3], V[:, :3], None, 0.0, False, None, True), "3 heads of keys and values do not divide the 4"),
        ((Q, K[..., :5], V), "queries and keys have as many features"),
        ((Q, K[0], V[0]), "have as many axes"),
        ((Q, K, V.astype("f4")), "floating-point tensors of one type"),
        ((Q, K, V, np.zeros((3, 5), int)), "attn_mask is of bools, or of float64"),
        ((Q, K, V, None, 1.5), "dropout_p"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        F.scaled_dot_product_attention(*arguments)


def test_angles_have_to_fit() -> None:
    for cos, sin, words in (
        (noise(4, 4), noise(4, 4), "are for 8 features"), (noise(4, 2), noise(4, 3), "does not go with"),
    ):  # fmt: skip
        with pytest.raises(LucidError, match=words):
            F.rotary_embedding(noise(2, 4, 6), cos, sin)
