"""What PyTorch refuses is refused, rather than answered by a number that it would not give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lucid
from lucid.errors import DTypeError, GradientError, LucidError, ShapeError

X = lucid.tensor([[0.5, -1.5, 2.0]])
WHOLE, BOOLS = lucid.tensor([[1, -2, 3]]), lucid.tensor([[True, False, True]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WHOLE.frac(), "frac: needs floating-point numbers, got int64"),
        (lambda: BOOLS.trunc(), "trunc: needs numbers, got bool"),
        (lambda: lucid.fix(BOOLS), "trunc: needs numbers, got bool"),
        (lambda: lucid.hypot(WHOLE, WHOLE), "hypot: needs floating-point numbers"),
        (lambda: WHOLE.logaddexp(BOOLS), "logaddexp: needs floating-point numbers"),
        (lambda: lucid.logaddexp2(WHOLE, 2), "logaddexp2: needs floating-point numbers"),
        (lambda: WHOLE.logcumsumexp(1), "logcumsumexp: needs floating-point numbers"),
        (lambda: X.heaviside(X.double()), "heaviside: needs tensors of one element type"),
        (lambda: lucid.isclose(X, WHOLE), "isclose: needs tensors of one element type"),
        (lambda: lucid.allclose(X, X.double()), "allclose: needs tensors of one element type"),
        (lambda: X.addcdiv(WHOLE, WHOLE), "addcdiv: divides floating-point numbers"),
        (lambda: BOOLS.clone().square_(), "square_: the result is int64"),
        (lambda: lucid.pinverse(X, float("nan")), "pinverse: rtol"),
        (lambda: X.index_fill(1, [0], lucid.tensor([1.0, 2.0])), "index_fill: value is a number"),
        (lambda: WHOLE.index_fill(1, [0], X[0, 0]), "index_fill: value is a number that fits into int64"),
    ],
)  # fmt: skip
def test_what_pytorch_refuses_of_element_types(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: X.clone().fill_(X), "fill_: takes one number"),
        (lambda: X.clone().fill_([1.0, 2.0, 3.0]), "fill_: takes one number"),  # type: ignore[no-untyped-call]
        (lambda: lucid.cartesian_prod(X[0], X[0, 0]), "cartesian_prod: needs vectors"),
        (lambda: lucid.addr(X[None], X[0, :1], X[0]), "addr: float32.1, 1, 3. does not broadcast to the product"),
        (lambda: lucid.addmm(lucid.ones(2, 3), X, lucid.eye(3)), "addmm: .* does not broadcast to the product"),
        (lambda: lucid.addmv(X.T, X, X[0]), "addmv: .* does not broadcast to the product"),
        (lambda: lucid.cat([X, lucid.zeros(0, 2)]), "Concat"),
        (lambda: lucid.nanmedian(WHOLE[:0]), "nanmedian: axis 0"),
    ],
)  # fmt: skip
def test_what_pytorch_refuses_of_shapes(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        make()


def test_numbers_take_on_the_type_of_the_tensor() -> None:
    assert lucid.isclose(X, 0.5).tolist() == [[True, False, False]]
    assert lucid.isclose(X, [0.5, -1.5, 3.0]).tolist() == [[True, True, False]]
    assert lucid.allclose(X, X.numpy().astype(np.float64))
    assert lucid.heaviside(lucid.tensor([0.0, -1.0]), 0.5).tolist() == [0.5, 0.0]
    assert lucid.compile(lambda x: lucid.isclose(x, 2))(X).tolist() == [[False, False, True]]
    with pytest.raises(DTypeError, match="isclose"):
        lucid.compile(lambda x: lucid.isclose(x, x.double()))(X)


def test_a_post_accumulate_hook_returns_nothing() -> None:
    leaf = lucid.tensor([1.0, 2.0], requires_grad=True)
    leaf.register_post_accumulate_grad_hook(lambda t: t.grad * 2)
    with pytest.raises(GradientError, match="post_accumulate_grad_hook: the hook returned Tensor"):
        (leaf * 3).sum().backward()


def test_the_sign_of_bools_has_memory_of_its_own() -> None:
    sign = BOOLS.sign()
    assert sign is not BOOLS and sign.dtype == np.bool_ and sign.tolist() == BOOLS.tolist()
    assert not np.shares_memory(sign.numpy(), BOOLS.numpy())
    inside = lucid.compile(lambda x: (x > 0).sign())(X)
    assert inside.tolist() == [[True, False, True]]


def test_a_median_of_nothing_has_a_gradient_of_nothing() -> None:
    nothing = lucid.zeros(0, 3, requires_grad=True)
    nothing.median().backward()
    assert nothing.grad is not None and nothing.grad.shape == (0, 3)
