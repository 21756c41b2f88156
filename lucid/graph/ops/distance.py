"""Distances and similarities of vectors."""

from __future__ import annotations

import numpy as np

from ...errors import DTypeError, ShapeError, TraceError
from ..opdef import AbstractTensor
from ..types import is_float
from .bounds import clip
from .composite import norm
from .elementwise import promote
from .indexing import index_with
from .reduce import sum
from .shape import unsqueeze


def normalize(x: AbstractTensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> AbstractTensor:
    """``x`` divided by its ``p``-norm along ``dim``, or by ``eps`` where that is smaller."""
    return x / clip(norm(x, p, dim, keepdim=True), eps)


def _floats(op: str, x1: AbstractTensor, x2: AbstractTensor) -> tuple[AbstractTensor, AbstractTensor]:
    x1, x2 = promote(x1, x2)
    if not is_float(x1.type.dtype):
        raise DTypeError(f"{op}: needs floating-point tensors, got {x1.type} and {x2.type}")
    return x1, x2


def cosine_similarity(x1: AbstractTensor, x2: AbstractTensor, dim: int = 1, eps: float = 1e-8) -> AbstractTensor:
    """The cosine of the angle between vectors along ``dim`` of two tensors that are broadcast together.

    A norm less than ``eps`` counts as that.
    """
    x1, x2 = _floats("cosine_similarity", x1, x2)
    rank = max(x1.type.rank, x2.type.rank)
    for _ in range(rank - x1.type.rank):
        x1 = unsqueeze(x1, 0)
    for _ in range(rank - x2.type.rank):
        x2 = unsqueeze(x2, 0)
    return sum(normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps), dim)


def pairwise_distance(
    x1: AbstractTensor, x2: AbstractTensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> AbstractTensor:
    """The ``p``-norm of the differences plus ``eps``, along the last axis."""
    x1, x2 = _floats("pairwise_distance", x1, x2)
    return norm(x1 - x2 + eps, p, -1, keepdim)


def cdist(x1: AbstractTensor, x2: AbstractTensor, p: float = 2.0) -> AbstractTensor:
    """The ``p``-norm of the difference of each row of ``x1`` (…, m, d) and each of ``x2`` (…, n, d)."""
    x1, x2 = _floats("cdist", x1, x2)
    if x1.type.rank < 2 or x2.type.rank < 2 or x1.type.shape[-1] != x2.type.shape[-1]:
        raise ShapeError(f"cdist: needs matrices with as many columns, or batches of them, got {x1.type} and {x2.type}")
    return norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), p, -1)


def pdist(x: AbstractTensor, p: float = 2.0) -> AbstractTensor:
    """The ``p``-norm of the difference of each two rows of a matrix (n, d), the first with the others to begin with."""
    if x.type.rank != 2 or not is_float(x.type.dtype):
        raise ShapeError(f"pdist: needs a matrix of floating-point numbers, got {x.type}")
    count = x.type.shape[0]
    if not isinstance(count, int):
        raise TraceError(f"pdist: how many rows {x.type} has is not known; compile with that size fixed")
    first, second = (x.constant(one) for one in np.triu_indices(count, 1))
    return norm(index_with(x, (0,), [first]) - index_with(x, (0,), [second]), p, -1)
