"""Distances and similarities of vectors, as layers."""

from __future__ import annotations

from ..tensor.tensor import Tensor
from . import functional as F
from .checks import flag, real, size
from .module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along ``dim``; a norm less than ``eps`` counts as that."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = size(self, "dim", dim, -32)
        self.eps = real(self, "eps", eps, 0.0)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The ``p``-norm of the differences plus ``eps``, along the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps = real(self, "p", p, 0.0), real(self, "eps", eps)
        self.keepdim = flag(self, "keepdim", keepdim)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
