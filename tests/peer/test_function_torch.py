"""Functions with gradients of their own beside PyTorch's: gradients, second gradients, what ``backward`` is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lucid

X = np.random.default_rng(0).standard_normal((3, 4))
W = np.linspace(0.5, 2, 4)


def scaled(m: Any, seen: list[Any]) -> Any:
    class Scaled(m.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, k: float) -> Any:
            y = (x * w).tanh() * k
            ctx.save_for_backward(x, y, w, None)
            ctx.k = k
            seen.append(ctx.needs_input_grad)
            return y, x.sum()

        @staticmethod
        def backward(ctx: Any, dy: Any, ds: Any) -> Any:
            x, y, w, nothing = ctx.saved_tensors
            assert nothing is None
            slope = dy * ctx.k * (1 - (y / ctx.k) ** 2)
            return slope * w + ds, (slope * x).sum(0), None

    def f(x: Any, w: Any) -> Any:
        y, s = Scaled.apply(x * 2, w, 3.0)
        return (y * y).sum() + s * s

    return f


def with_context(m: Any, seen: list[Any]) -> Any:
    """The gradient of the second argument is broadcast, and one result has none."""

    class Rounded(m.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(x: Any, w: Any) -> Any:
            return x.round(), (x > 0).to(x.dtype), x.argmax(), "text"

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[1], output[1])
            ctx.mark_non_differentiable(output[1], output[2])

        @staticmethod
        def backward(ctx: Any, dy: Any, dm: Any, di: Any, dt: Any) -> Any:
            w, mask = ctx.saved_tensors
            seen.append([tuple(dm.shape), dt])
            return dy * mask * w, (dy * mask)

    def f(x: Any, w: Any) -> Any:
        y, mask, index, text = Rounded.apply(x * 3, w)
        assert text == "text"
        return (y * w * mask).sum() + 0 * index

    return f


def partly(m: Any, seen: list[Any]) -> Any:
    class Partly(m.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, w * 3

        @staticmethod
        def backward(ctx: Any, dx: Any, dw: Any) -> Any:
            return (None if dx is None else dx * 5), (None if dw is None else dw * 7)

    def f(x: Any, w: Any) -> Any:
        y, v = Partly.apply(x, w)
        z, _ = Partly.apply(x, w)
        return (y * y).sum() + v.sum() + (z * z * z).sum()

    return f


def identity(m: Any, seen: list[Any]) -> Any:
    """Reversed gradients, of what is an argument itself and a view of one."""

    class Reversed(m.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return -dy

    def f(x: Any, w: Any) -> Any:
        return (Reversed.apply(x) * x).sum() + Reversed.apply(Reversed.apply(w * w)).sum()

    return f


FUNCTIONS = [scaled, with_context, partly, identity]


def found(m: Any, make: Any, compiled: bool = False) -> list[Any]:
    seen: list[Any] = []
    f = make(m, seen)
    if compiled:
        f = lucid.compile(f)
    x, w = (m.tensor(a, requires_grad=True) for a in (X, W))
    loss = f(x, w)
    loss.backward()
    return [loss.detach().numpy(), x.grad.numpy(), w.grad.numpy()] + ([] if compiled else seen)


def second(m: Any, make: Any) -> list[Any]:
    f = make(m, [])

    def g(x: Any, w: Any) -> Any:
        dx, dw = m.autograd.grad(f(x, w), (x, w), create_graph=True)
        ddx, ddw = m.autograd.grad((dx * dx * w).sum() + (dw * dw).sum(), (x, w))
        return dx.detach(), dw.detach(), ddx, ddw

    x, w = (m.tensor(a, requires_grad=True) for a in (X, W))
    results = [one.numpy() for one in g(x, w)]
    if m is lucid:
        for one, other in zip(results, lucid.compile(g)(X, W), strict=True):
            np.testing.assert_allclose(other.numpy(), one, rtol=1e-12, atol=1e-12)
    return results


def alike(ours: list[Any], theirs: list[Any]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(other, np.ndarray):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
        else:
            assert one == other


@pytest.mark.parametrize("make", FUNCTIONS)
def test_gradients_are_pytorchs(make: Any) -> None:
    alike(found(lucid, make), found(torch, make))


@pytest.mark.parametrize("make", FUNCTIONS)
def test_compiled_ones_too(make: Any) -> None:
    alike(found(lucid, make, compiled=True), found(torch, make)[:3])


@pytest.mark.parametrize("make", [scaled, with_context])
def test_second_gradients_are_pytorchs(make: Any) -> None:
    for one, other in zip(second(lucid, make), second(torch, make), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def trained(m: Any, compiled: bool) -> list[Any]:
    make = scaled(m, [])
    w = m.nn.Parameter(m.tensor(W))
    optimizer = m.optim.SGD([w], lr=1e-3)
    if compiled:

        class Model(lucid.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.w = w

            def forward(self, x: Any) -> Any:
                return make(x, self.w)

        step = lucid.compile_step(Model(), lambda y: y, optimizer)
        return [float(step(X)) for _ in range(4)] + [w.detach().numpy()]
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = make(m.tensor(X), w)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return [*losses, w.detach().numpy()]


def test_a_compiled_step_trains_as_pytorch_does() -> None:
    for one, other in zip(trained(lucid, True), trained(torch, False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
