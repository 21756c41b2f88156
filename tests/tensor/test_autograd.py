"""``lucid.autograd.grad``: gradients of tensors that are there already."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.autograd import grad
from lucid.errors import GradientError, OptionError, ShapeError
from lucid.nn import functional as F


def leaf(*values: float) -> lucid.Tensor:
    return lucid.tensor(values or (1.0, 2.0), requires_grad=True, dtype=lucid.float64)


def listed(found: tuple[lucid.Tensor | None, ...]) -> list[Any]:
    return [None if one is None else one.tolist() for one in found]


def test_leaves_and_what_is_made_on_the_way() -> None:
    x, w = leaf(), leaf(3.0, 4.0)
    h = x * w
    y = (h * h).sum()
    assert listed(grad(y, [x, h, w, y, x])) == [[18.0, 64.0], [6.0, 16.0], [6.0, 32.0], 1.0, [18.0, 64.0]]
    assert listed(grad(y, h)) == [[6.0, 16.0]]
    assert listed(grad(y, (h, h))) == [[6.0, 16.0]] * 2
    assert x.grad is None and w.grad is None
    y.backward()
    assert x.grad is not None and listed(grad(y, x)) == [x.grad.tolist()]


def test_several_outputs_are_summed() -> None:
    x = leaf()
    a, b = x * 2, x * x
    assert listed(grad([a, b.sum()], x, [[1.0, 10.0], None])) == [[4.0, 24.0]]
    assert listed(grad((a, a), x, [np.ones(2), lucid.ones(2)])) == [[4.0, 4.0]]
    assert listed(grad(b, [x], [5.0, 7.0] * lucid.ones(2))) == [[10.0, 28.0]]
    scalar = leaf(3.0).sum()
    assert listed(grad([scalar, scalar, scalar], scalar)) == [3.0]


def test_a_leaf_is_an_output_too() -> None:
    x = leaf()
    assert listed(grad([x, x * x], [x], [[1.0, 1.0], [1.0, 1.0]])) == [[3.0, 5.0]]
    seed = lucid.tensor([5.0, 6.0], dtype=lucid.float64)
    (found,) = grad(x, x, seed)
    assert found is not None and not np.shares_memory(found.numpy(), seed.numpy())
    x.backward(seed)
    assert x.grad is not None and not np.shares_memory(x.grad.numpy(), seed.numpy())


def attended_gradient(query: lucid.Tensor, key: lucid.Tensor) -> Any:
    """By what else was read, so that query and key may be one tensor."""
    value = X.detach().requires_grad_()
    return grad((F.scaled_dot_product_attention(query, key, value) ** 2).sum(), value, create_graph=True)[0]


X = lucid.tensor([[1.0, 2.0], [4.0, 3.0]], dtype=lucid.float64)
TWICE: dict[str, tuple[list[Any], Callable[..., Any]]] = {
    "layer norm": ([0.5, 2.0], lambda a, b: F.layer_norm(X, (2,), a, b)),
    "group norm": ([0.5, 2.0], lambda a, b: F.group_norm(X, 1, a, b)),
    "batch norm": ([0.5, 2.0], lambda a, b: F.batch_norm(X, X[0] * 0, X[0], a, b)),
    "attention's gradient": ([[0.5, 1.0], [0.1, 2.0]], attended_gradient),
}


@pytest.mark.parametrize(("values", "of"), TWICE.values(), ids=TWICE)
def test_a_tensor_that_one_op_reads_twice_gets_the_sum_once(values: list[Any], of: Callable[..., Any]) -> None:
    first, second, both = leaf(*values), leaf(*values), leaf(*values)
    parts = grad((of(first, second) ** 2).sum(), [first, second])
    together = grad((of(both, both) ** 2).sum(), both)
    np.testing.assert_allclose(listed(together)[0], np.sum(listed(parts), 0), rtol=1e-12)


def test_what_no_output_depends_on() -> None:
    x, other = leaf(), leaf()
    y = (x * 3).sum()
    assert listed(grad(y, [other, x], allow_unused=True)) == [None, [3.0, 3.0]]
    with pytest.raises(GradientError, match=r"depends on input 1.*allow_unused=True"):
        grad(y, [x, other])
    later = x * 3
    with pytest.raises(GradientError, match="depends on input 0"):
        grad(y, later)


def test_values_that_change_in_place() -> None:
    x = leaf()
    h = x * 2
    y = (h + 1).sum()
    h.mul_(3)
    assert listed(grad(h.sum(), [h, x])) == [[1.0, 1.0], [6.0, 6.0]]
    with pytest.raises(GradientError, match="depends on input 0"):
        grad(y, h)  # which is another value now
    y = (x * 5).sum()
    with lucid.no_grad():
        x.mul_(2)
    assert listed(grad(y + (x * x).sum(), x)) == [[9.0, 13.0]]  # of both values that x had


def test_compiled_models_and_gradients_of_their_arguments() -> None:
    model = lucid.nn.Sequential(lucid.nn.Linear(2, 3), lucid.nn.Tanh(), lucid.nn.Linear(3, 1)).double()
    x, wanted = leaf(), [*model.parameters()]
    expected = grad(model(x).sum(), [x, *wanted])
    for a, b in zip(grad(lucid.compile(model)(x).sum(), [x, *wanted]), expected, strict=True):
        assert a is not None and b is not None
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    assert all(p.grad is None for p in wanted)


def test_what_is_refused() -> None:
    x = leaf()
    y = x * 2
    with pytest.raises(GradientError, match="give a gradient of shape"):
        grad(y, x)
    with pytest.raises(ShapeError, match="grad: the gradient has shape"):
        grad(y, x, np.ones(3))
    with pytest.raises(OptionError, match="1 outputs, but 2 grad_outputs"):
        grad(y, x, [1.0, 2.0])
    with pytest.raises(GradientError, match=r"inputs\[1\].*requires no gradient"):
        grad(y.sum(), [x, lucid.ones(2)])
    with pytest.raises(GradientError, match=r"outputs\[0\].*requires no gradient"):
        grad(lucid.ones(2).sum(), x)
    for wrong in (3, [], "x", [x, None]):
        with pytest.raises(OptionError, match="inputs is a tensor or a list of tensors"):
            grad(y.sum(), wrong)  # type: ignore[arg-type]


def test_gradients_that_are_infinite_are_added_up_without_a_warning() -> None:
    x = lucid.tensor([1.0], requires_grad=True)
    for slope in (math.inf, -math.inf):
        (x * slope).backward()
    assert x.grad is not None and math.isnan(x.grad.item())
