"""Averaged models beside PyTorch's: the same weights, buffers, statistics and rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import swa_utils as theirs

import lucid
from lucid import nn, optim
from lucid.optim import swa_utils as ours

Model = tuple[Any, Any]


def models() -> Model:
    """Without a bias before the normalisation: its gradient is rounding, which the optimiser would divide by itself."""
    a = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    b = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    ).double()
    b.load_state_dict({name: torch.from_numpy(np.array(value.numpy())) for name, value in a.state_dict().items()})
    return a, b


def same(a: Any, b: Any) -> None:
    wanted = b.state_dict()
    assert set(a.state_dict()) == set(wanted)
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(value.numpy(), wanted[name].numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


AVERAGES: dict[str, Any] = {
    "mean": lambda world: {},
    "mean of buffers too": lambda world: {"use_buffers": True},
    "ema": lambda world: {"avg_fn": world.get_ema_avg_fn(0.7)},
    "ema of several": lambda world: {"multi_avg_fn": world.get_ema_multi_avg_fn(0.7)},
    "ema of buffers too": lambda world: {"multi_avg_fn": world.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    "mean by name": lambda world: {"avg_fn": world.get_swa_avg_fn()},
    "mean of several": lambda world: {"multi_avg_fn": world.get_swa_multi_avg_fn()},
    "one's own": lambda world: {"avg_fn": lambda average, value, count: average * 0.5 + value / (count + 2)},
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_ten_steps_are_pytorchs(kind: str) -> None:
    lucid.manual_seed(0)
    pair, rng = models(), np.random.default_rng(0)
    averages = [
        world.AveragedModel(model, **AVERAGES[kind](world)) for world, model in zip((ours, theirs), pair, strict=True)
    ]
    optimizers = [
        world.NAdam(model.parameters(), lr=0.05)
        for world, model in zip((optim, torch.optim), pair, strict=True)  # type: ignore[attr-defined]
    ]
    torch_default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which its NAdam keeps its scalars
    try:
        for _ in range(10):
            x = rng.standard_normal((5, 3))
            for model, average, optimizer, given in zip(
                pair, averages, optimizers, (lucid.tensor(x), torch.from_numpy(x)), strict=True
            ):
                optimizer.zero_grad()
                (model(given) ** 2).sum().backward()
                optimizer.step()
                average.update_parameters(model)
            same(*averages)
    finally:
        torch.set_default_dtype(torch_default)
    batches = [rng.standard_normal((n, 3)) for n in (4, 6, 3)]
    averages[0].eval(), averages[1].eval()
    ours.update_bn([[lucid.tensor(x), "label"] for x in batches], averages[0])
    theirs.update_bn([[torch.from_numpy(x), "label"] for x in batches], averages[1])
    same(*averages)
    assert not averages[0].training and averages[0].module[1].momentum == 0.1
    np.testing.assert_allclose(
        averages[0](lucid.tensor(batches[0])).detach().numpy(),
        averages[1](torch.from_numpy(batches[0])).detach().numpy(),
        rtol=1e-10,
    )


@pytest.mark.parametrize("epochs", [0, 1, 7])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("last", [0.05, [0.2, 0.9]])
def test_rates_are_pytorchs(epochs: int, strategy: str, last: Any) -> None:
    found = []
    for world, schedules, leaf in (
        (optim, ours, lambda: lucid.zeros(2, requires_grad=True)),
        (torch.optim, theirs, lambda: torch.zeros(2, requires_grad=True)),
    ):
        optimizer = world.SGD([{"params": [leaf()]}, {"params": [leaf()], "lr": 0.3}], lr=0.5)  # type: ignore[attr-defined]
        before = world.lr_scheduler.ExponentialLR(optimizer, 0.9)  # type: ignore[attr-defined]
        schedule = schedules.SWALR(optimizer, last, epochs, strategy)  # type: ignore[attr-defined]
        history = []
        for step in range(14):
            optimizer.step()
            (before if step < 3 else schedule).step()
            history.append([group["lr"] for group in optimizer.param_groups])
        again = schedules.SWALR(optimizer, last, epochs, strategy, last_epoch=3)  # type: ignore[attr-defined]
        again.load_state_dict(schedule.state_dict())
        again.step()
        found.append([*history, schedule.get_last_lr()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


def test_what_is_refused() -> None:
    model = nn.Linear(2, 2)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    average = ours.AveragedModel(model)
    for wrong, words in (
        (lambda: ours.AveragedModel(3), "model is a module"),  # type: ignore[arg-type]
        (lambda: ours.AveragedModel(model, "cuda"), "processor"),
        (lambda: ours.AveragedModel(model, None, ours.get_swa_avg_fn(), ours.get_swa_multi_avg_fn()), "not both"),
        (lambda: ours.AveragedModel(model, None, 3), "avg_fn is a function"),  # type: ignore[arg-type]
        (lambda: average.update_parameters(nn.Linear(3, 2)), "other parameters"),
        (lambda: ours.get_ema_avg_fn(1.5), "decay"),
        (lambda: ours.get_ema_multi_avg_fn(-1), "decay"),
        (lambda: ours.SWALR(sgd, [0.1, 0.2]), "2 rates for 1 groups"),
        (lambda: ours.SWALR(sgd, 0.1, anneal_strategy="sin"), "'cos' or 'linear'"),
        (lambda: ours.SWALR(sgd, 0.1, -1), "anneal_epochs"),
        (lambda: ours.SWALR(3, 0.1), "needs an Optimizer"),  # type: ignore[arg-type]
        (lambda: ours.update_bn([], 3), "model is a module"),  # type: ignore[arg-type]
    ):
        with pytest.raises(lucid.LucidError, match=words):
            wrong()
    with pytest.raises(AttributeError, match="AveragedModel"):
        ours.AverageModel  # type: ignore[attr-defined]  # noqa: B018


def test_an_average_is_compiled_and_seen_to_change() -> None:
    model = nn.Linear(2, 1)
    average = ours.AveragedModel(model)
    net = lucid.compile(average)
    x = lucid.ones(1, 2)
    for _ in range(3):
        with lucid.no_grad():
            model.weight.add_(1.0)
        average.update_parameters(model)
        np.testing.assert_allclose(net(x).detach().numpy(), average(x).detach().numpy(), rtol=1e-6)  # type: ignore[attr-defined]
    assert int(average.n_averaged) == 3
