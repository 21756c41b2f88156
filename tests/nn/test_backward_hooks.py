"""Hooks of the gradients of modules: where they are refused, and what they may not return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import GradientError, OptionError, TraceError

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def leaf() -> lucid.Tensor:
    return lucid.tensor(X, requires_grad=True)


def test_a_module_with_hooks_is_not_traced() -> None:
    layer = nn.Linear(3, 2)
    net = lucid.compile(layer)
    net(X)
    for register in (layer.register_full_backward_hook, layer.register_full_backward_pre_hook):
        handle = register(lambda *args: None)
        with pytest.raises(TraceError, match="Linear has hooks of its gradients, and is called while a model is"):
            net(X)
        handle.remove()
        np.testing.assert_array_equal(net(X).numpy(), layer(lucid.tensor(X)).numpy())


def test_without_gradients_there_is_nothing_to_call() -> None:
    layer = nn.Linear(3, 2)
    layer.register_full_backward_hook(lambda *args: pytest.fail("it is called"))
    with lucid.no_grad():
        assert not layer(leaf()).requires_grad
    layer.requires_grad_(False)
    assert not layer(lucid.tensor(X)).requires_grad


def test_arguments_are_not_changed_in_place() -> None:
    class Doubling(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mul_(2)

    layer = Doubling()
    layer.register_full_backward_hook(lambda *args: None)
    with pytest.raises(GradientError, match="Doubling has hooks of its gradients, and changes an argument in place"):
        layer(leaf() * 1)


def test_results_are_tensors_or_tuples_of_them() -> None:
    class Named(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"y": x}

    named = Named()
    handle = named.register_full_backward_hook(lambda *args: None)
    with pytest.raises(OptionError, match="a tensor or a tuple of tensors"):
        named(leaf())
    handle.remove()
    assert "y" in named(leaf())


@pytest.mark.parametrize("answer", [(1, 2), (lucid.tensor(X), lucid.tensor(X)), lucid.tensor(X[:1]), 1.0])
def test_hooks_return_gradients_of_the_types_they_are_given(answer: Any) -> None:
    layer = nn.Linear(3, 2)
    handle = layer.register_full_backward_hook(lambda *args: answer)
    with pytest.raises(GradientError, match="register_full_backward_hook: the hook of Linear returned"):
        layer(leaf()).sum().backward()
    handle.remove()
    layer.register_full_backward_pre_hook(lambda *args: answer)
    with pytest.raises(GradientError, match="register_full_backward_pre_hook: the hook of Linear returned"):
        layer(leaf()).sum().backward()
