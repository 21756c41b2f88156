"""Which results of a compiled call require a gradient, and who gets one: as the eager model says, None included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.errors import GradientError

both = pytest.mark.parametrize("wrap", [lambda m: m, lucid.compile], ids=["eager", "compiled"])
modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


class Heads(nn.Module):
    """Two heads on a shared trunk, and a layer that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b, self.idle = (nn.Linear(3, 3) for _ in range(4))

    def forward(self, x: Tensor) -> Any:
        x = self.trunk(x)
        return self.a(x), self.b(x.detach()), x.argmax(1)


def gradients(model: nn.Module) -> dict[str, Any]:
    return {n: None if p.grad is None else p.grad.tolist() for n, p in model.named_parameters()}


def made(training: bool = True) -> Heads:
    lucid.manual_seed(0)
    return Heads().train(training)


@modes
@pytest.mark.parametrize(
    "use",
    [
        lambda a, b, i: a.sum().backward(),
        lambda a, b, i: b.sum().backward(),
        lambda a, b, i: (a.sum() + b.sum()).backward(),
        lambda a, b, i: (a.sum().backward(), b.sum().backward()),
        lambda a, b, i: (b.sum().backward(), a.sum().backward(), b.mean().backward()),
        lambda a, b, i: (a * a).sum().backward(),
    ],
)
def test_parameters_get_the_gradients_of_the_eager_model(use: Callable[..., Any], training: bool) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    found = []
    for wrap in (lambda m: m, lucid.compile):
        model = made(training)
        net = wrap(model)
        for _ in range(2):  # gradients add up
            use(*net(x))
        found.append(gradients(model))
    eager, compiled = found
    assert {n for n, g in eager.items() if g is None} == {n for n, g in compiled.items() if g is None}
    for name, gradient in eager.items():
        if gradient is not None:
            np.testing.assert_allclose(compiled[name], gradient, rtol=1e-4, atol=1e-6)


@modes
@both
def test_an_output_nobody_uses_leaves_no_gradient(wrap: Any, training: bool) -> None:
    model = made(training)
    wrap(model)(np.ones((2, 3), np.float32))[0].sum().backward()
    assert [n for n, g in gradients(model).items() if g is None] == ["b.weight", "b.bias", "idle.weight", "idle.bias"]


@pytest.mark.parametrize("name", [n for n in dir(optim) if n[0].isupper() and n != "Optimizer"])
@modes
def test_weight_decay_moves_what_it_moves_eagerly(name: str, training: bool) -> None:
    kind = getattr(optim, name)
    if "weight_decay" not in kind.__init__.__annotations__:
        pytest.skip(f"{name} has no weight decay")
    after = []
    for wrap in (lambda m: m, lucid.compile):
        model = made(training)
        trained = [p for p in model.parameters() if name != "Muon" or p.type.rank == 2]  # which is for matrices
        step = kind(trained, lr=0.1, weight_decay=0.1)
        for _ in range(3):
            step.zero_grad()
            wrap(model)(np.ones((2, 3), np.float32))[0].sum().backward()
            step.step()
        after.append(model.state_dict())
    untouched = made().state_dict()
    for key, eager in after[0].items():
        np.testing.assert_allclose(after[1][key], eager, rtol=1e-4, atol=1e-5, err_msg=key)
        if key[0] in "bi":
            assert np.array_equal(after[1][key], untouched[key]), key


def test_an_unused_output_does_not_spoil_the_gradient() -> None:
    def f(x: Tensor) -> Any:
        return x * 2, x.log(), 1 / x

    x = lucid.zeros(3).requires_grad_()
    lucid.compile(f)(x)[0].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2, 2]  # and not 2 + 0 * inf


# ---------------------------------------------------------------- what requires a gradient


class Various(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(lucid.ones(3))
        self.frozen = nn.Parameter(lucid.ones(3), requires_grad=False)
        self.register_buffer("table", lucid.ones(3))

    def forward(self, x: Tensor, y: Tensor) -> Any:
        with lucid.no_grad():
            quiet, same = self.weight * 3, x
            copied = x.clone()
        return {
            "weight": self.weight, "frozen": self.frozen, "table": self.table, "product": x * self.weight,
            "of y": y * 2, "of frozen": y * self.frozen, "quiet": quiet, "same": same, "copied": copied,
            "on quiet": quiet * y, "integers": x.argmax(0), "compared": x > 0, "rounded": x.round(), "sign": y.sign(),
            "zeros": lucid.zeros(3), "detached": x.detach(), "data": self.weight.data * 2, "x": x, "cast": y.double(),
            "chosen": lucid.where(x > 0, y, 0.0), "max": x.max(0).values, "at": x.max(0).indices,
            "int and back": y.long().float(),
        }  # fmt: skip


@modes
@pytest.mark.parametrize("x_grad", [False, True])
@pytest.mark.parametrize("y_grad", [False, True])
def test_each_result_requires_a_gradient_as_the_eager_one(x_grad: bool, y_grad: bool, training: bool) -> None:
    model = Various().train(training)
    net = lucid.compile(model)
    x, y = (Tensor(np.array([1.0, -2, 3], np.float32), requires_grad=g) for g in (x_grad, y_grad))
    eager, compiled = model(x, y), net(x, y)
    assert {k: v.requires_grad for k, v in compiled.items()} == {k: v.requires_grad for k, v in eager.items()}
    for key, result in eager.items():
        pairs = []
        for outputs in (eager, compiled):
            x.grad = y.grad = model.weight.grad = None
            if result.requires_grad:
                outputs[key].sum().backward()
            else:
                with pytest.raises(GradientError):
                    outputs[key].sum().backward()
            pairs.append([None if t.grad is None else t.grad.tolist() for t in (x, y, model.weight)])
        assert pairs[0] == pairs[1], key
    with lucid.no_grad():
        quiet = {k: v.requires_grad for k, v in net(x, y).items()}
        assert quiet == {k: v.requires_grad for k, v in model(x, y).items()} | {"weight": False}
        handed = {"same", "x"}  # what a model hands through is not made here
        assert not any(v for k, v in quiet.items() if k not in handed)


def test_a_first_call_without_gradients_does_not_switch_them_off() -> None:
    net = lucid.compile(nn.Linear(3, 1))
    with lucid.no_grad():
        assert not net(lucid.ones(2, 3)).requires_grad
    net(lucid.ones(2, 3)).sum().backward()
    assert net.model.weight.grad.tolist() == [[2, 2, 2]]


def test_one_value_returned_twice_adds_its_cotangents() -> None:
    def f(x: Tensor) -> Any:
        y, z = x * 2, x * 3
        return y, z, y

    for picks in ((0,), (2,), (0, 2), (1, 2), (2, 1, 0)):
        found = []
        for g in (f, lucid.compile(f)):
            x = lucid.ones(2).requires_grad_()
            outputs = g(x)
            sum(outputs[i] * (i + 1) for i in picks).sum().backward()
            found.append(x.grad.tolist())
        assert found[0] == found[1], picks


@modes
def test_dropout_keeps_what_it_drew_for_whichever_result_is_used(training: bool) -> None:
    class Drop(nn.Module):
        def forward(self, x: Tensor) -> Any:
            y = nn.functional.dropout(x, 0.5)
            return y, y * x, x * 2

    net = lucid.compile(Drop().train(training))
    x = lucid.ones(50).requires_grad_()
    y, _, _ = net(x)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist() and 0 in y.tolist()


def test_backward_may_go_through_one_result_twice() -> None:
    x = lucid.ones(3).requires_grad_()
    y, z = lucid.compile(lambda t: (t * t, t * 5))(x)
    for total in (2, 4):
        y.sum().backward()
        assert x.grad.tolist() == [total] * 3
    z.sum().backward()
    assert x.grad.tolist() == [9] * 3


def test_the_plans_of_used_results_are_bounded() -> None:
    net = lucid.compile(lambda x: tuple(x * i for i in range(6)))
    x = lucid.ones(2).requires_grad_()
    outputs = net(x)
    for mask in range(1, 64):
        sum(outputs[i] for i in range(6) if mask >> i & 1).sum().backward()
    assert len(net._current().halves._backwards) <= 16
