"""L-BFGS beside PyTorch's: the same losses after the same number of evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn

OPTIONS: list[dict[str, Any]] = [
    {},
    {"lr": 0.3, "history_size": 3, "max_iter": 7},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "lr": 100.0},
    {"line_search_fn": "strong_wolfe", "lr": 0.5, "history_size": 2, "max_iter": 4, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "max_eval": 2},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1e-2},
    {"lr": 1e-3, "max_eval": 1},
    {"lr": 0.01, "tolerance_change": 1e-2},
]


def rosenbrock(p: Any, q: Any) -> Any:
    """A narrow bent valley, and a bowl."""
    return (100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2).sum() + 0.3 * (q * q).sum() + (q.sum() - 1) ** 4


class Minimised:
    """An objective and its minimisation with either library."""

    def __init__(self, lib: Any, options: dict[str, Any]) -> None:
        rng = np.random.default_rng(0)
        make = lucid.tensor if lib is lucid else torch.from_numpy
        self.params = [make(rng.standard_normal(shape)).requires_grad_() for shape in ((6,), (2, 3))]
        self.optimizer = lib.optim.LBFGS(self.params, **options)

    def steps(self, count: int) -> list[tuple[float, int]]:
        found = []
        for _ in range(count):
            evaluations = 0

            def closure() -> Any:
                nonlocal evaluations
                evaluations += 1
                self.optimizer.zero_grad()
                loss = rosenbrock(*self.params)
                loss.backward()
                return loss

            found.append((self.optimizer.step(closure).item(), evaluations))
        return found


def alike(ours: list[tuple[float, int]], theirs: list[tuple[float, int]]) -> None:
    assert [count for _, count in ours] == [count for _, count in theirs]
    np.testing.assert_allclose([loss for loss, _ in ours], [loss for loss, _ in theirs], rtol=1e-8)


@pytest.mark.parametrize("options", OPTIONS)
def test_steps_are_pytorchs(options: dict[str, Any]) -> None:
    ours, theirs = Minimised(lucid, options), Minimised(torch, options)
    alike(ours.steps(10), theirs.steps(10))


@pytest.mark.parametrize("options", OPTIONS)
def test_states_go_either_way(options: dict[str, Any]) -> None:
    ours, theirs = Minimised(lucid, options), Minimised(torch, options)
    theirs.steps(3)
    for p, q in zip(ours.params, theirs.params, strict=True):
        p.detach().copy_(q.detach().numpy())
    ours.optimizer.load_state_dict(theirs.optimizer.state_dict())
    alike(ours.steps(3), theirs.steps(3))
    again = Minimised(torch, options)
    for p, q in zip(ours.params, again.params, strict=True):
        q.data.copy_(torch.from_numpy(p.numpy().copy()))
    again.optimizer.load_state_dict(tensors(ours.optimizer.state_dict()))
    alike(ours.steps(3), again.steps(3))


def tensors(state: Any) -> Any:
    """The arrays of a state as tensors of PyTorch."""
    if isinstance(state, dict):
        return {name: tensors(value) for name, value in state.items()}
    if isinstance(state, list):
        return [tensors(value) for value in state]
    return torch.from_numpy(state.copy()) if isinstance(state, np.ndarray) else state


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_compiled_network_trains_as_pytorchs(search: str | None, dtype: str) -> None:
    torch.manual_seed(0)
    theirs = tn.Sequential(tn.Linear(4, 8), tn.Tanh(), tn.Linear(8, 3)).to(getattr(torch, dtype))
    ours = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    ours.load_state_dict({name: value.numpy().copy() for name, value in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 4)).astype(dtype), rng.integers(0, 3, 60)
    found: list[list[float]] = []
    for lib, model, wrap in ((lucid, lucid.compile(ours), lucid.tensor), (torch, theirs, torch.from_numpy)):
        loss, inputs, target = lib.nn.CrossEntropyLoss(), wrap(x), wrap(y)  # type: ignore[attr-defined,operator]
        optimizer = lib.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn=search)

        def closure() -> Any:
            optimizer.zero_grad()  # noqa: B023 - called at once
            value = loss(model(inputs), target) + 1e-2 * sum((p * p).sum() for p in model.parameters())  # noqa: B023
            value.backward()
            return value

        found.append([optimizer.step(closure).item() for _ in range(25)])
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol={"float32": 1e-4, "float64": 1e-10}[dtype])
    assert found[0][-1] < found[0][0] - 0.1
