"""Hooks of gradients beside PyTorch's: what they are given, what they change, and their second gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lucid

X = np.random.default_rng(0).standard_normal((3, 4))


def shown(value: Any) -> Any:
    return None if value is None else np.asarray(value.detach().numpy()).tolist()


def looking(m: Any, x: Any, seen: list[Any]) -> Any:
    y = (x * 2).tanh()
    y.register_hook(lambda g: seen.append(("y", shown(g))))
    x.register_hook(lambda g: seen.append(("x", shown(g))))
    return (y * y + y.exp()).sum()


def changing(m: Any, x: Any, seen: list[Any]) -> Any:
    y = x * 3
    y.register_hook(lambda g: g * 2 + 1)
    handle = y.register_hook(lambda g: g * 100)
    y.register_hook(lambda g: seen.append(shown(g)))
    handle.remove()
    x.register_hook(lambda g: g.clamp(-1.0, 5.0))
    return (y * y).sum()


def keeping(m: Any, x: Any, seen: list[Any]) -> Any:
    y = x.exp()
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    loss = (y * y).sum()
    loss.retain_grad()
    x.retain_grad()
    seen.append((y.retains_grad, x.retains_grad, loss.retains_grad, (y * 1).retains_grad))
    x.register_post_accumulate_grad_hook(lambda p: seen.append((shown(p.grad), shown(y.grad), shown(loss.grad))))
    return loss


def several(m: Any, x: Any, seen: list[Any]) -> Any:
    a, b = x.unbind(0)[:2]
    a.register_hook(lambda g: g * 3)
    b.register_hook(lambda g: seen.append(shown(g)))
    c = (a * b).sum()
    c.register_hook(lambda g: g * 5)
    return c + (a * a).sum()


def in_place(m: Any, x: Any, seen: list[Any]) -> Any:
    y = x * 2
    y.register_hook(lambda g: seen.append(("before", shown(g))))
    y.mul_(3.0)
    y.register_hook(lambda g: seen.append(("after", shown(g))))
    return (y * y).sum()


PROGRAMS = [looking, changing, keeping, several, in_place]


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph")
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("create", [False, True])
def test_what_hooks_see_and_change(program: Any, create: bool) -> None:
    found = []
    for m, x in ((lucid, lucid.tensor(X, requires_grad=True)), (torch, torch.tensor(X, requires_grad=True))):
        seen: list[Any] = []
        loss = program(m, x, seen)
        for _ in range(2):
            loss.backward(retain_graph=True, create_graph=create)
        found.append((seen, shown(x.grad)))
        x.grad = None
    (ours, gradient), (theirs, wanted) = found
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        compare(one, other)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-10)


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple):
        for one, other in zip(ours, theirs, strict=True):
            compare(one, other)
    elif isinstance(theirs, str | bool) or theirs is None:
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("program", [looking, changing, several])
def test_second_gradients_through_hooks(program: Any) -> None:
    found = []
    for m, x in ((lucid, lucid.tensor(X, requires_grad=True)), (torch, torch.tensor(X, requires_grad=True))):
        loss = program(m, x, [])
        (g,) = m.autograd.grad(loss, x, create_graph=True)
        (h,) = m.autograd.grad((g * g).sum(), x)
        found.append((shown(g), shown(h)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-10)
