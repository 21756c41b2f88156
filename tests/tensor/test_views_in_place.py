"""Changes in place through views of what has a history: the whole goes on as another value, with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.errors import GradientError

X = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
W = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)


def _leaf() -> Tensor:
    return Tensor(X, requires_grad=True)


@pytest.mark.parametrize(
    ("see", "factor"),
    [
        (lambda y: y[0], [[2, 2, 2], [1, 1, 1]]), (lambda y: y[:, 1], [[1, 2, 1], [1, 2, 1]]),
        (lambda y: y.t()[2], [[1, 1, 2], [1, 1, 2]]), (lambda y: y.view(-1)[1:3], [[1, 2, 2], [1, 1, 1]]),
        (lambda y: y.view(3, 2)[::2], [[2, 2, 1], [1, 2, 2]]), (lambda y: y.diagonal(), [[2, 1, 1], [1, 2, 1]]),
        (lambda y: y[None, ..., 0], [[2, 1, 1], [2, 1, 1]]), (lambda y: y.chunk(3, 1)[1], [[1, 2, 1], [1, 2, 1]]),
    ],
)  # fmt: skip
def test_the_whole_has_the_gradient_of_the_change(see: Callable[[Any], Any], factor: list[list[int]]) -> None:
    x = _leaf()
    y = x * 3
    part = see(y)
    part.mul_(2)
    np.testing.assert_array_equal(y.detach().numpy(), X * 3 * factor)
    np.testing.assert_array_equal(part.detach().numpy(), see(Tensor(X * 3 * np.array(factor, np.float32))).numpy())
    ((y * Tensor(W)).sum() + part.sum()).backward()
    scale = np.array(factor, np.float32)
    np.testing.assert_allclose(x.grad.numpy(), 3 * scale * (W + scale - 1), rtol=1e-6)  # type: ignore[union-attr]


def test_what_goes_in_takes_the_gradient_and_what_goes_loses_it() -> None:
    x, v = _leaf(), Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 3
    y[1].copy_(v * 2)
    (y * y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[18, 36, 54], [0, 0, 0]])  # type: ignore[union-attr]
    np.testing.assert_array_equal(v.grad.numpy(), [8, 16, 24])  # type: ignore[union-attr]


def test_gradients_of_gradients() -> None:
    x = _leaf()
    y = x * 3
    y[0].pow_(2)
    (first,) = lucid.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lucid.autograd.grad(first.sum(), x)
    np.testing.assert_array_equal(first.detach().numpy(), [18 * X[0], [3, 3, 3]])
    np.testing.assert_array_equal(second.numpy(), [[18, 18, 18], [0, 0, 0]])


def _another_view(y: Any) -> Any:
    row, other = y[0], y.t()
    row.mul_(2)
    return other


def _the_view_after_the_whole(y: Any) -> Any:
    row = y[0]
    y.mul_(2)
    return row


def _the_whole_without_history(y: Any) -> Any:
    y[0].detach().mul_(2)
    return y


@pytest.mark.parametrize(
    ("change", "slope"),
    [
        (_another_view, [[12, 12, 12], [6, 6, 6]]), (_the_view_after_the_whole, [[12, 12, 12], [0, 0, 0]]),
        (_the_whole_without_history, [[6, 6, 6], [6, 6, 6]]),
    ],
)  # fmt: skip
def test_a_name_that_was_there_before_goes_on_too(change: Callable[[Any], Any], slope: list[list[int]]) -> None:
    net = lucid.compile(lambda x: change(x * 3) * 2)
    for run in (lambda x: change(x * 3) * 2, net):
        x = _leaf()
        y = run(x)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), slope)  # type: ignore[union-attr]
        np.testing.assert_array_equal(y.detach().numpy(), change(Tensor(X * 3)).numpy() * 2)


def test_a_view_of_a_leaf_is_refused() -> None:
    x = _leaf()
    with pytest.raises(GradientError, match="no_grad"):
        x.view(-1).mul_(2)
    np.testing.assert_array_equal(x.detach().numpy(), X)


def test_a_copy_is_no_view() -> None:
    x = _leaf()
    y = x * 3
    y.t().reshape(-1).mul_(2)
    y[[0, 1]].mul_(2)
    y[0].clone().mul_(2)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 3))  # type: ignore[union-attr]


@pytest.mark.parametrize("view", [lambda x: x[0], lambda x: x.view(-1), lambda x: x.t()[1:]])
@pytest.mark.parametrize("change", ["copy_", "item", "+="])
def test_a_view_from_before_there_was_history_has_it_then(view: Any, change: str) -> None:
    x, whole = _leaf(), lucid.zeros(2, 3)
    part = view(whole)
    assert part.sum().item() == 0 and not part.requires_grad
    if change == "copy_":
        whole.copy_(x * 2)
    elif change == "item":
        whole[...] = x * 2
    else:
        whole += x * 2
    assert part.requires_grad and not part.is_leaf
    (part * 3).sum().backward()
    again = _leaf()
    (view(again * 2) * 3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), again.grad.numpy())  # type: ignore[union-attr]


def test_a_view_from_before_there_was_history_is_compiled_with_it() -> None:
    x, whole = _leaf(), lucid.zeros(2, 3)
    part, net = whole[0], lucid.compile(lambda t: t * 3)
    with lucid.no_grad():
        net(part)
    net(part)
    whole.copy_(x)
    net(part).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[3, 3, 3], [0, 0, 0]])  # type: ignore[union-attr]


def test_a_view_that_was_made_within_no_grad_takes_no_part_in_a_history() -> None:
    x, y = _leaf(), _leaf() * 1
    with lucid.no_grad():
        part = y[0]
        part += 1
    with pytest.raises(GradientError, match="within no_grad"):
        part.mul_(x[0])
    y.mul_(x)
    with pytest.raises(GradientError, match="within no_grad"):
        part * 3
    with lucid.no_grad():
        assert (part * 3).tolist() == (3 * X[0] * (X[0] + 1)).tolist()


def test_views_of_what_is_detached_are_read_after_a_change_with_history() -> None:
    x, whole = lucid.ones(2, 3).requires_grad_(), lucid.zeros(2, 3)
    whole[0] = x[0] * 2
    assert (whole.detach()[0] * 3).tolist() == [6, 6, 6]
    part = lucid.zeros(2, 3)[0]
    part.add_(1)
    assert (part * 3).tolist() == [3, 3, 3]
