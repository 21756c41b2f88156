"""Hooks of the gradients of modules beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lucid

X = np.random.default_rng(0).standard_normal((2, 3))
W = np.random.default_rng(1).standard_normal((4, 3))


def shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(shown, value))
    return None if value is None else np.round(np.asarray(value.detach().numpy()), 10).tolist()


def linear(m: Any) -> Any:
    layer = m.nn.Linear(3, 4)
    layer.to(m.float64)
    layer.load_state_dict({"weight": m.tensor(W), "bias": m.tensor(W[:, 0])})
    return layer


def several(m: Any) -> Any:
    class Several(m.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any, b: Any, text: str, c: Any = None) -> Any:
            return a * b, a.exp() * c.sum(), 3, b * 2

    return Several()


def looking(m: Any, x: Any, seen: list[Any]) -> Any:
    layer = linear(m)
    layer.register_full_backward_pre_hook(lambda module, out: seen.append(("before", shown(out))))
    layer.register_full_backward_hook(lambda module, inp, out: seen.append(("after", shown(inp), shown(out))))
    (layer(x.detach()) ** 2).sum().backward()
    return layer(x).tanh().sum()


def changing(m: Any, x: Any, seen: list[Any]) -> Any:
    layer = linear(m)
    layer.register_full_backward_pre_hook(lambda module, out: (out[0] * 2,))
    layer.register_full_backward_hook(lambda module, inp, out: (inp[0] * 10,))
    layer.register_full_backward_hook(lambda module, inp, out: (inp[0] + out[0].sum(),))
    later = layer.register_full_backward_hook(lambda module, inp, out: seen.append("taken away after the call"))
    y = layer(x)
    later.remove()
    (y.sum() + (layer.weight**2).sum()).backward()
    seen.append(shown(layer.weight.grad))
    return layer(x).exp().sum()


def many(m: Any, x: Any, seen: list[Any]) -> Any:
    module = several(m)
    module.register_full_backward_hook(lambda module, inp, out: seen.append((shown(inp), shown(out))))
    c = m.tensor(X, requires_grad=True)
    y, z, three, w = module(x * 1, m.tensor(X), "text", c=c)
    assert three == 3 and not w.requires_grad
    first = (y * y).sum()
    first.backward()
    seen.append(shown(x.grad))
    y, z, _, _ = module(x * 2, c, "text", c=c)
    (z.sum() + y.sum()).backward()
    seen.append(shown(c.grad))
    return module(x, c * 2, "text", c=c)[1].sum()


def nested(m: Any, x: Any, seen: list[Any]) -> Any:
    inner, outer = linear(m), m.nn.Sequential()
    outer.add_module("a", inner)
    outer.add_module("b", m.nn.Tanh())
    for module in (outer, inner, outer.b):
        module.register_full_backward_hook(
            lambda module, inp, out: seen.append((type(module).__name__, shown(inp), shown(out)))
        )
    return outer(x).exp().sum()


@pytest.mark.parametrize("case", [looking, changing, many, nested])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_see_and_change_what_pytorchs_do(case: Callable[[Any, Any, list[Any]], Any]) -> None:
    found = []
    for m in (lucid, torch):
        seen: list[Any] = []
        x = m.tensor(X, requires_grad=True)
        case(m, x, seen).backward()
        found.append([*seen, shown(x.grad)])
    assert found[0] == found[1]


def test_second_gradients_go_through_them() -> None:
    found = []
    for m in (lucid, torch):
        layer = linear(m)
        layer.register_full_backward_hook(lambda module, inp, out: (inp[0] * inp[0],))
        x = m.tensor(X, requires_grad=True)
        (g,) = m.autograd.grad(layer(x).tanh().sum(), x, create_graph=True)
        (h,) = m.autograd.grad((g * g).sum(), x)
        found.append([g.detach().numpy(), h.numpy()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
