"""A tensor of rank 0 has one axis wherever PyTorch gives it one, and none elsewhere; and what no axes at all mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.errors import ShapeError

both = pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile], ids=["eager", "compiled"])

#: What PyTorch gives of a scalar 5.
TAKEN: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "squeeze": (lambda x: x.squeeze(0), 5.0),
    "squeeze-last": (lambda x: x.squeeze(-1), 5.0),
    "squeeze-several": (lambda x: x.squeeze((0,)), 5.0),
    "flip": (lambda x: x.flip(0), 5.0),
    "flip-last": (lambda x: x.flip(-1), 5.0),
    "transpose": (lambda x: x.transpose(0, -1), 5.0),
    "swapaxes": (lambda x: x.swapaxes(0, 0), 5.0),
    "movedim": (lambda x: x.movedim(0, -1), 5.0),
    "index_select": (lambda x: x.index_select(0, lucid.tensor([0])), 5.0),
    "index_select-scalar": (lambda x: x.index_select(-1, lucid.tensor(0)), 5.0),
    "gather": (lambda x: x.gather(0, lucid.tensor(0)), 5.0),
    "gather-vector": (lambda x: x.gather(-1, lucid.tensor([0, 0])), [5.0, 5.0]),
    "flatten": (lambda x: x.flatten(0, -1), [5.0]),
    "sum": (lambda x: x.sum((0,)), 5.0),
    "mean": (lambda x: x.mean((-1,)), 5.0),
    "amax": (lambda x: x.amax((0,)), 5.0),
    "prod": (lambda x: x.prod(0), 5.0),
    "logsumexp": (lambda x: x.logsumexp((0,)), 5.0),
}

#: What PyTorch refuses.
REFUSED: dict[str, Callable[[Any], Any]] = {
    "squeeze-1": lambda x: x.squeeze(1),
    "flip-1": lambda x: x.flip(1),
    "flip-twice": lambda x: x.flip((0, 0)),
    "transpose-1": lambda x: x.transpose(0, 1),
    "movedim-1": lambda x: x.movedim(0, 1),
    "permute": lambda x: x.permute(0),
    "flatten-1": lambda x: x.flatten(1),
    "sum-1": lambda x: x.sum(1),
    "size": lambda x: x.size(0),
    "narrow": lambda x: x.narrow(0, 0, 1),
    "split": lambda x: x.split(1, 0),
    "chunk": lambda x: x.chunk(1, 0),
    "unbind": lambda x: x.unbind(0),
    "unflatten": lambda x: x.unflatten(0, (1,)),
    "roll": lambda x: x.roll(1, 0),
    "index_select-two": lambda x: x.index_select(0, lucid.tensor([0, 0])),
}


@both
@pytest.mark.parametrize("name", TAKEN)
def test_a_scalar_has_one_axis(name: str, wrap: Any) -> None:
    function, want = TAKEN[name]
    x = lucid.tensor(5.0, requires_grad=True)
    y = wrap(function)(x)
    assert y.tolist() == want
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == () and x.grad.item() == np.size(want)


@pytest.mark.parametrize("name", REFUSED)
def test_and_no_other(name: str) -> None:
    with pytest.raises(ShapeError):
        REFUSED[name](lucid.tensor(5.0))


def test_a_scalar_index_takes_one_element_of_a_vector() -> None:
    assert lucid.tensor([1.0, 2.0]).gather(0, lucid.tensor(1)).tolist() == 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithms_of_powers_are_exact(dtype: str) -> None:
    powers = np.arange(-120, 121)
    x = np.ldexp(np.ones(len(powers)), powers).astype(dtype)
    for f in (lucid.log2, lucid.compile(lucid.log2)):
        np.testing.assert_array_equal(f(Tensor(x)).numpy(), powers)
    tiny = np.array([1e-20, -3e-18], dtype)
    np.testing.assert_array_equal(lucid.log1p(Tensor(tiny)).numpy(), tiny)
    np.testing.assert_array_equal(lucid.expm1(Tensor(tiny)).numpy(), tiny)


def test_a_product_has_slopes_of_its_slopes_where_there_are_zeros() -> None:
    x = lucid.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    first = lucid.grad(lambda x: x.prod(1).sum())
    np.testing.assert_array_equal(first(x).numpy(), [[6.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    second = lucid.grad(lambda x: (first(x) * lucid.tensor([[1.0, 10.0, 100.0]])).sum())
    # the Hessian of a * b * c is [[0, c, b], [c, 0, a], [b, a, 0]]
    want = [[10 * 3.0 + 100 * 2.0, 3.0, 2.0], [10 * 5.0, 5.0, 0.0]]
    np.testing.assert_array_equal(second(x).numpy(), want)


def test_numpys_product_is_the_ops() -> None:
    x = lucid.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert np.prod(x).item() == 24.0 and np.multiply.reduce(x).tolist() == [3.0, 8.0]
    np.prod(x, axis=1).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[2.0, 1.0], [4.0, 3.0]]


#: Of [[1, 2], [3, 4]], what PyTorch gives over an empty list of axes.
OVER_NONE: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "sum": (lambda x, none: x.sum(none), 10.0),
    "mean": (lambda x, none: x.mean(none, keepdim=True), [[2.5]]),
    "var": (lambda x, none: x.var(none, correction=0), 1.25),
    "amax": (lambda x, none: x.amax(none), 4.0),
    "norm": (lambda x, none: lucid.norm(x, 1, none), 10.0),
    "count_nonzero": (lambda x, none: x.count_nonzero(none), 4),
    "all": (lambda x, none: lucid.all(x, none), [[True, True], [True, True]]),
    "any": (lambda x, none: lucid.any(x, none), [[True, True], [True, True]]),
}


@pytest.mark.parametrize("name", OVER_NONE)
def test_an_empty_list_of_axes_means_what_it_means_in_pytorch(name: str) -> None:
    of, expected = OVER_NONE[name]
    x = lucid.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert [of(x, none).tolist() for none in ((), [])] == [expected, expected]


@pytest.mark.parametrize("of", [np.sum, np.mean, np.max, np.var, np.all, np.multiply.reduce])
def test_and_in_numpys_functions_what_it_means_in_numpy(of: Callable[..., Any]) -> None:
    x = np.array([[1.0, 2.0], [3.0, 0.0]])
    np.testing.assert_array_equal(np.asarray(of(lucid.tensor(x), axis=())), of(x, axis=()))
