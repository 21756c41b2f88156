"""Kernels of the matrix products."""

from __future__ import annotations

from ...graph.ops import linalg
from ..emitter import Emitter
from ..registry import kernel


@kernel(linalg.MATMUL)
def matmul(k: Emitter) -> None:
    (a, b), (y,) = k.ins, k.outs
    k.line(f"np.matmul({a}, {b}, out={y})")
