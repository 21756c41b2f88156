"""Optimisers and schedules: groups, errors, state, and one rule for tensors and graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid import optim
from lucid.errors import DTypeError, GradientError, OptionError, ShapeError
from lucid.graph.builder import Builder
from lucid.graph.opdef import TypeAttrs
from lucid.graph.ops.source import INPUT
from lucid.graph.trace import Tracer
from lucid.graph.types import float64
from lucid.nn.utils import (
    clip_grad_norm_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)
from lucid.optim import lr_scheduler as schedules
from lucid.runtime.eager import evaluate
from lucid.tensor.tensor import Tensor, is_grad_enabled

RULES: list[tuple[type[optim.Optimizer], dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True}),
    (optim.AdamW, {"lr": 0.1}),
    (optim.NAdam, {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1}),
    (optim.NAdam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    (optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    (optim.RAdam, {"lr": 0.1, "weight_decay": 0.1, "betas": (0.5, 0.8)}),
    (optim.RAdam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.Adamax, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.Adadelta, {"weight_decay": 0.1, "maximize": True}),
    (optim.Rprop, {"lr": 0.1}),
    (optim.ASGD, {"lr": 0.1, "lambd": 0.1, "t0": 2, "weight_decay": 0.1}),
    (optim.Adafactor, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.Adafactor, {"lr": 2.0, "eps": (0.5, 0.1), "d": 1.5, "maximize": True}),
    (optim.Muon, {"lr": 0.1}),
    (optim.Muon, {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
]


def leaf(*values: float, dtype: str = "float32") -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True)


def give(p: Tensor, *values: float) -> None:
    p.grad = Tensor(np.array(values, p.dtype))


def test_descent_by_hand() -> None:
    p = leaf(1.0, 2.0)
    sgd = optim.SGD([p], lr=0.5)
    give(p, 2.0, -4.0)
    sgd.step()
    assert p.tolist() == [0.0, 4.0]
    assert p.is_leaf
    assert p.requires_grad
    sgd.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.tolist() == [0.0, 0.0]
    sgd.zero_grad()
    assert p.grad is None
    sgd.step()
    assert p.tolist() == [0.0, 4.0]


def test_the_first_step_of_adam_is_the_rate() -> None:
    p = leaf(1.0, 1.0)
    give(p, 3.0, -0.01)
    optim.Adam([p], lr=0.25).step()
    np.testing.assert_allclose(p.numpy(), [0.75, 1.25], rtol=1e-5)


def test_a_closure_runs_with_gradients() -> None:
    p = leaf(3.0)
    sgd = optim.SGD([p], lr=0.1)

    def closure() -> Tensor:
        assert is_grad_enabled()
        sgd.zero_grad()
        loss: Tensor = (p * p).sum()
        loss.backward()
        return loss

    assert float(sgd.step(closure)) == 9.0
    assert p.item() == pytest.approx(2.4)


SHAPES = ((4,), (2, 3), (3, 2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rule", "options"), RULES)
def test_one_rule_serves_tensors_and_graphs(
    rule: type[optim.Optimizer], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Five eager steps, and five runs of the update as a graph, end alike."""
    if rule is optim.Muon and len(shape) != 2:
        pytest.skip("Muon is for matrices")
    rng = np.random.default_rng(0)
    start = rng.standard_normal(shape)
    p = Tensor(start, requires_grad=True)
    optimizer = rule([p], **options)
    group = optimizer.param_groups[0]
    state = optimizer.state_of(p, group)
    values: dict[str, Any] = {"p": start, "g": start, **optimizer.scalars(group)}
    values |= {f"state.{slot}": np.array(t.numpy()) for slot, t in state.items()}
    tracer = Tracer(Builder())
    symbols = {
        name: tracer.emit(INPUT, TypeAttrs(np.shape(value), float64), name=name)[0] for name, value in values.items()
    }
    slots = {slot: symbols[f"state.{slot}"] for slot in state}
    new, changed = optimizer.apply_rule(symbols["p"], symbols["g"], slots, symbols, optimizer.flags(group))
    assert set(changed) == set(state)
    graph = tracer.builder.finish([new.value, *(x.value for x in changed.values())])
    for _ in range(5):
        g = rng.standard_normal(shape)
        p.grad = Tensor(g)
        optimizer.step()
        values["g"] = g
        results = evaluate(graph, [np.asarray(v, np.float64) for v in values.values()])
        values["p"] = results[0]
        values |= {f"state.{slot}": x for slot, x in zip(changed, results[1:], strict=True)}
        np.testing.assert_allclose(p.numpy(), values["p"], rtol=1e-14)
        for slot, tensor in state.items():
            np.testing.assert_allclose(tensor.numpy(), values[f"state.{slot}"], rtol=1e-14)


@pytest.mark.parametrize(("rule", "options"), RULES)
def test_state_resumes(rule: type[optim.Optimizer], options: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    p = Tensor(rng.standard_normal((2, 3)), requires_grad=True)
    a = rule([p], **options)
    for _ in range(3):
        p.grad = Tensor(rng.standard_normal(p.shape))
        a.step()
    q = Tensor(p.numpy(), requires_grad=True)
    b = rule([q], lr=9.0)
    b.load_state_dict(a.state_dict())
    assert b.param_groups[0]["lr"] == a.param_groups[0]["lr"]
    for _ in range(3):
        gradient = rng.standard_normal(p.shape)
        for x, optimizer in ((p, a), (q, b)):
            x.grad = Tensor(gradient)
            optimizer.step()
    assert p.tolist() == q.tolist()


def test_a_wrong_state_changes_nothing() -> None:
    p = leaf(1.0, 2.0)
    a = optim.Adam([p])
    give(p, 1.0, 1.0)
    a.step()
    state = a.state_dict()
    for change, error, message in (
        (lambda s: s["param_groups"][0].update(params=[0, 1]), OptionError, r"groups of \[1\] parameters"),
        (lambda s: s["state"][0].update(exp_avg=np.zeros(3)), ShapeError, r"exp_avg of parameter 0 has shape \(2,\)"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), OptionError, "lr must be at least 0"),
        (lambda s: s["state"].update({7: {}}), OptionError, r"state for \[7\]"),
    ):
        bad = a.state_dict()
        change(bad)  # type: ignore[no-untyped-call]
        with pytest.raises(error, match=message):
            a.load_state_dict(bad)
        assert a.state_dict()["param_groups"] == state["param_groups"]
        assert np.array_equal(a.state_dict()["state"][0]["exp_avg"], state["state"][0]["exp_avg"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD([p], lr=-1), "SGD: lr must be at least 0 and finite, got -1"),
        (lambda p: optim.SGD([p], lr=float("nan")), "SGD: lr must be"),
        (lambda p: optim.SGD([p], lr=True), "SGD: lr is a number, got True"),
        (lambda p: optim.SGD([p], lr="fast"), "SGD: lr is a number, got 'fast'"),
        (lambda p: optim.SGD([p], nesterov=True), "nesterov needs a momentum and no dampening"),
        (lambda p: optim.SGD([p], maximize=1), "maximize is True or False, got 1"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), r"betas\[1\] must be at least 0 and below 1"),
        (lambda p: optim.AdamW([p], betas=0.9), "AdamW: betas is a pair"),
        (lambda p: optim.SGD([]), "there are no parameters"),
        (lambda p: optim.SGD(p), "params is an iterable"),
        (lambda p: optim.SGD([p, p]), "given twice"),
        (lambda p: optim.SGD({p}), "params is a set, whose order is another in each run"),
        (lambda p: optim.SGD([p * 2]), "was computed from others"),
        (lambda p: optim.SGD([3]), "optimises tensors, got int"),
        (lambda p: optim.SGD([Tensor([1])]), "a parameter is floating-point"),
        (lambda p: optim.SGD([{"params": [p], "speed": 1}]), r"unknown options \['speed'\]"),
        (lambda p: optim.SGD([{"lr": 1}]), "a dict with 'params'"),
        (lambda p: schedules.StepLR(optim.SGD([p]), 0), "step_size must be positive, got 0"),
        (lambda p: schedules.StepLR(p, 1), "needs an Optimizer, got Tensor"),
        (lambda p: schedules.ExponentialLR(optim.SGD([p]), 0.9, last_epoch=3), "group 0 needs its 'initial_lr'"),
        (lambda p: schedules.OneCycleLR(optim.SGD([p]), 1.0), "give total_steps"),
        (lambda p: schedules.OneCycleLR(optim.Adagrad([p]), 1.0, 10), "no momentum to cycle"),
        (lambda p: schedules.LambdaLR(optim.SGD([p]), [abs, abs]), "2 functions for 1 groups"),
        (lambda p: schedules.ReduceLROnPlateau(optim.SGD([p]), "least"), 'mode is "min" or "max"'),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make(leaf(1.0))


def test_a_wrong_gradient_changes_nothing() -> None:
    p, q = leaf(1.0), leaf(1.0, 2.0)
    sgd = optim.SGD([p, q], lr=1.0)
    give(p, 1.0)
    for wrong, error in (
        (Tensor([1.0]), ShapeError),
        (Tensor([1.0, 1.0], dtype="float64"), DTypeError),
        (np.ones(2), GradientError),
    ):
        with pytest.raises(error):  # noqa: PT012 - of an array the assignment itself
            q.grad = wrong  # type: ignore[assignment]
            sgd.step()
        assert p.tolist() == [1.0]


def test_groups_keep_their_options() -> None:
    p, q = leaf(1.0), leaf(1.0)
    sgd = optim.SGD([{"params": [p], "lr": 1.0}], lr=0.1)
    sgd.add_param_group({"params": q})
    for x in (p, q):
        give(x, 1.0)
    sgd.step()
    assert p.item() == 0.0
    assert q.item() == pytest.approx(0.9)
    assert "group 1: 1 parameters" in repr(sgd)
    with pytest.raises(OptionError, match="given twice"):
        sgd.add_param_group({"params": [q]})
    assert len(sgd.param_groups) == 2


def test_an_option_that_comes_later() -> None:
    """Momentum set between two steps starts its sums then."""
    p = leaf(0.0)
    sgd = optim.SGD([p], lr=1.0)
    give(p, 1.0)
    sgd.step()
    sgd.param_groups[0]["momentum"] = 0.5
    sgd.step()
    sgd.step()
    assert p.item() == -1.0 - 1.0 - 1.5


def test_a_schedule_resumes() -> None:
    options: list[tuple[Any, dict[str, Any]]] = [
        (schedules.CosineAnnealingLR, {"T_max": 7}),
        (schedules.StepLR, {"step_size": 2}),
        (schedules.OneCycleLR, {"max_lr": 1.0, "total_steps": 20}),
    ]
    for kind, kwargs in options:
        a = optim.SGD([leaf(1.0)], lr=0.5, momentum=0.9)
        plan = kind(a, **kwargs)
        for _ in range(4):
            plan.step()
        b = optim.SGD([leaf(1.0)], lr=0.5, momentum=0.9)
        again = kind(b, **kwargs)
        b.load_state_dict(a.state_dict())
        again.load_state_dict(plan.state_dict())
        for _ in range(5):
            plan.step()
            again.step()
            assert plan.get_last_lr() == again.get_last_lr()
    with pytest.raises(OptionError, match=r"unknown state \['speed'\]"):
        plan.load_state_dict({"speed": 1})


def test_one_cycle_ends() -> None:
    plan = schedules.OneCycleLR(optim.SGD([leaf(1.0)], momentum=0.9), 1.0, 3)
    for _ in range(3):
        plan.step()
    with pytest.raises(OptionError, match="a cycle of 3 steps"):
        plan.step()


def test_clipping_and_vectors() -> None:
    p, q = leaf(1.0, 2.0), leaf(3.0)
    give(p, 3.0, 0.0)
    give(q, 4.0)
    assert clip_grad_norm_([p, q], 1.0).item() == 5.0
    assert p.grad is not None
    assert p.grad.tolist() == pytest.approx([0.6, 0.0])
    give(q, float("inf"))
    with pytest.raises(GradientError, match="norm of the gradients is inf"):
        clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    with pytest.raises(GradientError, match="get_total_norm: the norm of the gradients is inf"):
        get_total_norm([p.grad, q.grad], error_if_nonfinite=True)  # type: ignore[list-item]
    give(q, 1e30)
    clip_grad_norm_(q, 1.0)
    assert q.grad is not None
    assert q.grad.item() == 1.0
    clip_grads_with_norm_(q, 1.0, 4.0)
    assert q.grad.item() == pytest.approx(0.25)
    with pytest.raises(OptionError, match="total_norm is a number"):
        clip_grads_with_norm_(q, 1.0, None)  # type: ignore[arg-type]
    assert parameters_to_vector([p, q]).tolist() == [1.0, 2.0, 3.0]
    vector_to_parameters(Tensor([4.0, 5.0, 6.0]), [p, q])
    assert (p.tolist(), q.tolist()) == ([4.0, 5.0], [6.0])
    with pytest.raises(OptionError, match="does not fit 3 elements"):
        vector_to_parameters(Tensor([4.0]), [p, q])
