"""What LAPACK takes apart, in float64: of vectors whose signs nothing but its way of computing them decides."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops.decompositions import EIGH, QR, SVD, FactorAttrs
from .elementwise import wide
from .evaluator import reference


@reference(EIGH)
def eigh(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return tuple(np.linalg.eigh(wide(x)))


@reference(SVD)
def svd(attrs: FactorAttrs, x: Array) -> tuple[Array, ...]:
    return tuple(np.linalg.svd(wide(x), full_matrices=attrs.whole))


@reference(QR)
def qr(attrs: FactorAttrs, x: Array) -> tuple[Array, ...]:
    return tuple(np.linalg.qr(wide(x), "complete" if attrs.whole else "reduced"))
