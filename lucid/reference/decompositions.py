"""Matrix decompositions by LAPACK, in float64: the signs of their vectors are defined by nothing but its algorithm."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.decompositions import EIGH, PINV, QR, SVD, FactorAttrs, PseudoInverseAttrs
from ..graph.types import TensorType, as_dtype
from .elementwise import wide
from .evaluator import reference


@reference(EIGH)
def eigh(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    lost: Array = np.logical_not(np.isfinite(x).all((-2, -1), keepdims=True))
    values, vectors = np.linalg.eigh(np.where(lost, 0, wide(x)))
    return np.where(lost[..., 0], np.nan, values), np.where(lost, np.nan, vectors)


@reference(SVD)
def svd(attrs: FactorAttrs, x: Array) -> tuple[Array, ...]:
    return tuple(np.linalg.svd(wide(x), full_matrices=attrs.whole))


@reference(QR)
def qr(attrs: FactorAttrs, x: Array) -> tuple[Array, ...]:
    return tuple(np.linalg.qr(wide(x), "complete" if attrs.whole else "reduced"))


@reference(PINV)
def pinv(attrs: PseudoInverseAttrs, x: Array) -> Array:
    u, s, vh = np.linalg.svd(wide(x), full_matrices=False)
    kept = ~(s <= attrs.cutoff(TensorType(x.shape, as_dtype(x.dtype))) * s.max(-1, keepdims=True, initial=0))
    scaled = np.where(kept, 1 / np.where(kept, s, 1), 0)[..., None] * u.swapaxes(-1, -2)
    return np.asarray(vh.swapaxes(-1, -2) @ scaled)
