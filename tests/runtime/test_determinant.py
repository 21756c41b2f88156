"""Determinants of matrices that hold what is no number."""

from __future__ import annotations

import numpy as np

from lucid.graph.ops.determinant import det
from lucid.tensor.tensor import Tensor


def test_a_pivot_of_0_hides_nothing() -> None:
    nan, inf = np.nan, np.inf
    matrices = [[[0, 0], [nan, 0]], [[0, nan], [0, 1]], [[inf, 0], [5, 0]], [[inf, 1], [1, 1]], [[0, 0], [3, 0]]]
    for dtype in (np.float32, np.float64):
        found = det(Tensor(np.array(matrices, dtype))).numpy()
        np.testing.assert_array_equal(found, np.array([nan, nan, nan, inf, 0], dtype))
        assert np.isnan(det(Tensor(np.array(matrices[0], dtype))).item())
