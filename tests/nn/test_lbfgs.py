"""L-BFGS: what it asks for, what it refuses, and how it resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.errors import FileError, LucidError, OptionError
from lucid.optim import lr_scheduler as schedules
from lucid.optim.line_search import Search, Trial
from lucid.tensor.tensor import Tensor, is_grad_enabled


class Bowl:
    """A function of two tensors whose minimum is 0, at 1 and 2."""

    def __init__(self, **options: Any) -> None:
        self.params = [Tensor(np.zeros(n), requires_grad=True) for n in (2, 3)]
        self.optimizer = optim.LBFGS(self.params, **options)
        self.evaluations = 0

    def closure(self) -> Tensor:
        assert is_grad_enabled()
        self.evaluations += 1
        self.optimizer.zero_grad()
        p, q = self.params
        loss: Tensor = ((p - 1) ** 4).sum() + ((q - 2) ** 2).sum() + (p.sum() - q.sum() + 4) ** 2
        loss.backward()
        return loss

    def step(self) -> float:
        return float(self.optimizer.step(self.closure))  # type: ignore[arg-type]

    @property
    def values(self) -> list[list[float]]:
        return [p.tolist() for p in self.params]


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_the_minimum_is_found(search: str | None) -> None:
    bowl = Bowl(line_search_fn=search)
    assert bowl.step() == 30.0
    for _ in range(4):
        last = bowl.step()
    assert last < 1e-6
    np.testing.assert_allclose(bowl.params[1].numpy(), 2.0, atol=1e-5)


def test_no_more_evaluations_than_are_allowed() -> None:
    bowl = Bowl(max_eval=3, line_search_fn="strong_wolfe")
    bowl.step()
    assert bowl.evaluations <= 4
    assert bowl.optimizer.state_dict()["state"][0]["func_evals"] == bowl.evaluations
    assert Bowl(max_iter=8).optimizer.param_groups[0]["max_eval"] == 10


def test_a_closure_that_raises_leaves_parameters_where_they_were() -> None:
    bowl = Bowl(line_search_fn="strong_wolfe")
    whole = bowl.closure

    def closure() -> Tensor:
        if bowl.evaluations == 1:
            raise KeyboardInterrupt
        return whole()

    with pytest.raises(KeyboardInterrupt):
        bowl.optimizer.step(closure)
    assert bowl.values == [[0.0] * 2, [0.0] * 3]


def test_a_schedule_sets_its_rate() -> None:
    bowl = Bowl(lr=0.5, max_iter=2)
    plan = schedules.StepLR(bowl.optimizer, 1, 0.1)
    bowl.step()
    plan.step()
    before = bowl.values
    bowl.step()
    slow = np.abs(np.concatenate(bowl.values) - np.concatenate(before)).max()
    assert bowl.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert 0 < slow < 0.1


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_it_resumes_from_a_checkpoint(search: str | None, steps: int, tmp_path: Path) -> None:
    a, b = Bowl(max_iter=3, line_search_fn=search), Bowl(max_iter=3, line_search_fn=search)
    for _ in range(steps):
        a.step()
    lucid.save_checkpoint(tmp_path / "run", optimizer=a.optimizer)
    lucid.load_checkpoint(tmp_path / "run", optimizer=b.optimizer)
    for p, q in zip(a.params, b.params, strict=True):
        q.detach().copy_(p.numpy())
    assert [a.step() for _ in range(3)] == [b.step() for _ in range(3)]
    assert a.values == b.values


def test_a_wrong_state_changes_nothing(tmp_path: Path) -> None:
    bowl, fresh = Bowl(), Bowl()
    bowl.step()
    changes: list[Any] = [
        lambda s: s.update(d=np.zeros(4)),
        lambda s: s.update(old_dirs=3),
        lambda s: s["ro"].append(1.0),
        lambda s: s.update(n_iter=-1),
        lambda s: s.update(H_diag="much"),
        lambda s: s.pop("prev_flat_grad"),
        lambda s: s.update(t=None),
    ]
    for change in changes:
        wrong = bowl.optimizer.state_dict()
        change(wrong["state"][0])
        with pytest.raises(LucidError, match="LBFGS"):
            fresh.optimizer.load_state_dict(wrong)
        assert fresh.optimizer.state_dict()["state"] == {}
    wrong = bowl.optimizer.state_dict()
    with pytest.raises(OptionError, match="that of one parameter"):
        fresh.optimizer.load_state_dict({**wrong, "state": {0: {}, 1: {}}})
    lucid.save_checkpoint(tmp_path / "run", optimizer=optim.SGD(bowl.params))
    with pytest.raises(FileError, match="'SGD'"):
        lucid.load_checkpoint(tmp_path / "run", optimizer=fresh.optimizer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.LBFGS([p], line_search_fn="armijo"), "line_search_fn is 'strong_wolfe' or None"),
        (lambda p: optim.LBFGS([p], max_iter=0), "max_iter must be positive"),
        (lambda p: optim.LBFGS([p], history_size=0), "history_size"),
        (lambda p: optim.LBFGS([p], tolerance_grad=-1), "tolerance_grad must be at least 0"),
        (lambda p: optim.LBFGS([{"params": [p]}, {"params": [p]}]), "all parameters are in one group"),
        (lambda p: optim.LBFGS([p]).step(), "step takes a closure"),
        (lambda p: optim.LBFGS([p]).step(lambda: None), "the loss that the closure returns is a number, got None"),
        (lambda p: optim.Rprop([p], etas=(1.0, 1.2)), "etas are one number between 0 and 1 and one above 1"),
        (lambda p: optim.Rprop([p], step_sizes=1.0), "step_sizes is a pair"),
        (lambda p: optim.Adafactor([p], beta2_decay=0.1), "beta2_decay is 0 or negative, got 0.1"),
        (lambda p: optim.Adafactor([p], eps=(1.0, None)), r"eps\[1\] is a number"),
        (lambda p: optim.Adafactor([p], d=0.5), "d must be at least 1"),
        (lambda p: optim.Adadelta([p], rho=1.5), "rho must lie between 0 and 1"),
        (lambda p: optim.Muon([p]), "a parameter has two axes"),
        (lambda p: optim.Muon([p.reshape(1, 1).detach()], ns_steps=100), "ns_steps"),
        (lambda p: optim.Muon([p.reshape(1, 1).detach()], ns_coefficients=(1, 2)), "ns_coefficients are three numbers"),
        (lambda p: optim.Muon([p.reshape(1, 1).detach()], adjust_lr_fn="mine"), "adjust_lr_fn is 'original'"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make(Tensor([1.0], requires_grad=True))


def test_it_is_no_part_of_a_compiled_step() -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.LBFGS(model.parameters())
    with pytest.raises(OptionError, match=r"LBFGS evaluates the loss several times in a step.*step\(closure\)"):
        lucid.compile_step(model, nn.MSELoss(), optimizer)
    for compiled in (True, False):
        with pytest.raises(OptionError, match=r"fit: LBFGS evaluates the loss several times"):
            lucid.fit(model, [], loss=nn.MSELoss(), optimizer=optimizer, compiled=compiled)


def test_a_loss_that_rises_ends_the_search_outwards_from_the_third_trial_on() -> None:
    """As in PyTorch: the second trial, which is no lower than the first but low enough, is gone beyond."""
    tried: list[float] = []

    def evaluate(t: float) -> Trial:
        tried.append(t)
        return Trial(t, -1.0 + 0.1 * len(tried), np.zeros(1), -1.0)

    start = Trial(0.0, 0.0, np.zeros(1), -1.0)
    Search(evaluate, start, 1.0, 1e-9, 3).best(1.0)
    assert tried[0] < tried[1] < tried[2]
    assert tried[1] <= tried[3] <= tried[2]
