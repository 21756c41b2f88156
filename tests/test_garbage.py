"""What a step leaves behind goes at once: nothing waits for the cyclic collector."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np

import lucid
from lucid import nn
from lucid.nn import functional as F


def network() -> nn.Module:
    lucid.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(72, 10))


X, LABELS = np.ones((2, 3, 8, 8), np.float32), np.array([1, 2])


def garbage(run: Callable[[], object]) -> int:
    """Objects that only the collector finds after a run that is like those before it."""
    run(), run()
    gc.collect()
    gc.disable()
    try:
        run()
        return gc.collect()
    finally:
        gc.enable()


def step(model: nn.Module, called: Callable[..., lucid.Tensor]) -> Callable[[], None]:
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(called(lucid.tensor(X)), lucid.tensor(LABELS)).backward()
        optimizer.step()

    return run


def test_an_eager_step_leaves_none() -> None:
    model = network()
    assert garbage(step(model, model)) == 0


def test_a_compiled_training_step_leaves_none() -> None:
    model = network()
    assert garbage(step(model, lucid.compile(model))) == 0


def test_a_call_leaves_none() -> None:
    net = lucid.compile(network().eval())
    with lucid.no_grad():
        assert garbage(lambda: net(X)) == 0
