"""A hundred compiled training steps, and PyTorch's from the same weights on the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn


def images(lib: Any) -> Any:
    return lib.Sequential(
        lib.Conv2d(1, 4, 3, padding=1, bias=False), lib.BatchNorm2d(4), lib.ReLU(), lib.MaxPool2d(2, 2),
        lib.Conv2d(4, 6, 3), lib.ReLU(), lib.Flatten(), lib.Linear(24, 3),
    )  # fmt: skip


def perceptron(lib: Any) -> Any:
    return lib.Sequential(lib.Linear(8, 16), lib.Tanh(), lib.Linear(16, 3))


def residual(lib: Any) -> Any:
    class Net(lib.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = lib.Conv2d(1, 4, 3, padding=1, bias=False), lib.BatchNorm2d(4)
            self.c, self.d, self.out = lib.Conv2d(4, 4, 3, 1, 1, bias=False), lib.BatchNorm2d(4), lib.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            x = self.b(self.a(x)).relu()
            return self.out((self.d(self.c(x)) + x).relu().mean((2, 3)))

    return Net()


def sequences(lib: Any) -> Any:
    return lib.Sequential(
        lib.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), lib.Flatten(), lib.Linear(32, 3)
    )


def recurrent(lib: Any) -> Any:
    class Net(lib.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = lib.LSTM(8, 6, batch_first=True), lib.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(x)[0][:, -1])

    return Net()


NETS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "images": (images, (6, 1, 8, 8)), "perceptron": (perceptron, (6, 8)), "residual": (residual, (6, 1, 6, 6)),
    "sequences": (sequences, (6, 4, 8)), "recurrent": (recurrent, (6, 5, 8)),
}  # fmt: skip

RULES: dict[str, tuple[dict[str, Any], str]] = {
    "SGD": ({"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}, "images"),
    "Adam": ({"lr": 1e-3, "amsgrad": True}, "perceptron"),
    "AdamW": ({"lr": 1e-3}, "sequences"),
    "NAdam": ({"lr": 1e-3}, "recurrent"),
    "RMSprop": ({"lr": 1e-4, "momentum": 0.5, "centered": True}, "residual"),
    "Adagrad": ({"lr": 1e-2}, "images"),
}


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Numbers so few are not worth a second thread, which on a busy machine is waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rule", ["SGD", "AdamW", "RMSprop"])
def test_a_hundred_losses_are_pytorchs(rule: str) -> None:
    options, net = RULES[rule]
    _agree(net, rule, options, "float32", 1e-4, 100)


@pytest.mark.parametrize("rule", RULES)
def test_in_double_precision_they_are_to_the_last_digits(rule: str) -> None:
    options, net = RULES[rule]
    _agree(net, rule, options, "float64", 1e-10, 60)


@pytest.mark.parametrize("net", NETS)
def test_clipped_and_added_up_they_are_pytorchs(net: str) -> None:
    _agree(net, "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}, "float64", 1e-10, 30, 0.2, 3)


def _agree(
    net: str, rule: str, options: dict[str, Any], dtype: str, within: float, steps: int, clip: float | None = None,
    share: int = 1,
) -> None:  # fmt: skip
    build, shape = NETS[net]
    torch.manual_seed(0)
    theirs = build(tn).to(getattr(torch, dtype))
    ours = build(nn).to(dtype)
    ours.load_state_dict({name: value.numpy().copy() for name, value in theirs.state_dict().items()})
    optimizer = getattr(torch.optim, rule)(theirs.parameters(), **options)
    step = lucid.compile_step(
        ours, nn.CrossEntropyLoss(), getattr(lucid.optim, rule)(ours.parameters(), **options), clip_norm=clip,
        accumulate=share,
    )  # fmt: skip
    rng, loss = np.random.default_rng(0), tn.CrossEntropyLoss()
    for number in range(steps):
        x, y = rng.standard_normal(shape).astype(dtype), rng.integers(0, 3, shape[0])
        wanted = loss(theirs(torch.from_numpy(x)), torch.from_numpy(y))
        (wanted / share).backward()
        if number % share == share - 1:
            if clip is not None:
                tn.utils.clip_grad_norm_(theirs.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        assert abs(float(step(x, y)) - wanted.item()) < within, number
