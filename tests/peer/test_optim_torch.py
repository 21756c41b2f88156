"""Optimisers and schedules beside PyTorch's: the same parameters and rates after every step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as torch_schedules

from lucid import optim
from lucid.errors import OptionError
from lucid.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from lucid.optim import lr_scheduler as schedules
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"betas": (0.5, 0.6), "eps": 1e-3, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1, "betas": (0.8, 0.9)}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True, "eps": 1e-3}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True, "eps": 1e-3}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.6)}),  # whose means are never long enough
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adadelta", {"rho": 1.0}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 2.0), "step_sizes": (0.05, 0.3), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 5, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {}),
    (
        "Adafactor",
        {"lr": 0.3, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 2.0, "weight_decay": 0.1, "maximize": True},
    ),
    ("Adafactor", {"lr": 2.0, "eps": (0.5, 0.0), "d": 1.5}),
    ("Muon", {}),
    ("Muon", {"lr": 0.1, "momentum": 0.5, "nesterov": False, "weight_decay": 0.3, "adjust_lr_fn": "match_rms_adamw"}),
    ("Muon", {"lr": 0.1, "ns_coefficients": (2.0, -1.5, 0.5), "eps": 10.0, "ns_steps": 3, "adjust_lr_fn": "original"}),
]


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """An element type that is PyTorch's default for the test: its optimisers keep their scalars in that."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, request.param))
    yield request.param
    torch.set_default_dtype(before)


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Muon of PyTorch in the type of its parameters, and not in bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize(("name", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"], indirect=True)
def test_twenty_steps_are_pytorchs(name: str, options: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (5, 2), (2, 2), (2, 7)) if name == "Muon" else ((3, 4), (5,), (2,), (), (2, 3, 2))
    starts = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    ours = [Tensor(a, requires_grad=True) for a in starts]
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in starts]
    groups = [slice(0, 2), slice(2, None)]
    other = {"lr": 0.05}
    a = getattr(optim, name)([{"params": ours[groups[0]]}, {"params": ours[groups[1]], **other}], **options)
    b = getattr(torch.optim, name)([{"params": theirs[groups[0]]}, {"params": theirs[groups[1]], **other}], **options)
    for step in range(20):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            gradient = np.asarray(rng.standard_normal(p.shape), dtype)
            skipped = i == 2 and step % 3 == 0
            p.grad, q.grad = (None, None) if skipped else (Tensor(gradient), torch.from_numpy(gradient))
        if step == 10:
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.02
        a.step()
        b.step()
        for p, q in zip(ours, theirs, strict=True):
            tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize(("name", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
def test_states_go_either_way(name: str, options: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (2, 2)) if name == "Muon" else ((3, 4), (5,), (), (2, 3, 2))
    mine = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    first, other = ([torch.zeros(p.shape, requires_grad=True) for p in mine] for _ in range(2))
    ours, theirs = getattr(optim, name)(mine, lr=9.0), getattr(torch.optim, name)(first, **options)

    def given(optimizers: list[Any]) -> None:
        for _ in range(3):
            for i, shape in enumerate(shapes):
                gradient = np.asarray(rng.standard_normal(shape))
                for one in optimizers:
                    p = one.param_groups[0]["params"][i]
                    p.grad = Tensor(gradient) if one is ours else torch.from_numpy(gradient)
            for one in optimizers:
                one.step()

    given([theirs])
    for p, q in zip(mine, first, strict=True):
        p.detach().copy_(q.detach().numpy())
    options_before = set(ours.param_groups[0])
    ours.load_state_dict(theirs.state_dict())
    assert set(ours.param_groups[0]) == options_before
    given([theirs, ours])
    again = getattr(torch.optim, name)(other)
    for p, r in zip(mine, other, strict=True):
        r.data.copy_(torch.from_numpy(p.numpy().copy()))
    state = ours.state_dict()
    slots = {n: {k: torch.from_numpy(v.copy()) for k, v in state["state"][n].items()} for n in state["state"]}
    again.load_state_dict({**state, "state": slots})
    given([theirs, ours, again])
    for p, q, r in zip(mine, first, other, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(p.numpy(), r.detach().numpy(), rtol=1e-13, atol=1e-13)


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6}),
    ("PolynomialLR", {"total_iters": 7, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 1 / (1 + epoch)}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 1 - 1 / (2 + epoch)}),
    *(
        (
            "CyclicLR",
            {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4, "step_size_down": n, "mode": mode, "gamma": 0.9},
        )
        for mode in ("triangular", "triangular2", "exp_range")
        for n in (None, 3)
    ),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 3, "scale_fn": lambda x: 1 / x, "base_momentum": 0.5}),
    *(
        ("OneCycleLR", {"max_lr": 0.3, "total_steps": 25, "anneal_strategy": strategy, "three_phase": phases})
        for strategy in ("cos", "linear")
        for phases in (False, True)
    ),
    ("OneCycleLR", {"max_lr": 0.3, "epochs": 5, "steps_per_epoch": 5, "pct_start": 0.5, "div_factor": 5.0}),
]


def histories(name: str, options: dict[str, Any], rule: str, steps: int) -> tuple[list[Any], list[Any]]:
    """Rates and momenta before every step, ours and theirs."""
    found = []
    for world, plans, p in (
        (optim, schedules, Tensor(np.zeros(2, np.float32), requires_grad=True)),
        (torch.optim, torch_schedules, torch.zeros(2, requires_grad=True)),
    ):
        optimizer = getattr(world, rule)([p], lr=0.5)
        if rule == "SGD":
            optimizer.param_groups[0]["momentum"] = 0.9
        schedule = getattr(plans, name)(optimizer, **options)
        history = []
        for _ in range(steps):
            group = optimizer.param_groups[0]
            history.append((group["lr"], *group.get("betas", (group.get("momentum"),))))
            optimizer.step()
            schedule.step()
        found.append(history)
    return found[0], found[1]


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_a_schedule_is_pytorchs(name: str, options: dict[str, Any], rule: str) -> None:
    ours, theirs = histories(name, options, rule, 24)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert len(set(ours)) > 1


@pytest.mark.parametrize("mult", [1, 2])
def test_restarts_within_epochs_are_pytorchs(mult: int) -> None:
    theirs = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5)
    ours = optim.SGD([Tensor(np.zeros(2, np.float32), requires_grad=True)], lr=0.5)
    theirs.step()
    plan = torch_schedules.CosineAnnealingWarmRestarts(theirs, 3, mult, 0.01)
    mine = schedules.CosineAnnealingWarmRestarts(ours, 3, mult, 0.01)
    for epoch in (0.25, 0.5, None, 2.75, None, 5.5, 4, None, None, 11.125, None):
        plan.step(epoch)
        mine.step(epoch)
        np.testing.assert_allclose(mine.get_last_lr(), plan.get_last_lr(), rtol=1e-12)
        assert mine.last_epoch == plan.last_epoch
    again = schedules.CosineAnnealingWarmRestarts(ours, 3, mult, 0.01)
    again.load_state_dict(mine.state_dict())
    mine.step()
    expected = mine.get_last_lr()
    again.step()
    assert again.get_last_lr() == expected
    with pytest.raises(OptionError, match="epoch must be at least 0"):
        mine.step(-1)


OTHER_STATES = {"CosineAnnealingWarmRestarts", "LambdaLR", "MultiplicativeLR", "CyclicLR", "OneCycleLR"}
"""Schedules that keep something else than PyTorch's of that name."""


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_schedule_resumes_from_pytorchs_state(name: str, options: dict[str, Any]) -> None:
    theirs = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5, momentum=0.9)
    ours = optim.SGD([Tensor(np.zeros(2, np.float32), requires_grad=True)], lr=0.5, momentum=0.9)
    plan, mine = getattr(torch_schedules, name)(theirs, **options), getattr(schedules, name)(ours, **options)
    for _ in range(5):
        theirs.step()
        plan.step()
    if name in OTHER_STATES:
        with pytest.raises(OptionError, match="unknown state"):
            mine.load_state_dict(plan.state_dict())
        return
    mine.load_state_dict(plan.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for _ in range(7):
        theirs.step()
        plan.step()
        mine.step()
        np.testing.assert_allclose(mine.get_last_lr(), plan.get_last_lr(), rtol=1e-12)


def test_schedules_in_sequence_are_pytorchs() -> None:
    found = []
    for world, plans, p in (
        (optim, schedules, Tensor(np.zeros(2, np.float32), requires_grad=True)),
        (torch.optim, torch_schedules, torch.zeros(2, requires_grad=True)),
    ):
        optimizer = world.SGD([p], lr=0.5)  # type: ignore[attr-defined]
        parts = [
            plans.LinearLR(optimizer, start_factor=0.1, total_iters=4),  # type: ignore[attr-defined]
            plans.CosineAnnealingLR(optimizer, T_max=10),  # type: ignore[attr-defined]
            plans.ExponentialLR(optimizer, 0.9),  # type: ignore[attr-defined]
        ]
        schedule = plans.SequentialLR(optimizer, parts, milestones=[4, 12])  # type: ignore[attr-defined]
        history = []
        for _ in range(24):
            history.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            with warnings.catch_warnings():  # PyTorch warns of its own way to restart a schedule
                warnings.simplefilter("ignore")
                schedule.step()
        found.append(history)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_schedules_at_once_are_pytorchs() -> None:
    found = []
    for world, plans, p in (
        (optim, schedules, Tensor(np.zeros(2, np.float32), requires_grad=True)),
        (torch.optim, torch_schedules, torch.zeros(2, requires_grad=True)),
    ):
        optimizer = world.SGD([p], lr=0.5)  # type: ignore[attr-defined]
        parts = [plans.ConstantLR(optimizer, 0.1, 4), plans.ExponentialLR(optimizer, 0.9)]  # type: ignore[attr-defined]
        schedule = plans.ChainedScheduler(parts)  # type: ignore[attr-defined]
        history = []
        for _ in range(8):
            history += schedule.get_last_lr()
            optimizer.step()
            schedule.step()
        schedule.load_state_dict(schedule.state_dict())
        found.append(history)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateaus_are_pytorchs(mode: str, threshold_mode: str) -> None:
    rng = np.random.default_rng(0)
    metrics = np.concatenate([np.linspace(3, 1, 10), 1 + 0.01 * rng.standard_normal(30), np.full(10, -0.5)])
    options: dict[str, Any] = {
        "mode": mode, "threshold_mode": threshold_mode, "factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": 0.01
    }  # fmt: skip
    ours = optim.SGD([Tensor(np.zeros(1, np.float32), requires_grad=True)], lr=0.5)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    a, b = schedules.ReduceLROnPlateau(ours, **options), torch_schedules.ReduceLROnPlateau(theirs, **options)
    for metric in metrics:
        a.step(metric)
        b.step(metric)
        assert a.get_last_lr() == b.get_last_lr()
    assert ours.param_groups[0]["lr"] < 0.5


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_gradients_is_pytorchs(norm_type: float, max_norm: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,))]
    ours = [Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    theirs = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = Tensor(g), torch.from_numpy(g.copy())
    norm = clip_grad_norm_(ours, max_norm, norm_type)
    assert float(norm) == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)), rel=1e-6)
    clip_grad_value_(ours, 0.05)
    torch.nn.utils.clip_grad_value_(theirs, 0.05)
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad is not None
        assert q.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_norms_that_are_known_are_clipped_as_pytorchs(norm_type: float, max_norm: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal((3, 4)), rng.standard_normal(5).astype(np.float32)]
    ours = [Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    theirs = [torch.from_numpy(np.zeros_like(g)).requires_grad_() for g in gradients]
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = Tensor(g), torch.from_numpy(g.copy())
    for mine, other in ((ours, theirs), (ours[1:], theirs[1:]), ([], [])):
        norm = get_total_norm([p.grad for p in mine if p.grad is not None], norm_type)
        wanted = torch.nn.utils.get_total_norm([q.grad for q in other if q.grad is not None], norm_type)
        assert norm.item() == pytest.approx(wanted.item(), rel=1e-6)
        assert norm.dtype.name == str(wanted.dtype).removeprefix("torch.")
        clip_grads_with_norm_(mine, max_norm, norm)
        torch.nn.utils.clip_grads_with_norm_(other, max_norm, wanted)
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad is not None
        assert q.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)
