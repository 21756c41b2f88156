"""Inverses, solutions, determinants and Cholesky factors in float64, by elimination, one matrix after another.

Results that do not exist are NaN.
"""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.solving import CHOLESKY, INVERSE, SLOG_DET, SOLVE
from .evaluator import reference


@reference(INVERSE)
def inverse(attrs: Attrs, x: Array) -> Array:
    return _solved(x, np.broadcast_to(np.eye(x.shape[-1]), x.shape))


@reference(SOLVE)
def solve(attrs: Attrs, a: Array, b: Array) -> Array:
    return _solved(a, b)


def _solved(a: Array, b: Array) -> Array:
    y = np.empty(b.shape)
    for at in np.ndindex(a.shape[:-2]):
        pivots, y[at] = _eliminated(a[at], b[at])
        if 0 in pivots:
            y[at] = np.nan
    return y


@reference(SLOG_DET)
def slogdet(attrs: Attrs, x: Array) -> tuple[Array, Array]:
    found = [_eliminated(x[at], np.empty((x.shape[-1], 0)))[0] for at in np.ndindex(x.shape[:-2])]
    signs = np.array([np.prod(np.sign(pivots)) for pivots in found])
    with np.errstate(divide="ignore"):
        sizes = np.array([np.sum(np.log(np.abs(pivots))) for pivots in found])
    return signs.reshape(x.shape[:-2]), sizes.reshape(x.shape[:-2])


@reference(CHOLESKY)
def cholesky(attrs: Attrs, x: Array) -> Array:
    y = np.zeros(x.shape)
    for at in np.ndindex(x.shape[:-2]):
        for i, j in zip(*np.tril_indices(x.shape[-1]), strict=True):
            left = float(x[at][i, j]) - y[at][i, :j] @ y[at][j, :j]
            root = left**0.5 if left > 0 else np.nan
            y[at][i, j] = root if i == j else left / y[at][j, j]
    return y


def _eliminated(matrix: Array, sides: Array) -> tuple[list[float], Array]:
    """The pivots of Gauss-Jordan elimination, each with the sign of its row exchange, and the solution."""
    a, size = np.concatenate([matrix, sides], 1).astype(np.float64), len(matrix)
    pivots = []
    for i in range(size):
        best = i + int(np.argmax(np.abs(a[i:, i])))
        pivots.append(float(a[best, i]) * (1 if best == i else -1))
        a[[i, best]] = a[[best, i]]
        if not pivots[-1]:
            break
        a[i] /= a[i, i]
        others = np.arange(size) != i
        a[others] -= np.outer(a[others, i], a[i])
    return pivots, a[:, size:]
