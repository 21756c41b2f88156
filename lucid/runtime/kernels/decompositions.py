"""Kernels of what LAPACK takes apart."""

from __future__ import annotations

from ...graph.ops.decompositions import EIGH, QR, SVD, FactorAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .calls import eigenvectors, orthogonal_and_triangle, singular_vectors


@kernel(EIGH)
def eigh(k: Emitter) -> None:
    (x,), (values, vectors) = k.ins, k.outs
    k.line(f"{k.use(eigenvectors)}({x}, {values}, {vectors})")


@kernel(SVD)
def svd(k: Emitter[FactorAttrs]) -> None:
    (x,), (u, s, vh) = k.ins, k.outs
    k.line(f"{k.use(singular_vectors)}({x}, {k.attrs.whole}, {u}, {s}, {vh})")


@kernel(QR)
def qr(k: Emitter[FactorAttrs]) -> None:
    (x,), (q, r) = k.ins, k.outs
    k.line(f"{k.use(orthogonal_and_triangle)}({x}, {k.attrs.whole}, {q}, {r})")
