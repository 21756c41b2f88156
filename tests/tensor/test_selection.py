"""Ordering, choosing and putting elements: what depends on data is eager, NaN and ties, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError, TraceError

X = np.array([[3.0, 0.0, 2.0], [0.0, 5.0, 2.0]], np.float32)


def test_what_data_chooses() -> None:
    x = lucid.tensor(X, requires_grad=True)
    np.testing.assert_array_equal(x.nonzero().numpy(), np.argwhere(X))
    assert [p.tolist() for p in lucid.nonzero(x, as_tuple=True)] == [p.tolist() for p in np.nonzero(X)]
    assert lucid.nonzero(lucid.tensor(3.0)).shape == (1, 0) and lucid.nonzero(lucid.zeros(2)).shape == (0, 1)
    chosen = x.masked_select(x > 1)
    assert chosen.tolist() == [3.0, 2.0, 5.0, 2.0]
    (chosen * lucid.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[1.0, 0.0, 2.0], [0.0, 3.0, 4.0]]
    assert lucid.masked_select(X, [True, False, True]).tolist() == [3.0, 2.0, 0.0, 2.0]
    values, inverse, counts = lucid.unique(X, return_inverse=True, return_counts=True)
    assert values.tolist() == [0.0, 2.0, 3.0, 5.0] and counts.tolist() == [2, 2, 1, 1]
    np.testing.assert_array_equal(values.numpy()[inverse.numpy()], X)
    assert lucid.unique([[1, 2], [1, 2]], dim=0).tolist() == [[1, 2]]
    values, inverse, counts = lucid.unique([np.nan, 1.0, np.nan, 1.0], return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(values, [1.0, np.nan, np.nan])
    assert inverse.tolist() == [1, 0, 2, 0] and counts.tolist() == [2, 1, 1]
    assert lucid.bincount([1, 1, 3]).tolist() == [0, 2, 0, 1] and lucid.bincount([], minlength=2).tolist() == [0, 0]
    weights = lucid.tensor([0.5, 1.0, 2.0], requires_grad=True)
    counted = lucid.bincount(lucid.tensor([1, 1, 3]), weights, 6)
    assert counted.tolist() == [0.0, 1.5, 0.0, 2.0, 0.0, 0.0]
    (counted * counted).sum().backward()
    assert weights.grad is not None and weights.grad.tolist() == [3.0, 3.0, 4.0]


def test_as_many_as_the_largest_number_are_not_counted_while_traced() -> None:
    with pytest.raises(TraceError, match="data-dependent shape"):
        lucid.compile(lambda x: lucid.bincount(x.long().flatten()))(X)


def test_nan_ties_and_integers() -> None:
    nan = np.array([2.0, np.nan, 1.0], np.float32)
    np.testing.assert_array_equal(lucid.sort(nan).values.numpy(), np.sort(nan))
    assert lucid.topk(nan, 2).indices.tolist() == [1, 0]
    value, place = lucid.median(nan, 0)
    assert np.isnan(value.item()) and place.item() == 1 and np.isnan(lucid.median(nan).item())
    assert lucid.argsort([1, 0, 1, 0], stable=True).tolist() == [1, 3, 0, 2]
    assert lucid.sort([1, 0, 1, 0], descending=True)[1].tolist() == [0, 2, 1, 3]
    assert lucid.median([[3, 1, 2, 4]], 1).values.tolist() == [2] and lucid.median(lucid.tensor(3.0)).item() == 3.0
    assert lucid.cumprod([2, 3, 4], 0).tolist() == [2, 6, 24] and lucid.trunc([3, -4]).tolist() == [3, -4]
    assert lucid.tensor(1.0).device == "cpu" and lucid.ones(2).to(lucid.tensor(1.0).device).shape == (2,)


@pytest.mark.parametrize("middle", [2.0, -math.inf, math.nan])
def test_equal_numbers_share_the_gradient_of_the_median_of_all(middle: float) -> None:
    x = lucid.tensor([middle, 7.0, middle, middle, middle], requires_grad=True)
    lucid.median(x).backward()
    assert x.grad is not None and x.grad.numpy().tolist() == [0.25, 0, 0.25, 0.25, 0.25]


def test_a_point_without_an_angle_has_slope_0() -> None:
    a, b = (lucid.tensor([0.0, -0.0, 1e-30, 1.0], requires_grad=True) for _ in range(2))
    lucid.atan2(a, b).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert a.grad.numpy().tolist() == [0, 0, 0, 0.5] and b.grad.numpy().tolist() == [0, 0, 0, -0.5]


def test_nothing_is_taken_along_an_axis() -> None:
    x = lucid.tensor(np.zeros((3, 0), np.float32), requires_grad=True)
    lucid.take_along_dim(x, lucid.tensor(np.zeros((2, 0), np.int64)), 0).sum().backward()
    assert x.grad is not None and x.grad.shape == (3, 0)


def test_sizes_that_are_not_known_until_the_call() -> None:
    net = lucid.compile(
        lambda x: (x.sort(0).values, x.median(0).indices, lucid.diag(x[:, 0]), x.topk(2, 1).values), lucid.spec("N", 3)
    )
    for count in (4, 1, 7):
        x = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
        ordered, places, matrix, best = net(x)
        np.testing.assert_array_equal(ordered.numpy(), np.sort(x, 0))
        np.testing.assert_array_equal(places.numpy(), np.argsort(x, 0)[(count - 1) // 2])
        np.testing.assert_array_equal(matrix.numpy(), np.diag(x[:, 0]))
        np.testing.assert_array_equal(best.numpy(), np.sort(x)[:, :0:-1])


def test_in_place() -> None:
    x = lucid.tensor(X.copy())
    same = x
    x.index_fill_(1, [0], 9.0).scatter_(1, [[2], [1]], 7.0).index_add_(0, [1], [[1.0, 1.0, 1.0]]).lerp_(x * 0, 0.5)
    assert x is same and x.tolist() == [[4.5, 0.0, 3.5], [5.0, 4.0, 1.5]]


def test_as_tensor_shares_what_it_can() -> None:
    array = np.ones(3, np.float32)
    shared = lucid.as_tensor(array)
    array[0] = 5
    assert shared.tolist() == [5.0, 1.0, 1.0] and lucid.as_tensor(shared) is shared
    assert lucid.as_tensor(array, dtype="float64").dtype == np.float64 and lucid.as_tensor([1, 2]).dtype == np.int64
    with pytest.raises(LucidError, match="there is no device"):
        lucid.as_tensor(array, device="cuda")


def test_what_has_no_weight_is_not_read() -> None:
    nothing = np.full((2, 3, 3), np.nan, np.float32)
    a, b = np.ones((2, 3, 4), np.float32), np.ones((2, 4, 3), np.float32)
    assert (lucid.addmm(nothing[0], a[0], b[0], beta=0).numpy() == 4).all()
    assert (lucid.compile(lambda x: lucid.baddbmm(x, a, b, beta=0, alpha=2))(nothing).numpy() == 8).all()


def test_inference_mode() -> None:
    x = lucid.ones(2, requires_grad=True)
    with lucid.inference_mode():
        assert not (x * 2).requires_grad
        with lucid.inference_mode(False):
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad
    for decorated in (lucid.inference_mode(lambda y: y * 2), lucid.inference_mode()(lambda y: y * 2)):
        assert not decorated(x).requires_grad


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lucid.topk(X, 4), "there are no 4 elements"),
        (lambda: lucid.median(lucid.zeros(0, dtype=lucid.int64)), "median: there is no element"),
        (lambda: lucid.scatter(X, 1, [0, 1], 1.0), "scatter: the index .* must have the rank"),
        (lambda: lucid.scatter(X, 1, [[0.5]], 1.0), "scatter: the index must be integers"),
        (lambda: lucid.scatter(X, 1, [[0]], 1.0, "max"), "scatter: reduce is"),
        (lambda: lucid.scatter_add(X, 0, np.zeros((1, 4), int), np.ones((1, 4), np.float32)), "larger than"),
        (lambda: lucid.scatter_reduce(X, 1, [[0]], X, "median"), "scatter_reduce: reduce is one of"),
        (lambda: lucid.index_add(X, 1, [[0]], X), "index_add: the index is a vector"),
        (lambda: lucid.index_copy(X, 1, [0], X), "index_copy: the values must be"),
        (lambda: lucid.masked_select(X, X), "mask must hold bools"),
        (lambda: lucid.bincount([-1]), "counts numbers from 0 on"),
        (lambda: lucid.bincount(X), "needs a vector of integers"),
        (lambda: lucid.meshgrid(X), "meshgrid: needs vectors"),
        (lambda: lucid.diag(X[None]), "diag: is for vectors and matrices"),
        (lambda: lucid.cdist(X, X[:, :2]), "cdist: needs matrices"),
        (lambda: lucid.addmm(X, X, X[0]), "addmm: b must have rank 2"),
        (lambda: lucid.compile(lambda x: x.cumprod(0), lucid.spec("N", 3))(X), "cumprod: axis 0 .* no known size"),
    ],
)
def test_what_is_refused_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()
