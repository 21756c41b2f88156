"""Hooks of gradients: with compiled models, and where they are refused."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import GradientError, LucidError, OptionError, TraceError

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def test_hooks_of_what_goes_into_a_compiled_model_and_comes_out() -> None:
    lucid.manual_seed(0)
    layer = nn.Linear(3, 2)
    net, found = lucid.compile(layer), []
    for call in (layer, net):
        seen: list[Any] = []
        x = lucid.tensor(X, requires_grad=True)
        h = x * 2
        h.register_hook(lambda g, seen=seen: seen.append(g.numpy().copy()))
        handle = layer.weight.register_hook(lambda g: g * 10)
        y = call(h)
        y.register_hook(lambda g: g * 3)
        layer.zero_grad()
        (y * y).sum().backward()
        handle.remove()
        assert x.grad is not None and layer.weight.grad is not None and layer.bias.grad is not None
        found.append([*seen, x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_compiled_step_refuses_parameters_with_hooks() -> None:
    model = nn.Linear(3, 2)
    step = lucid.compile_step(model, nn.MSELoss(), lucid.optim.SGD(model.parameters(), lr=0.1))
    y = np.zeros((2, 2), np.float32)
    step(X, y)
    step(X, y)
    for register in (model.weight.register_hook, model.bias.register_post_accumulate_grad_hook):
        handle = register(lambda g: None)
        with pytest.raises(OptionError, match="hooks of its gradient"):
            step(X, y)
        handle.remove()
        step(X, y)


def test_where_hooks_are_refused() -> None:
    leaf = lucid.tensor(X, requires_grad=True)
    with pytest.raises(GradientError, match="requires no gradient"):
        lucid.tensor(X).register_hook(print)
    with pytest.raises(GradientError, match="requires no gradient"):
        lucid.tensor(X).retain_grad()
    with pytest.raises(GradientError, match="takes a leaf"):
        (leaf * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(OptionError, match="function"):
        leaf.register_hook(3)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="register_hook is called while"):
        lucid.compile(lambda x: (x * 2).register_hook(print))(X)
    with pytest.raises(TraceError, match="retain_grad is called while"):
        lucid.compile(lambda x: x.retain_grad())(X)
    leaf.register_hook(lambda g: g * 2)
    with pytest.raises(TraceError, match="has hooks"):
        lucid.compile(lambda x: lucid.autograd.grad((x * leaf).sum(), leaf)[0])(X)


@pytest.mark.parametrize("wrong", [lambda g: 3.0, lambda g: g[0], lambda g: g.double(), lambda g: g.numpy()])
def test_what_a_hook_must_return(wrong: Any) -> None:
    x = lucid.tensor(X, requires_grad=True)
    x.register_hook(wrong)
    with pytest.raises(LucidError, match="register_hook: the hook returned"):
        (x * x).sum().backward()
    assert x.grad is None


def test_a_tensor_that_keeps_its_gradient_is_freed() -> None:
    x = lucid.tensor(X, requires_grad=True)
    y = x * 2
    y.retain_grad()
    gone = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert gone() is None
    finally:
        gc.enable()
