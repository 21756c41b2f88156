"""The back end: it gives what the model gives, and tells what it ran."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid_snake import Snake, Tally


def test_it_runs_a_model_and_counts() -> None:
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2), Snake()).eval()
    tally = Tally()
    net = lucid.compile(model, lucid.spec("N", 1, 8, 8), backend=tally)
    for n in (1, 3):
        x = lucid.randn(n, 1, 8, 8)
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
    assert tally.runs["Conv2d"] == tally.runs["Snake"] == 2
    assert tally.numbers["Snake"] == (1 + 3) * 4 * 3 * 3
    assert "ConvPool2d" not in tally.runs  # made of simpler ops, it was taken apart


def test_it_is_found_by_name_and_proven() -> None:
    net = lucid.compile(lambda x: (x + x).relu().sum(-1), lucid.spec("N", 5), backend="tally", verify=True)
    np.testing.assert_allclose(net(np.ones((2, 5), np.float32)).numpy(), [10, 10])
    with pytest.raises(lucid.LucidError, match="the back end 'tally', of which there is no"):
        net.save("net.lucid")
