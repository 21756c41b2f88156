"""Kernels of LAPACK's matrix decompositions."""

from __future__ import annotations

from ...graph.ops.decompositions import EIGH, PINV, QR, SVD, FactorAttrs, PseudoInverseAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .calls import eigenvectors, orthogonal_and_triangle, pseudo_inverse, singular_vectors


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


@kernel(PINV)
def pinv(k: Emitter[PseudoInverseAttrs]) -> None:
    (x,), (y,) = k.ins, k.outs
    k.line(f"{k.use(pseudo_inverse)}({x}, {k.number(k.attrs.cutoff(x.type))}, {y})")
