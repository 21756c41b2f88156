"""Determinants from their definition: expanded along the first row."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.determinant import DET
from .evaluator import reference


@reference(DET)
def det(attrs: Attrs, x: Array) -> Array:
    return np.array([_det(x[at].astype(np.float64)) for at in np.ndindex(x.shape[:-2])])


def _det(matrix: Array) -> float:
    if not len(matrix):
        return 1.0
    rest = matrix[1:]
    return float(sum((-1) ** i * a * _det(np.delete(rest, i, 1)) for i, a in enumerate(matrix[0])))
