"""Layers and functions with ``inplace=True`` change their input, and pass on the gradients, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lucid
from lucid import nn
from lucid.errors import GradientError, OptionError, TraceError
from lucid.nn import functional as F

Array = np.ndarray[Any, Any]
Layer = Callable[..., Any]

LAYERS: dict[str, Callable[[Any], Layer]] = {
    **{
        name: lambda lib, name=name: getattr(lib, name)(inplace=True)  # type: ignore[misc]
        for name in ("ReLU", "ReLU6", "Mish", "Hardswish", "Hardsigmoid", "SELU", "SiLU", "Hardtanh", "LeakyReLU")
    },
    "ELU": lambda lib: lib.ELU(0.7, True),
    "CELU": lambda lib: lib.CELU(0.7, inplace=True),
    "Threshold": lambda lib: lib.Threshold(0.1, 2.5, inplace=True),
    "RReLU": lambda lib: lib.RReLU(0.25, 0.25, inplace=True),
    "Dropout": lambda lib: lib.Dropout(0.5, inplace=True).eval(),
    "AlphaDropout": lambda lib: lib.AlphaDropout(0.0, inplace=True),
    "relu": lambda lib: lambda x: lib.functional.relu(x, inplace=True),
    "leaky_relu": lambda lib: lambda x: lib.functional.leaky_relu(x, 0.2, True),
    "dropout": lambda lib: lambda x: lib.functional.dropout(x, 0.0, training=True, inplace=True),
    "relu_": lambda lib: lib.functional.relu_,
    "elu_": lambda lib: lib.functional.elu_,
    "hardtanh_": lambda lib: lambda x: lib.functional.hardtanh_(x, -0.5, 0.75),
    "threshold_": lambda lib: lambda x: lib.functional.threshold_(x, 0.25, 1.5),
}
#: In double precision too, PyTorch's gradients have constants of single precision: 1/6 and alpha; they are 5e-8 off.
ROUGH = {"Hardsigmoid": 1e-7, "CELU": 1e-7}
X = np.random.default_rng(0).standard_normal((3, 4)) + 0.05


def through(layer: Layer) -> Callable[[Any], Any]:
    """The layer in the middle of an expression: what it gives is thrown away, what it changes is read twice."""

    def run(x: Any) -> Any:
        hidden = x * 2.0
        part = hidden[1:]
        layer(part)
        return hidden * hidden[:, :1], part.sum(1)

    return run


def outcome(run: Callable[[Any], Any], x: Any) -> list[Array]:
    """Results and gradient."""
    first, second = run(x)
    (first.sum() + second.sum()).backward()
    return [np.asarray(one.detach()) for one in (first, second, x.grad)]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_change_what_they_are_given(name: str) -> None:
    wanted = outcome(through(LAYERS[name](torch.nn)), torch.tensor(X, requires_grad=True))
    run = through(LAYERS[name](nn))
    for each in (run, lucid.compile(run), lucid.compile(run, lucid.spec("N", 4, dtype="float64"))):
        for mine, theirs in zip(outcome(each, lucid.tensor(X, requires_grad=True)), wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=ROUGH.get(name, 1e-12))


def _block(lib: Any) -> Any:
    class Block(lib.Module):  # type: ignore[misc]
        """A residual block with its activation first: what is added is what the activation left."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.act = lib.BatchNorm2d(3), lib.ReLU(inplace=True)
            self.conv = lib.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Any) -> Any:
            y = self.norm(x)
            return self.conv(self.act(y)) + y

    return Block()


def test_a_block_with_its_activation_first() -> None:
    theirs, mine, other = _block(torch.nn).double(), _block(nn).double(), _block(nn).double()
    for one in (mine, other):
        one.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    images = np.random.default_rng(1).standard_normal((2, 3, 5, 6))
    step = lucid.compile_step(other, lambda y: (y * y).mean(), lucid.optim.SGD(other.parameters(), lr=0.1))
    rules = torch.optim.SGD(theirs.parameters(), lr=0.1), lucid.optim.SGD(mine.parameters(), lr=0.1)
    for _ in range(3):
        losses = []
        for model, rule, x in zip((theirs, mine), rules, (torch.tensor(images), lucid.tensor(images)), strict=True):
            rule.zero_grad()
            y = model(x)
            loss = (y * y).mean()
            loss.backward()
            rule.step()
            losses.append(loss.item())
        assert [losses[1], float(step(images))] == pytest.approx([losses[0]] * 2, rel=1e-12)


def test_what_cannot_be_changed() -> None:
    with pytest.raises(GradientError, match="leaf"):
        F.relu(lucid.tensor(X, requires_grad=True), inplace=True)
    with pytest.raises(OptionError, match="relu: with inplace=True, x must be a tensor, got"):
        F.relu(X, inplace=True)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    step = lucid.compile_step(model, lambda y: y.sum(), lucid.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TraceError, match="no inplace=True"):
        step(X)
    before = X.copy()
    lucid.compile(model)(X)  # modules compute with copies of arrays
    np.testing.assert_array_equal(X, before)
    given = lucid.tensor(X)
    lucid.compile(model)(given)
    np.testing.assert_array_equal(given.numpy(), np.maximum(X, 0))
