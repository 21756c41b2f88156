"""What is drawn while training: which elements or channels, what they become, and that compiled models draw anew."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError
from lucid.nn import functional as F

X = np.random.default_rng(0).standard_normal((40, 50, 10)).astype(np.float32)
LOWEST = 1.7580993408473766


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    lucid.manual_seed(1)
    scale = ((LOWEST**2 * p + 1) * (1 - p)) ** -0.5
    for function in (F.alpha_dropout, lucid.compile(lambda x: F.alpha_dropout(x, p, True))):
        y = function(X, p, True).numpy() if function is F.alpha_dropout else function(X).numpy()
        dropped = np.isclose(y, (p - 1) * LOWEST * scale, rtol=1e-4)
        assert abs(dropped.mean() - p) < 0.02
        np.testing.assert_allclose(y[~dropped], (X * scale + LOWEST * scale * p)[~dropped], rtol=1e-4, atol=1e-5)
        assert abs(y.mean()) < 0.05 and abs(y.var() - 1) < 0.05


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Dropout1d(0.5), (20, 8, 5)), (nn.Dropout1d(0.5), (80, 5)), (nn.Dropout2d(0.5), (20, 8, 3, 4)),
     (nn.Dropout3d(0.5), (20, 8, 2, 3, 4)), (nn.Dropout3d(0.5), (80, 2, 3, 4)),
     (nn.FeatureAlphaDropout(0.5), (20, 8, 3))],
)  # fmt: skip
def test_whole_channels_are_dropped(layer: nn.Module, shape: tuple[int, ...]) -> None:
    lucid.manual_seed(2)
    x = np.ones(shape, np.float32)
    lead = 1 if len(shape) in (2, 4) and not isinstance(layer, nn.Dropout2d) else 2
    for call in (layer, lucid.compile(layer)):
        first, second = (call(x).numpy().reshape(*shape[:lead], -1) for _ in range(2))
        assert (first == first[..., :1]).all()
        low = first[..., 0] == first.min()
        assert 0.25 < low.mean() < 0.75
        assert (first != second).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), x)
    layer.train()


def test_rrelu_draws_a_slope_for_each_element() -> None:
    layer = nn.RReLU(0.2, 0.4)
    y = layer(-np.ones(1000, np.float32)).numpy()
    assert -0.4 <= y.min() < -0.38 and -0.22 < y.max() <= -0.2
    x = lucid.tensor(-np.ones(1000), requires_grad=True)
    z = layer(x)
    z.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), -z.detach().numpy())
    np.testing.assert_array_equal(layer(np.ones(3)).numpy(), np.ones(3))
    layer.eval()
    np.testing.assert_allclose(layer(-np.ones(3)).numpy(), -0.3 * np.ones(3))


def test_ends_and_what_is_refused() -> None:
    for function in (F.alpha_dropout, F.feature_alpha_dropout, F.dropout1d, F.dropout3d):
        np.testing.assert_array_equal(function(X, 1.0, True).numpy(), np.zeros_like(X))
        np.testing.assert_array_equal(function(X, 0.0, True).numpy(), X)
        with pytest.raises(LucidError, match="p must"):
            function(X, 1.5, True)
    assert F.alpha_dropout(X[:0], 0.5, True).shape == (0, 50, 10)
    with pytest.raises(LucidError, match="lower"):
        nn.RReLU(0.5, 0.2)
    with pytest.raises(LucidError, match="dropout1d: needs a batch and a channel axis"):
        F.dropout1d(X[0, 0], 0.5, True)
    with pytest.raises(LucidError, match="alpha_dropout: needs a floating-point tensor"):
        F.alpha_dropout(np.arange(3), 0.5, True)
    with pytest.raises(LucidError, match="Softmax2d: needs a tensor"):
        nn.Softmax2d()(X[0])
