"""Whatever is written to a parameter's memory, through whichever tensor, is what a compiled model reads next."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import GradientError
from lucid.nn import functional as F

Write = Callable[[Any], None]

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(3, 8, 3), (1, 3, 8, 8)),
    "1x1": (lambda: nn.Conv2d(4, 8, 1), (2, 4, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2, 2), (1, 3, 5, 5)),
    "large linear": (lambda: nn.Linear(300, 350), (64, 300)),
    "one row": (lambda: nn.Linear(300, 350), (1, 300)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (2, 3, 6, 6)),
    "norm folded in": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), (1, 3, 8, 8)),
}


def _ema(p: Any) -> None:
    shadow = p.detach().clone() + 1
    p.data.copy_(p.data * 0.5 + shadow * 0.5)


def _half(t: Any) -> Any:
    return t[: max(1, t.shape[0] // 2)]


def _rows(p: Any) -> None:
    for row in p.detach():
        row.copy_(row.numpy() * 2 + 1)


WRITES: dict[str, Write] = {
    "copy_": lambda p: p.copy_(p.numpy() * 2 + 1),
    "data.copy_": lambda p: p.data.copy_(p.numpy() * 2 + 1),
    "data set": lambda p: setattr(p, "data", p.numpy() * 2 + 1),
    "detach": lambda p: p.detach().copy_(p.numpy() * 2 + 1),
    "detach of detach": lambda p: p.detach().data.detach().copy_(p.numpy() * 2 + 1),
    "view of data": lambda p: p.data.view(-1).copy_(p.numpy().reshape(-1) * 2 + 1),
    "reshape": lambda p: p.reshape(-1, 1).copy_(p.numpy().reshape(-1, 1) * 2 + 1),
    "transpose": lambda p: p.detach().transpose(0, -1).copy_(p.numpy().swapaxes(0, -1) * 2 + 1),
    "slice": lambda p: _half(p.data).copy_(_half(p.numpy()) * 2 + 1),
    "slice of a view": lambda p: p.data.view(-1)[::2].copy_(p.numpy().reshape(-1)[::2] * 2 + 1),
    "element": lambda p: p.detach().reshape(-1)[0].copy_(7.0),
    "rows": _rows,
    "turned around": lambda p: p.data[::-1].copy_(p.numpy() * 2 + 1),
    "fill": lambda p: nn.init.constant_(p.data, 0.25),
    "init": lambda p: nn.init.normal_(p.detach()),
    "average": _ema,
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_is_read(name: str, write: str) -> None:
    lucid.manual_seed(0)
    make, shape = MODELS[name]
    model = make().eval()
    net = lucid.compile(model, exact=len(name + write) % 2 == 0)
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with lucid.no_grad():
        net(x)
        for p in (*model.parameters(), *(b for b in model.buffers() if b.dtype == "float32" and b.shape)):
            before = p.numpy().copy()
            WRITES[write](p)
            assert (p.numpy() != before).any()
        np.testing.assert_allclose(net(x).numpy(), model(lucid.tensor(x)).numpy(), rtol=1e-3, atol=1e-3)


def test_a_loaded_state_and_a_step_are_read() -> None:
    lucid.manual_seed(0)
    model, other = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
    net, x = lucid.compile(model), lucid.randn(2, 3, 8, 8)
    alias = model.weight.detach().reshape(8, 27)
    seen = lucid.compile(lambda t: t @ alias)
    for change in (lambda: model.load_state_dict(other.state_dict()), lambda: step(model, net, x)):
        net(x), seen(lucid.ones(2, 8))
        change()
        np.testing.assert_allclose(net(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            seen(lucid.ones(2, 8)).numpy()[0], model.weight.numpy().reshape(8, 27).sum(0), rtol=1e-4, atol=1e-5
        )


def step(model: nn.Module, net: Any, x: Any) -> None:
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.1)
    (net(x) ** 2).sum().backward()
    optimizer.step()


def test_a_captured_view_changes_with_its_parameter() -> None:
    w = lucid.randn(6, 4)
    part = w[1:5]
    net = lucid.compile(lambda t: t @ part.detach())
    for _ in range(3):
        np.testing.assert_allclose(net(lucid.ones(1, 4)).numpy(), [part.numpy().sum(0)], rtol=1e-5)
        w.copy_(w.numpy() + 1)


def test_versions_are_of_memory() -> None:
    w = lucid.randn(4, 4, requires_grad=True)
    view, copy, computed = w.detach()[1:], w.clone(), w.detach() * 1
    versions = [t.version for t in (w, view, copy, computed)]
    view.copy_(np.zeros((3, 4)))
    assert [t.version != v for t, v in zip((w, view, copy, computed), versions, strict=True)] == [
        True, True, False, False,
    ]  # fmt: skip
    converted = nn.Linear(2, 2)
    alias = converted.weight.detach()
    converted.double()
    before = converted.weight.version
    alias.copy_(np.ones((2, 2)))
    assert converted.weight.version == before, "it has memory of its own since"


@pytest.mark.parametrize("alias", [lambda t: t.detach(), lambda t: t.data, lambda t: t.detach()[0]])
def test_backward_notices_what_was_written_through_an_alias(alias: Callable[[Any], Any]) -> None:
    w = lucid.randn(3, 3, requires_grad=True)
    y = (w * w).sum()
    alias(w).copy_(np.zeros(alias(w).shape))
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_what_shares_no_memory_does_not_disturb_a_gradient() -> None:
    w = lucid.randn(3, 3, requires_grad=True)
    y = (w * w).sum()
    w.clone().detach().copy_(np.zeros((3, 3)))
    (w.detach() + 0).copy_(np.zeros((3, 3)))
    y.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * w.numpy(), rtol=1e-6)


def _linear(h: Any) -> Any:
    return F.linear(h, lucid.ones(3, 2, requires_grad=True))


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (_linear, r"the gradient of Linear needs a tensor of type float32\[1, 2\] that Mul made"),
        (lambda h: h.exp() + 1, None),
        (lambda h: (h * h).sin(), r"the gradient of Mul needs a tensor of type float32\[1, 2\] that Mul made"),
        (lucid.compile(lambda h: h.exp()), r"the gradient of a compiled model needs a tensor .* that Mul made"),
    ],
)
def test_backward_says_what_needs_the_value_and_where_it_was_changed(op: Callable[[Any], Any], words: str) -> None:
    h = lucid.ones(1, 2, requires_grad=True) * 2
    y = op(h)
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    h.add_(1)
    if words is None:  # the gradient needs what exp has made, which is as it was
        y.sum().backward()
        return
    with pytest.raises(GradientError, match=words) as error:
        y.mean().backward()
    assert f"test_versions.py:{line}); compute the result again" in str(error.value)


def test_backward_says_where_what_a_gradient_needs_was_changed_under_another_name() -> None:
    h = lucid.ones(1, 2, requires_grad=True) * 2
    said = r"the gradient of Exp needs .* that Exp made, .* changed in place since \(.*test_versions\.py:\d+\)"
    y = h.exp()
    y.data[0] = 3.0
    with pytest.raises(GradientError, match=said):
        y.sum().backward()
    z = h.exp()
    z.data[0] = 3.0
    with pytest.raises(GradientError, match=said):
        z.backward(lucid.ones(1, 2))


def test_what_no_gradient_needs_may_change_under_another_name() -> None:
    x = lucid.ones(2, requires_grad=True)
    y = x * 3
    y.data[0] = 5.0
    assert y.tolist() == [5.0, 3.0]
    (y * y).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [30.0, 18.0]


# ---------------------------------------------------------------- what a compiled call's backward run reads


def _frozen(training: bool) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4).eval(), nn.Tanh(), nn.Linear(4, 2))
    model[0].train(training)
    model.training = training
    return model.requires_grad_(False)


@pytest.mark.parametrize("wrap", [lambda m: m, lucid.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[3].weight.mul_(2),
        lambda m: m[1].running_var.mul_(2),
        lambda m: setattr(m[0].weight, "data", lucid.ones(4, 3)),
    ],
    ids=["weight", "buffer", "data"],
)
def test_backward_refuses_frozen_weights_and_buffers_that_changed_meanwhile(
    wrap: Any, training: bool, change: Any
) -> None:
    model = _frozen(training)
    net, x = wrap(model), Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = net(x)
    change(model)
    with pytest.raises(GradientError, match="changed in place since"):
        y.sum().backward()
    net(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("wrap", [lambda m: m, lucid.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_what_backward_does_not_read_may_change(wrap: Any, training: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train(training)
    net, x = wrap(model), Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    want = (3 * x.grad.numpy()).tolist()
    x.grad = None
    y = net(x)
    y.mul_(3)  # a result that the gradient does not need
    with lucid.no_grad():
        model[2].bias.zero_()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-6)


def test_two_runs_of_batch_normalisation_before_one_backward() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    net, x = lucid.compile(model), np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    (net(x) ** 2 + net(x + 1)).sum().backward()
    compiled = [p.grad.numpy().copy() for p in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()
    (model(Tensor(x)) ** 2 + model(Tensor(x + 1))).sum().backward()
    for have, p in zip(compiled, model.parameters(), strict=True):
        np.testing.assert_allclose(have, p.grad.numpy(), rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]
