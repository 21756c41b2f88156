"""Hooks of optimisers: when they are called, with what, and that none is left out in silence."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.errors import OptionError
from lucid.tensor.tensor import Tensor


def given() -> tuple[Tensor, optim.Optimizer]:
    p = Tensor([1.0, 1.0], requires_grad=True)
    p.grad = Tensor([1.0, 2.0])
    return p, optim.SGD([p], lr=0.5)


def test_a_step_has_hooks_before_and_after_it() -> None:
    p, sgd = given()
    seen: list[Any] = []
    first = sgd.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", o is sgd, args[1:], p.tolist())))
    sgd.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", o is sgd, kwargs, p.tolist())))
    sgd.step()
    first.remove()
    sgd.step(closure=None)
    assert seen == [
        ("before", True, (), [1.0, 1.0]), ("after", True, {}, [0.5, 0.0]),
        ("after", True, {"closure": None}, [0.0, -1.0]),
    ]  # fmt: skip
    assert not copy.deepcopy(sgd).has_step_hooks


def test_a_hook_may_change_what_a_step_is_called_with() -> None:
    p, sgd = given()
    sgd.register_step_pre_hook(lambda o, args, kwargs: ((args[0], lambda: 3.0), {}))
    assert sgd.step() == 3.0
    assert p.tolist() == [0.5, 0.0]
    sgd.register_step_pre_hook(lambda o, args, kwargs: "more")
    with pytest.raises(OptionError, match=r"returns None or \(args, kwargs\)"):
        sgd.step()
    with pytest.raises(OptionError, match="a hook before a step is a function"):
        sgd.register_step_pre_hook(3)  # type: ignore[arg-type]


def test_a_step_that_calls_that_of_its_base_class_has_them_once() -> None:
    class Twice(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            return super().step(closure)

    p = Tensor([1.0], requires_grad=True)
    p.grad = Tensor([1.0])
    twice, seen = Twice([p], lr=0.5), list[int]()
    twice.register_step_post_hook(lambda o, args, kwargs: seen.append(1))
    twice.step()
    assert (p.item(), seen) == (0.0, [1])


@pytest.mark.parametrize("rule", [optim.Adam, optim.LBFGS])
def test_states_have_hooks(rule: Any) -> None:
    optimizer = rule([Tensor([1.0], requires_grad=True)], lr=0.5)
    seen: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("giving"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    optimizer.register_state_dict_post_hook(lambda o, state: seen.append(str("more" in state)), prepend=True)
    state = optimizer.state_dict()
    assert seen == ["giving", "False"]
    assert state["more"] == 1
    state["param_groups"][0]["lr"] = 9.0
    optimizer.register_load_state_dict_pre_hook(
        lambda o, state: {**state, "param_groups": [{**state["param_groups"][0], "lr": 2.0}]}
    )
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(str(o.param_groups[0]["lr"])))
    optimizer.load_state_dict(state)
    assert seen[2:] == ["2.0"]


def test_a_compiled_step_refuses_them() -> None:
    model = nn.Linear(2, 1)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    step = lucid.compile_step(model, nn.MSELoss(), sgd)
    batch = np.ones((3, 2), np.float32), np.ones((3, 1), np.float32)
    step(*batch)
    handle = sgd.register_step_post_hook(lambda o, args, kwargs: None)
    before = model.weight.tolist()
    with pytest.raises(OptionError, match="compile_step: the optimizer has step hooks"):
        step(*batch)
    assert model.weight.tolist() == before
    handle.remove()
    step(*batch)
    assert model.weight.tolist() != before
