"""What a step leaves behind goes at once: nothing waits for the cyclic collector."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F


def network() -> nn.Module:
    lucid.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(72, 10))


ROOT = Path(__file__).parent.parent
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


def eager() -> Callable[[], object]:
    model = network()
    return step(model, model)


def compiled() -> Callable[[], object]:
    model = network()
    return step(model, lucid.compile(model))


def call() -> Callable[[], object]:
    net = lucid.compile(network().eval())

    def run() -> None:
        with lucid.no_grad():
            net(X)

    return run


@pytest.mark.parametrize("kind", ["eager", "compiled", "call"])
def test_a_step_leaves_none(kind: str) -> None:
    """In an interpreter of its own: here others may leave some meanwhile."""
    script = f"from tests import test_garbage as g; print(g.garbage(g.{kind}()))"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "0", found.stderr
