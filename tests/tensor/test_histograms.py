"""Histograms: NumPy's counts, eagerly and compiled for any size, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(40, 2)), RNG.random(40)
EDGES = np.array([-1.0, -0.25, 0.5, 0.75, 2.0])


def test_numpys_counts() -> None:
    for bins in (1, 6, EDGES):
        for density in (False, True):
            found = lucid.histogram(X, bins, density=density)
            counts, edges = np.histogram(X, bins, density=density)
            np.testing.assert_allclose(found.hist.numpy(), counts, rtol=1e-14)
            np.testing.assert_allclose(found.bin_edges.numpy(), edges, rtol=1e-14)
    found = lucid.tensor(X[:, 0]).histogram(5, range=(-1, 0.5), weight=W)
    np.testing.assert_allclose(found.hist.numpy(), np.histogram(X[:, 0], 5, (-1, 0.5), weights=W)[0], rtol=1e-14)


def test_numpys_counts_of_points() -> None:
    for bins in (3, [2, 5], [EDGES, np.array([-1.0, 0.0, 1.0])]):
        found = lucid.histogramdd(X, bins, weight=W)
        counts, edges = np.histogramdd(X, bins, weights=W)
        np.testing.assert_allclose(found.hist.numpy(), counts, rtol=1e-13)
        for mine, theirs in zip(found.bin_edges, edges, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-14)


def test_edges_belong_to_the_interval_above_and_the_last_to_the_last() -> None:
    assert lucid.histogram([0.0, 1.0, 1.0, 2.0, 2.5, float("nan")], [0.0, 1.0, 2.0]).hist.tolist() == [1, 3]
    tenths = lucid.linspace(0, 1, 11)
    assert lucid.histogram(tenths, 10).hist.sum().item() == 11
    assert lucid.histogram(lucid.zeros(0), 2).bin_edges.tolist() == [0, 0.5, 1]


def test_they_compile_for_any_size_and_pass_no_gradient() -> None:
    def model(x: lucid.Tensor) -> tuple[lucid.Tensor, ...]:
        return (*lucid.histogram(x, 4), lucid.histogramdd(x, [2, 3], range=[-1, 1, -2, 2]).hist)

    net = lucid.compile(model, lucid.spec("N", 2, dtype="float64"))
    for count in (1, 7, 40):
        for mine, eager in zip(net(X[:count]), model(lucid.tensor(X[:count])), strict=True):
            np.testing.assert_array_equal(mine.numpy(), eager.numpy())
    assert not lucid.histogram(lucid.tensor(X, requires_grad=True), 3, weight=lucid.tensor(X)).hist.requires_grad


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lucid.histogram([1, 2], 2), "histogram: needs floating-point numbers"),
        (lambda: lucid.histogram(X, 0), "histogram: bins"),
        (lambda: lucid.histogram(X, 2.5), "histogram: bins"),
        (lambda: lucid.histogram(X, EDGES[::-1].copy()), "histogram: edges rise"),
        (lambda: lucid.histogram(X, EDGES[:1]), "histogram: edges are a vector of two or more float64"),
        (lambda: lucid.histogram(X, EDGES.astype("float32")), "histogram: edges are a vector of two or more float64"),
        (lambda: lucid.histogram(X, EDGES, range=(0, 1)), "histogram: a range is for a number of bins"),
        (lambda: lucid.histogram(X, 2, range=(1, 0)), "histogram: the range goes from the smaller"),
        (lambda: lucid.histogram(X, 2, range=(0, float("inf"))), "histogram: range"),
        (lambda: lucid.histogram(X, 2, range=(0, 1, 2)), "histogram: the range is two numbers"),
        (lambda: lucid.histogram([1.0, float("nan")], 2), "histogram: there is no range of numbers that are not"),
        (lambda: lucid.histogram(X, 2, weight=W), "histogram: a weight for each element"),
        (lambda: lucid.histogramdd(X[:, 0], 2), "histogramdd: needs points"),
        (lambda: lucid.histogramdd(X, [2, 2, 2]), "histogramdd: gives 3 bins for 2 coordinates"),
        (lambda: lucid.histogramdd(X, 2, range=[0, 1]), "histogramdd: the range holds two numbers for each of 2"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()
