"""The exponential of matrices."""

from __future__ import annotations

from ..batching import prepend_axis
from ..opdef import AbstractTensor, GradContext, Gradients, NoAttrs, OpDef, apply, register
from ..types import TensorType
from .linalg import check_square_floats, matrix_transpose
from .promotion import floating
from .shape import concat
from .slices import piece
from .source import full


def _infer(attrs: NoAttrs, x: TensorType) -> TensorType:
    check_square_floats("MatrixExp", x)
    return x.with_shape(x.shape)


def _gradient(c: GradContext) -> Gradients:
    """The exponential of a matrix of four blocks has the derivative in one of them (Mathias, 1996)."""
    transposed, size, rows = matrix_transpose(c.inputs[0]), c.inputs[0].type.shape[-1], c.inputs[0].type.rank - 2
    upper = concat([transposed, c.dy], -1)
    lower = concat([full(transposed, 0), transposed], -1)
    found = apply(MATRIX_EXP, NoAttrs(), concat([upper, lower], -2))
    return [piece(piece(found, rows, 0, size), rows + 1, size, size)]


MATRIX_EXP = register(OpDef("MatrixExp", _infer, _gradient, batch=prepend_axis, family="linear"))


def matrix_exp(x: AbstractTensor) -> AbstractTensor:
    """The exponential of each matrix of the last two axes: the sum of ``x ** k / k!``."""
    x = floating(x)
    check_square_floats("matrix_exp", x.type)
    return apply(MATRIX_EXP, NoAttrs(), x)
