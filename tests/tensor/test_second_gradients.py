"""Gradients of gradients by PyTorch's names: of tensors that are there, and within a model that is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.autograd import grad
from lucid.errors import GradientError, ShapeError, TraceError

X = np.array([0.5, 1.5, -2.0])


def leaf(x: Any = X) -> lucid.Tensor:
    return lucid.tensor(x, requires_grad=True)


def derivatives(x: lucid.Tensor) -> list[Any]:
    """Of x⁴: the first, a function of it, and the next one."""
    first = grad((x**4).sum(), x, create_graph=True)[0]
    assert first is not None
    second = grad((first * x).sum(), x, create_graph=True)[0]
    assert second is not None
    return [first, second, grad(second.sum(), x)[0]]


def test_each_derivative_has_the_next_eagerly_and_traced() -> None:
    expected = [4 * X**3, 16 * X**3, 48 * X**2]
    for found in (derivatives(leaf()), lucid.compile(derivatives)(lucid.tensor(X))):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12)


def test_backward_leaves_gradients_that_have_gradients() -> None:
    x = leaf()
    (x**3).sum().backward(create_graph=True)
    assert x.grad is not None and x.grad.requires_grad
    (x.grad**2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * X**2 + 36 * X**3, rtol=1e-12)
    w = leaf()
    (w * 2).sum().backward()
    (w * w).sum().backward(create_graph=True)
    assert w.grad is not None
    np.testing.assert_array_equal(w.grad.numpy(), 2 + 2 * X)
    np.testing.assert_array_equal(grad(w.grad.sum(), w)[0].numpy(), [2.0] * 3)  # type: ignore[union-attr]


def test_weights_have_gradients_too() -> None:
    x, v = leaf(), leaf([1.0, 2.0, 3.0])
    (g,) = grad(x**2, x, v, create_graph=True)
    assert g is not None
    np.testing.assert_array_equal(grad(g.sum(), v)[0].numpy(), 2 * X)  # type: ignore[union-attr]
    traced = lucid.compile(lambda x, v: grad(grad(x**2, x, v, create_graph=True)[0].sum(), v)[0])  # type: ignore[union-attr]
    np.testing.assert_array_equal(traced(lucid.tensor(X), v).numpy(), 2 * X)


def test_a_gradient_is_nobody_elses() -> None:
    x, w = leaf(), leaf([1.0, 2.0, 3.0])
    (g,) = grad((x * w).sum(), x, create_graph=True)
    assert g is not None and not np.shares_memory(g.numpy(), w.numpy())
    (seen,) = grad(x, x, w, create_graph=True)
    assert seen is not None and not np.shares_memory(seen.numpy(), w.numpy())


def test_without_create_graph_there_is_no_second_gradient() -> None:
    def product(x: lucid.Tensor) -> Any:
        (g,) = grad((x**3).sum(), x)
        assert g is not None
        return grad((g * x).sum(), x)[0]

    for found in (product(leaf()), lucid.compile(product)(leaf())):
        np.testing.assert_allclose(found.numpy(), 3 * X**2, rtol=1e-12)


def test_values_that_changed_in_place_are_missed() -> None:
    x = leaf()
    y = x * 2
    z = (y**3).sum()
    y.mul_(2)
    with pytest.raises(GradientError, match="has been changed in place"):
        grad(z, x, create_graph=True)


def penalty(model: nn.Module, x: lucid.Tensor) -> lucid.Tensor:
    """What keeps gradients at the input near 1 (Gulrajani et al. 2017)."""
    (g,) = grad(model(x).sum(), x, create_graph=True)
    assert g is not None
    result: lucid.Tensor = ((g.flatten(1).square().sum(1) - 1) ** 2).mean()
    return result


class Penalty(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return penalty(self.model, x.detach().requires_grad_())


def critic() -> nn.Module:
    lucid.manual_seed(3)
    layers = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.MaxPool2d(2, stride=2), nn.Flatten(), nn.Linear(12, 1, bias=False)
    )
    return layers.double()


def test_a_step_trains_on_gradients_as_the_eager_loop_does() -> None:
    x = np.random.default_rng(1).normal(size=(4, 1, 6, 6))
    ours, theirs = critic(), critic()
    step = lucid.compile_step(Penalty(ours), None, optim.SGD(ours.parameters(), lr=0.05))
    slow = optim.SGD(theirs.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        slow.zero_grad()
        loss = penalty(theirs, leaf(x))
        loss.backward()
        slow.step()
        losses.append(loss.item())
    np.testing.assert_allclose([float(step(x)) for _ in range(3)], losses, rtol=1e-11)
    assert losses[0] > losses[-1]


def test_what_a_compiled_model_gives_has_no_second_gradient() -> None:
    net, x = lucid.compile(critic()), leaf(np.ones((2, 1, 6, 6)))
    with pytest.raises(GradientError, match="compiled model gives has no second gradient"):
        penalty(net, x)


def test_copies_in_a_trace_are_values_of_their_own() -> None:
    def of_a_copy(x: lucid.Tensor) -> Any:
        c = x.clone()
        return grad((c * x).sum(), c)[0]

    for found in (of_a_copy(leaf()), lucid.compile(of_a_copy)(leaf())):
        np.testing.assert_array_equal(found.numpy(), X)


def test_a_function_may_know_its_argument_otherwise() -> None:
    def outer(x: lucid.Tensor) -> Any:
        return lucid.grad(lambda v: (v * x).sum())(x)

    for found in (outer(leaf()), lucid.compile(outer)(leaf())):
        np.testing.assert_array_equal(found.numpy(), X)
    both = lucid.grad(lambda a, b: (a * b * b).sum(), argnums=(0, 1, -2))
    for a, b in zip(lucid.compile(lambda x: both(x, x))(lucid.tensor(X)), (X * X, 2 * X * X, X * X), strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_within_a_loop() -> None:
    def descent(x: lucid.Tensor) -> Any:
        def turn(carry: lucid.Tensor, _: Any) -> Any:
            (g,) = grad((carry**2).sum(), carry)
            assert g is not None
            return carry - 0.1 * g, g.sum()

        return lucid.scan(turn, x, lucid.zeros(3))[0]

    np.testing.assert_allclose(lucid.compile(descent)(lucid.tensor(X)).numpy(), X * 0.8**3, rtol=1e-12)

    def captured(x: lucid.Tensor) -> Any:
        y = x * x
        return lucid.scan(lambda c, _: (c + grad((y * c).sum(), x)[0], c.sum()), x, lucid.zeros(3))[0]

    with pytest.raises(TraceError, match="comes from outside the branch or loop"):
        lucid.compile(captured)(lucid.tensor(X))


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (lambda x: grad(x * 2, x)[0], GradientError, "give a gradient of shape"),
        (lambda x: grad(x * 2, x, lucid.ones(2))[0], ShapeError, "the gradient has shape"),
        (lambda x: grad((x > 0).sum(), x)[0], GradientError, "has no gradient"),
        (lambda x: grad(x.sum(), (x > 0))[0], GradientError, "has no gradient"),
        (lambda x: grad(x.sum(), x * 2)[0], GradientError, r"depends on input 0.*allow_unused=True"),
        (lambda x: x.requires_grad_(), TraceError, r"x\.detach\(\)\.requires_grad_\(\)"),
        (lambda x: x.detach().requires_grad_(False), TraceError, "changed while the model is traced"),
        (lambda x: (x > 0).requires_grad_(), GradientError, "only floating-point"),
    ],
)
def test_what_is_refused_in_a_trace(function: Callable[..., Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        lucid.compile(function)(lucid.tensor(X))


def test_nothing_depends_on_what_no_grad_has_seen() -> None:
    def f(x: lucid.Tensor) -> Any:
        with lucid.no_grad():
            y = (x * x).sum()
            with lucid.enable_grad():
                z = (x * y).sum()
        return grad(z, x)[0], grad(y + z, x)[0]

    for found in (f(leaf()), lucid.compile(f)(leaf())):
        for one in found:
            np.testing.assert_allclose(one.numpy(), np.full(3, (X * X).sum()), rtol=1e-12)
