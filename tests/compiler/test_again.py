"""Calls of several tensors, or for several results, that are like an earlier one go straight to their program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.compiler.compiled import CompiledModel


class Pair(nn.Module):
    """Two inputs; three results, of which one is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(lucid.tensor([2.0, 3.0]))
        self.factor = 1.0

    def forward(self, a: lucid.Tensor, b: lucid.Tensor) -> Any:
        return {"sum": a + b * self.scale * self.factor, "both": (a, (a - b).relu())}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How calls went, that did not go straight."""
    seen: list[str] = []
    usual = CompiledModel._run

    def run(self: Any, *args: Any) -> Any:
        seen.append("usual")
        return usual(self, *args)

    monkeypatch.setattr(CompiledModel, "_run", run)
    return seen


def arrays(rows: int, seed: int = 0) -> tuple[Any, Any]:
    a, b = np.random.default_rng(seed).standard_normal((2, rows, 2)).astype(np.float32)
    return a, b


def same(net: Any, model: nn.Module, a: Any, b: Any) -> None:
    got, expected = net(a, b), model(lucid.tensor(np.asarray(a)), lucid.tensor(np.asarray(b)))
    assert list(got) == ["sum", "both"] and type(got["both"]) is tuple
    for x, y in zip((got["sum"], *got["both"]), (expected["sum"], *expected["both"]), strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-6)


def test_they_give_what_the_model_gives(ways: list[str]) -> None:
    model = Pair()
    net = lucid.compile(model)
    with lucid.no_grad():
        for seed in range(4):
            same(net, model, *arrays(3, seed))
        assert ways == ["usual"]
        same(net, model, *arrays(5))
        same(net, model, *arrays(5, 1))
        assert ways == ["usual"] * 2
        same(net, model, *map(lucid.tensor, arrays(3)))
        a, b = map(lucid.tensor, arrays(3, 1))
        assert net(a, b)["both"][0] is a
        assert ways == ["usual"] * 3


def test_they_see_what_has_changed() -> None:
    model = Pair()
    net = lucid.compile(model)
    with lucid.no_grad():
        same(net, model, *arrays(3))
        model.scale.copy_(lucid.tensor([5.0, 7.0]))
        same(net, model, *arrays(3, 1))
        model.factor = 4.0
        same(net, model, *arrays(3, 2))
        model.scale = nn.Parameter(lucid.tensor([1.0, 1.5]))
        same(net, model, *arrays(3, 3))


def test_with_gradients_they_go_the_usual_way(ways: list[str]) -> None:
    model = Pair()
    net = lucid.compile(model)
    for _ in range(3):
        net(*arrays(3))["sum"].sum().backward()
    assert ways == ["usual"] * 3 and model.scale.grad is not None
    x = lucid.tensor(arrays(3)[0], requires_grad=True)
    net(x, arrays(3)[1])["sum"].sum().backward()
    assert x.grad is not None
