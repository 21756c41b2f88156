"""Gradients of gradients beside PyTorch's, eagerly and in a compiled model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lucid
from lucid import nn

RNG = np.random.default_rng(7)
IMAGES, ROWS = RNG.normal(size=(3, 4, 6, 6)), RNG.normal(size=(3, 5, 6))

NETS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "conv, pool": (
        IMAGES,
        lambda n: n.Sequential(n.Conv2d(4, 6, 3, stride=2, padding=1), n.Tanh(), n.MaxPool2d(2, stride=2)),
    ),
    "batch norm": (IMAGES, lambda n: n.Sequential(n.BatchNorm2d(4), n.Softplus(), n.Conv2d(4, 3, 2, groups=1))),
    "groups, average": (IMAGES, lambda n: n.Sequential(n.Conv2d(4, 4, 3, groups=4), n.ELU(), n.AvgPool2d(2))),
    "transposed": (IMAGES, lambda n: n.Sequential(n.ConvTranspose2d(4, 2, 2, stride=2), n.GELU(), n.GroupNorm(1, 2))),
    "layer norm": (ROWS, lambda n: n.Sequential(n.Linear(6, 7), n.LayerNorm(7), n.SiLU(), n.Linear(7, 2))),
    "softmax": (ROWS, lambda n: n.Sequential(n.Linear(6, 7), n.Softmax(dim=-1), n.Linear(7, 2), n.LogSoftmax(dim=1))),
}


def gradients(library: Any, model: Any, x: Any) -> list[Any]:
    """Of the squares of the input's gradient: with respect to the input, and to the parameters."""
    y = model(x)
    (first,) = library.autograd.grad((y * y).sum(), x, create_graph=True)
    wanted = [x, *model.parameters()]
    return [first, *library.autograd.grad((first**2).sum(), wanted, allow_unused=True)]


@pytest.mark.parametrize("name", NETS)
def test_squares_of_gradients(name: str) -> None:
    x, build = NETS[name]
    theirs = build(torch.nn).double()
    ours = build(nn).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    expected = gradients(torch, theirs, torch.tensor(x, requires_grad=True))
    eager = gradients(lucid, ours, lucid.tensor(x, requires_grad=True))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ours

        def forward(self, x: lucid.Tensor) -> Any:
            return [g if g is not None else lucid.zeros(1) for g in gradients(lucid, ours, x)]

    for found in (eager, lucid.compile(Model())(lucid.tensor(x))):
        for a, b in zip(found, expected, strict=True):
            if b is None or not b.any():
                assert a is None or abs(a.numpy()).max() < 1e-12
            else:
                np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
