"""Calls of a training step that go straight to the program of the one before, and all that keeps them from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.compiler.step import CompiledStep
from lucid.errors import OptionError

Change = Callable[[Any, Any], object]
FACTOR = [1.0]


class Scaled(nn.Module):
    """Reads what no module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)
        self.act, self.gain = nn.ReLU(), 2.0

    def forward(self, x: Any) -> Any:
        return self.last(self.act(self.norm(self.first(x)))) * (FACTOR[0] * self.gain)


def made() -> tuple[Any, Any]:
    lucid.manual_seed(3)
    model = Scaled()
    return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def batch(seed: int, size: int = 8) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((size, 5)).astype(np.float32), rng.integers(0, 3, size)


def eager(model: Any, optimizer: Any, x: Any, y: Any) -> float:
    optimizer.zero_grad()
    loss = nn.CrossEntropyLoss()(model(lucid.tensor(x)), lucid.tensor(y))
    loss.backward()
    optimizer.step()
    return float(loss)


def _group(**options: object) -> Change:
    return lambda model, optimizer: optimizer.param_groups[0].update(options)


def _replace_momentum(model: Any, optimizer: Any) -> None:
    optimizer.state[model.last.bias]["momentum_buffer"] = lucid.full((3,), 0.5)


def _write(model: Any, optimizer: Any) -> None:
    with lucid.no_grad():
        model.last.weight.mul_(0.5)


def _frozen(model: Any, optimizer: Any) -> None:
    model.first.weight.requires_grad = False


def _other_layer(model: Any, optimizer: Any) -> None:
    model.act = nn.Tanh()


def _leave_out(model: Any, optimizer: Any) -> None:
    optimizer.param_groups[0]["params"].pop()


CHANGES: dict[str, Change] = {
    "nothing": lambda model, optimizer: None,
    "rate": _group(lr=0.01),
    "momentum": _group(momentum=0.5),
    "decay": _group(weight_decay=0.1),
    "nesterov": _group(nesterov=True),
    "no momentum": _group(momentum=0.0),
    "state": _replace_momentum,
    "loaded": lambda model, optimizer: optimizer.load_state_dict(made()[1].state_dict()),
    "parameter": _write,
    "frozen": _frozen,
    "mode": lambda model, optimizer: model.eval(),
    "layer": _other_layer,
    "attribute": lambda model, optimizer: setattr(model, "gain", 0.5),
    "outside": lambda model, optimizer: FACTOR.__setitem__(0, 0.25),
    "fewer": _leave_out,
    "eager step": lambda model, optimizer: eager(model, optimizer, *batch(99)),
}


@pytest.fixture(autouse=True)
def factor() -> Any:
    yield
    FACTOR[0] = 1.0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a call was looked at anew."""
    found: list[int] = []
    looked_at = CompiledStep._dispatched

    def noted(self: CompiledStep, *args: Any) -> Any:
        found.append(1)
        return looked_at(self, *args)

    monkeypatch.setattr(CompiledStep, "_dispatched", noted)
    return found


def test_calls_that_are_alike_are_looked_at_once(looks: list[int]) -> None:
    model, optimizer = made()
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer)
    for seed in range(6):
        step(*batch(seed))
    assert len(looks) <= 2


def losses(call: Callable[[Any, Any], Any], turns: int, change: Callable[[], object]) -> list[float]:
    """Of so many calls, with a change before the last four."""
    found = []
    for turn in range(turns):
        if turn == turns - 4:
            change()
        found.append(float(call(*batch(turn))))
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_between_calls_is_seen(change: str, looks: list[int]) -> None:
    """One after the other, as what the one writes makes the other look again."""
    model, optimizer = made()
    wanted = losses(lambda x, y: eager(model, optimizer, x, y), 9, lambda: CHANGES[change](model, optimizer))
    FACTOR[0] = 1.0
    model, optimizer = made()
    step, before = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer), list[int]()

    def then() -> None:
        before.extend(looks)
        CHANGES[change](model, optimizer)

    assert losses(step, 9, then) == pytest.approx(wanted, rel=1e-4)
    assert (looks > before) == (change != "nothing")


def test_other_batches_are_seen() -> None:
    (model, optimizer), (twin, its) = made(), made()
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer)
    batches = [batch(turn, size) for turn, size in enumerate((8, 8, 8, 4, 4, 8, 8, 8))]
    wanted = [eager(twin, its, x, y) for x, y in batches]
    given = [tuple(map(lucid.tensor, one)) if turn % 3 == 2 else one for turn, one in enumerate(batches)]
    assert [float(step(x, y)) for x, y in given] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", ["clip_grad", "clip_norm"])
def test_limits_of_the_step_are_seen(name: str) -> None:
    model, optimizer = made()
    optimizer.param_groups[0]["momentum"] = 0.0
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer)
    for turn in range(3):
        step(*batch(turn))
    before = model.last.weight.numpy().copy()
    setattr(step, name, 0.0)
    step(*batch(3))
    assert (model.last.weight.numpy() == before).all()


class Still(optim.SGD):
    """Updates nothing."""

    def update(self, p: Any, g: Any, state: Any, hyper: Any) -> Any:
        return p + 0 * g, dict(state)


def test_another_optimizer_is_seen() -> None:
    """Also one that has all that the first has."""
    model, optimizer = made()
    still = Still(model.parameters(), lr=0.1, momentum=0.9)
    still.param_groups, still.state = optimizer.param_groups, optimizer.state
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer)
    for turn in range(3):
        step(*batch(turn))
    before = model.last.weight.numpy().copy()
    step.optimizer = still
    step(*batch(3))
    assert (model.last.weight.numpy() == before).all()


def test_an_option_without_meaning_is_an_error_at_each_call() -> None:
    model, optimizer = made()
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optimizer)
    for turn in range(3):
        step(*batch(turn))
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(OptionError, match="lr"):
        step(*batch(3))
