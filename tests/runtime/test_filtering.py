"""Minimal filtering computes the sums it stands for, in as few products as it says."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.runtime.kernels.conv.filtering import POINTS, Filter, transforms

FILTERS = [
    f
    for m in range(1, 5)
    for taps in range(1, 8)
    for stride in range(1, 4)
    if (f := Filter(m, taps, stride)).points <= len(POINTS)
]


@pytest.mark.parametrize("f", [f for f in FILTERS if f.taps >= f.stride], ids=str)
def test_sums_of_neighbours(f: Filter) -> None:
    rng = np.random.default_rng(f.products)
    x, w = rng.standard_normal(f.products), rng.standard_normal(f.taps)
    t = transforms(f)
    made = t.outputs @ ((t.inputs @ x) * (t.weights @ w))
    # in double precision, by way of transforms with numbers up to 8: 3e-15 was seen
    np.testing.assert_allclose(made, [x[f.stride * i :][: f.taps] @ w for i in range(f.m)], rtol=0, atol=1e-12)


def test_products_are_the_fewest_there_can_be() -> None:
    assert [Filter(m, 3, 1).products for m in (2, 4)] == [4, 6]
    assert [Filter(2, taps, 2).products for taps in (3, 5)] == [5, 7]  # two phases: 3 + 2 and 4 + 3


def test_the_matrices_of_lavin_and_gray() -> None:
    """F(4, 3), equations 7 and 8 of "Fast Algorithms for Convolutional Neural Networks"."""
    t = transforms(Filter(4, 3, 1))
    np.testing.assert_array_equal(t.inputs[:2], [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0]])
    np.testing.assert_array_equal(t.weights[3], [1 / 24, 1 / 12, 1 / 6])
    np.testing.assert_array_equal(t.outputs[3], [0, 1, -1, 8, -8, 1])


@pytest.mark.parametrize(
    ("f", "points"),
    [(Filter(4, 3, 1), 5), (Filter(6, 3, 1), 7), (Filter(2, 5, 1), 5), (Filter(4, 5, 2), 5), (Filter(4, 4, 1), 6)],
)
def test_points_that_it_takes(f: Filter, points: int) -> None:
    assert f.points == points
