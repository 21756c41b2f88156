"""A hundred compiled training steps, and PyTorch's from the same weights on the same batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn

STEPS = 100

# The structures are those of the networks of these names, a few channels wide, of the modules of either library.
# Of five equal units in a row MobileNet has two.


def perceptron(lib: Any) -> Any:
    return lib.Sequential(lib.Linear(8, 16), lib.Tanh(), lib.Linear(16, 16), lib.ReLU(), lib.Linear(16, 3))


def lenet(lib: Any) -> Any:
    return lib.Sequential(
        lib.Conv2d(1, 3, 5, padding=2), lib.ReLU(), lib.MaxPool2d(2, 2), lib.Conv2d(3, 4, 5), lib.ReLU(),
        lib.MaxPool2d(2, 2), lib.Flatten(), lib.Linear(16, 12), lib.ReLU(), lib.Linear(12, 8), lib.ReLU(),
        lib.Linear(8, 3),
    )  # fmt: skip


def vgg11(lib: Any) -> Any:
    layers, channels = [], 3
    for width, depth in ((4, 1), (6, 1), (8, 2), (8, 2), (8, 2)):
        for _ in range(depth):
            layers += [lib.Conv2d(channels, width, 3, padding=1), lib.ReLU()]
            channels = width
        layers.append(lib.MaxPool2d(2, 2))
    return lib.Sequential(*layers, lib.Flatten(), lib.Linear(channels, 3))


def resnet18(lib: Any) -> Any:
    class Block(lib.Module):  # type: ignore[misc]
        def __init__(self, channels: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = lib.Conv2d(channels, width, 3, stride, 1, bias=False), lib.BatchNorm2d(width)
            self.conv2, self.bn2 = lib.Conv2d(width, width, 3, 1, 1, bias=False), lib.BatchNorm2d(width)
            self.short = lib.Identity()
            if stride > 1:
                self.short = lib.Sequential(lib.Conv2d(channels, width, 1, stride, bias=False), lib.BatchNorm2d(width))

        def forward(self, x: Any) -> Any:
            return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.short(x)).relu()

    pool: dict[str, Any] = {"pad_value": -math.inf} if lib is nn else {}
    layers = [lib.Conv2d(3, 4, 7, 2, 3, bias=False), lib.BatchNorm2d(4), lib.ReLU(), lib.MaxPool2d(3, 2, 1, **pool)]
    channels = 4
    for width, stride in ((4, 1), (6, 2), (8, 2), (8, 2)):
        layers += [Block(channels, width, stride), Block(width, width, 1)]
        channels = width
    return lib.Sequential(*layers, lib.AdaptiveAvgPool2d((1, 1)), lib.Flatten(), lib.Linear(channels, 3))


def mobilenet(lib: Any) -> Any:
    def unit(channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> list[Any]:
        conv = lib.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, lib.BatchNorm2d(out), lib.ReLU()]

    layers, channels = unit(3, 8, 3, 2), 8
    for width, stride in ((8, 1), (8, 2), (8, 1), (8, 2), (8, 1), (8, 2), *((8, 1),) * 2, (8, 2), (8, 1)):
        layers += unit(channels, channels, 3, stride, channels) + unit(channels, width, 1, 1)
        channels = width
    return lib.Sequential(*layers, lib.AdaptiveAvgPool2d((1, 1)), lib.Flatten(), lib.Linear(channels, 3))


def transformer(lib: Any) -> Any:
    layers = [lib.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True) for _ in range(2)]
    return lib.Sequential(*layers, lib.Flatten(), lib.Linear(32, 3))


def recurrent(lib: Any) -> Any:
    class Net(lib.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = lib.LSTM(8, 6, batch_first=True), lib.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(x)[0][:, -1])

    return Net()


@dataclass(frozen=True)
class Case:
    """A network, the shape of a batch, and what all rates are multiplied by.

    Batch normalisation over few pixels makes training chaotic: at full rates PyTorch's own losses part from one another
    after the smallest change of the input, as a test below shows. At small rates they do not, in double precision.
    """

    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    pace: float = 1.0


NETS = {
    "perceptron": Case(perceptron, (6, 8)), "lenet": Case(lenet, (4, 1, 16, 16)), "vgg11": Case(vgg11, (4, 3, 32, 32)),
    "resnet18": Case(resnet18, (4, 3, 64, 64), 0.1), "mobilenet": Case(mobilenet, (8, 3, 64, 64), 0.002),
    "transformer": Case(transformer, (6, 4, 8)), "recurrent": Case(recurrent, (6, 5, 8)),
}  # fmt: skip

RULES: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True},
    "Adam": {"lr": 1e-3, "amsgrad": True},
    "AdamW": {"lr": 1e-3},
    "NAdam": {"lr": 1e-3},
    "RMSprop": {"lr": 1e-4, "momentum": 0.5, "centered": True},
    "Adagrad": {"lr": 1e-2, "eps": 1e-6},  # with less, gradients that are nothing but rounding make whole steps
    "RAdam": {"lr": 1e-3, "betas": (0.9, 0.99)},
    "Adamax": {"lr": 1e-3, "weight_decay": 1e-3},
    "Adadelta": {"lr": 0.1},
    "Rprop": {"lr": 1e-4, "step_sizes": (1e-6, 1e-3)},
    "ASGD": {"lr": 0.02, "t0": 10, "lambd": 1e-2},
    "Adafactor": {"lr": 1e-2, "weight_decay": 1e-3},
    "Muon": {"lr": 1e-3},
}


@dataclass(frozen=True)
class Way:
    """What is done to gradients: of how many calls they are added up, and how they are clipped."""

    share: int = 1
    clip_grad: float | None = None
    clip_norm: float | None = None


WAYS = (Way(), Way(3, None, 0.2), Way(2, 0.01), Way(1, 0.02, 0.1), Way(4), Way(2, 0.02, 0.05))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Numbers so few are not worth a second thread, which on a busy machine is waited for."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())  # in which Muon makes its steps there
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # in which NAdam keeps its scalars
    yield
    torch.set_num_threads(before[0])
    torch.set_default_dtype(before[1])


def test_every_optimizer_is_among_them() -> None:
    assert {name for name, one in vars(lucid.optim).items() if isinstance(one, type)} == {
        *RULES, "LBFGS", "Optimizer"
    }  # fmt: skip


def _trained(rule: str, parameters: Iterable[Any]) -> list[Any]:
    """The parameters that an optimizer takes."""
    return [p for p in parameters if rule != "Muon" or p.ndim == 2]


DEEP = ("resnet18", "mobilenet")
"""Nets that take seconds to compile: each has every other of the rules that are seldom used."""
SELDOM = tuple(RULES)[list(RULES).index("RAdam") :]
ROWS = [
    (net, rule, WAYS[(i + j) % len(WAYS)])
    for i, net in enumerate(NETS)
    for j, rule in enumerate(RULES)
    if net not in DEEP or rule not in SELDOM or j % 2 == DEEP.index(net)
]


@pytest.mark.parametrize(("net", "rule", "way"), ROWS)
def test_in_double_precision_losses_are_pytorchs_to_the_last_digits(net: str, rule: str, way: Way) -> None:
    theirs, ours = _twins(net, "float64")
    wanted, got = _losses_there(theirs, NETS[net], rule, way), _losses(ours, NETS[net], rule, way)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("net", "rule", "way"), [row for row in ROWS if NETS[row[0]].pace == 1])
def test_in_single_precision_they_are_to_four_digits(net: str, rule: str, way: Way) -> None:
    theirs, ours = _twins(net, "float32")
    wanted, got = _losses_there(theirs, NETS[net], rule, way), _losses(ours, NETS[net], rule, way)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)


def test_where_they_are_not_pytorchs_are_not_their_own() -> None:
    """At full rates and in single precision, losses of MobileNet part from themselves as they do from ours."""
    case, way = replace(NETS["mobilenet"], pace=1.0), WAYS[0]
    theirs, ours = _twins("mobilenet", "float32")
    wanted = _losses_there(deepcopy(theirs), case, "SGD", way, 20)
    other = _losses_there(theirs, case, "SGD", way, 20, 1 + 1e-7)
    got = _losses(ours, case, "SGD", way, 20)
    assert abs(got[0] - wanted[0]) < 1e-5
    assert np.abs(np.subtract(other, wanted)).max() > 1e-3


def _twins(net: str, dtype: str) -> tuple[Any, Any]:
    """The network in PyTorch and here, with the same weights."""
    torch.manual_seed(0)
    theirs = NETS[net].build(tn).to(getattr(torch, dtype))
    ours = NETS[net].build(nn).to(dtype)
    ours.load_state_dict({name: value.numpy().copy() for name, value in theirs.state_dict().items()})
    return theirs, ours


def _batches(case: Case, dtype: Any, steps: int, times: float) -> Iterator[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    for _ in range(steps):
        x, y = rng.standard_normal(case.shape), rng.integers(0, 3, case.shape[0])
        yield (x.astype(dtype) * times).astype(dtype), y


def _options(case: Case, rule: str) -> dict[str, Any]:
    return {**RULES[rule], "lr": RULES[rule]["lr"] * case.pace}


def _losses(model: nn.Module, case: Case, rule: str, way: Way, steps: int = STEPS) -> list[float]:
    optimizer = getattr(lucid.optim, rule)(_trained(rule, model.parameters()), **_options(case, rule))
    step = lucid.compile_step(
        model, nn.CrossEntropyLoss(), optimizer, clip_grad=way.clip_grad, clip_norm=way.clip_norm,
        accumulate=way.share, threads=1,
    )  # fmt: skip
    dtype = next(model.parameters()).dtype
    return [float(step(x, y)) for x, y in _batches(case, dtype, steps, 1.0)]


def _losses_there(
    model: tn.Module, case: Case, rule: str, way: Way, steps: int = STEPS, times: float = 1.0
) -> list[float]:
    parameters, loss, found = _trained(rule, model.parameters()), tn.CrossEntropyLoss(), []
    optimizer = getattr(torch.optim, rule)(parameters, **_options(case, rule))
    dtype = parameters[0].detach().numpy().dtype
    for number, (x, y) in enumerate(_batches(case, dtype, steps, times), 1):
        value = loss(model(torch.from_numpy(x)), torch.from_numpy(y))
        (value / way.share).backward()
        found.append(value.item())
        if number % way.share == 0:
            if way.clip_grad is not None:
                tn.utils.clip_grad_value_(parameters, way.clip_grad)
            if way.clip_norm is not None:
                tn.utils.clip_grad_norm_(parameters, way.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
    return found
