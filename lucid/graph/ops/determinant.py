"""Determinants of matrices."""

from __future__ import annotations

import numpy as np

from ...errors import ShapeError
from ..batching import prepend_axis
from ..opdef import AbstractTensor, GradContext, Gradients, NoAttrs, OpDef, apply, register
from ..types import TensorType
from .indexing import index_with
from .linalg import check_square_floats
from .shape import unsqueeze


def _infer(attrs: NoAttrs, x: TensorType) -> TensorType:
    check_square_floats("Det", x)
    return x.with_shape(x.shape[:-2])


def _gradient(c: GradContext) -> Gradients:
    """By the cofactors, which there are of singular matrices too: each is the determinant of what is left."""
    (x,) = c.inputs
    size, rank = x.type.shape[-1], x.type.rank
    if not isinstance(size, int):
        raise ShapeError(f"Det: the gradient of a matrix of a symbolic size is not known: {x.type}")
    kept = np.array([[j for j in range(size) if j != i] for i in range(size)], np.int64).reshape(size, max(0, size - 1))
    rows, columns = x.constant(kept[:, None, :, None]), x.constant(kept[None, :, None, :])
    minors = apply(DET, NoAttrs(), index_with(x, (rank - 2, rank - 1), [rows, columns]))
    signs = x.constant(((-1.0) ** np.add.outer(np.arange(size), np.arange(size))).astype(x.type.dtype))
    return [unsqueeze(unsqueeze(c.dy, -1), -1) * minors * signs]


DET = register(OpDef("Det", _infer, _gradient, batch=prepend_axis, family="linear"))


def det(x: AbstractTensor) -> AbstractTensor:
    """The determinant of each matrix of the last two axes."""
    check_square_floats("det", x.type)
    return apply(DET, NoAttrs(), x)
