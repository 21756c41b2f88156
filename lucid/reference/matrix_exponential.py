"""The exponential of matrices in float64: the defining series of a matrix scaled down so far that few terms matter."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.matrix_exponential import MATRIX_EXP
from .evaluator import reference


@reference(MATRIX_EXP)
def matrix_exp(attrs: Attrs, x: Array) -> Array:
    y = np.full(x.shape, np.nan)
    for at in np.ndindex(x.shape[:-2]):
        if np.isfinite(x[at]).all():
            y[at] = _of_one(x[at].astype(np.float64))
    return y


def _of_one(x: Array) -> Array:
    halvings = max(0, int(np.ceil(np.log2(np.abs(x).sum() + 1e-300))) + 1)
    part, term, found = x / 2.0**halvings, np.eye(len(x)), np.eye(len(x))
    for k in range(1, 25):
        term = term @ part / k
        found = found + term
    return np.linalg.matrix_power(found, 2**halvings)
