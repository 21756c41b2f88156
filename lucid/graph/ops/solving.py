"""Linear algebra by elimination: inverses, solutions of linear systems, log-determinants, and Cholesky factors.

A matrix that is singular, or not positive definite where that is needed, is an error when the program runs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...errors import ShapeError
from ..batching import prepend_axis
from ..opdef import AbstractTensor, GradContext, Gradients, NoAttrs, OpDef, apply, apply_all, register
from ..types import TensorType, broadcast_shapes
from . import elementwise as ew
from .composite import lt
from .diagonals import diag_embed, tril
from .linalg import check_square, check_square_floats, matmul, matrix_transpose
from .promotion import floating, promote
from .shape import expand, squeeze, unsqueeze
from .source import full


def _inverse_infer(attrs: NoAttrs, x: TensorType) -> TensorType:
    check_square_floats("Inverse", x)
    return x.with_shape(x.shape)


def _cholesky_infer(attrs: NoAttrs, x: TensorType) -> TensorType:
    check_square_floats("Cholesky", x)
    return x.with_shape(x.shape)


def _solve_infer(attrs: NoAttrs, a: TensorType, b: TensorType) -> TensorType:
    check_square_floats("Solve", a)
    if b.dtype != a.dtype or b.rank != a.rank or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(f"Solve: the right-hand sides {b} do not fit the matrices {a}")
    return b.with_shape(b.shape)


def _sign_and_log_infer(attrs: NoAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    check_square_floats("SlogDet", x)
    return x.with_shape(x.shape[:-2]), x.with_shape(x.shape[:-2])


def _inverse_gradient(c: GradContext) -> Gradients:
    transposed = matrix_transpose(c.outputs[0])
    return [ew.neg(matmul(transposed, matmul(c.dy, transposed)))]


def _solve_gradient(c: GradContext) -> Gradients:
    db = apply(SOLVE, NoAttrs(), matrix_transpose(c.inputs[0]), c.dy)
    return [ew.neg(matmul(db, matrix_transpose(c.outputs[0]))) if c.wanted[0] else None, db]


def _sign_and_log_gradient(c: GradContext) -> Gradients:
    """The gradient of the logarithm; the sign is piecewise constant."""
    dlog = c.cotangents[1]
    if dlog is None:
        return [full(c.inputs[0], 0.0)]
    transposed = matrix_transpose(apply(INVERSE, NoAttrs(), c.inputs[0]))
    return [ew.mul(unsqueeze(unsqueeze(dlog, -1), -1), transposed)]


def _cholesky_gradient(c: GradContext) -> Gradients:
    """The gradient for a symmetric matrix, spread over both halves."""
    lower = c.outputs[0]
    transposed = matrix_transpose(lower)
    inner = tril(matmul(transposed, c.dy))
    inner = ew.sub(inner, ew.mul(_on_diagonal(inner), 0.5))
    once = apply(SOLVE, NoAttrs(), transposed, inner)
    dx = matrix_transpose(apply(SOLVE, NoAttrs(), transposed, matrix_transpose(once)))
    return [ew.mul(ew.add(dx, matrix_transpose(dx)), 0.5)]


def _on_diagonal(x: AbstractTensor) -> AbstractTensor:
    """The diagonals of matrices, as diagonal matrices."""
    return ew.sub(tril(x), tril(x, -1))


INVERSE = register(OpDef("Inverse", _inverse_infer, _inverse_gradient, batch=prepend_axis, family="linear"))
SOLVE = register(OpDef("Solve", _solve_infer, _solve_gradient, inputs=("a", "b"), batch=prepend_axis, family="linear"))
SLOG_DET = register(
    OpDef(
        "SlogDet",
        _sign_and_log_infer,
        _sign_and_log_gradient,
        outputs=("sign", "logabsdet"),
        batch=prepend_axis,
        family="linear",
    )
)
#: Of a matrix that is taken for symmetric, whichever half is read.
CHOLESKY = register(
    OpDef("Cholesky", _cholesky_infer, _cholesky_gradient, batch=prepend_axis, conventional=True, family="linear")
)


def inv(x: AbstractTensor) -> AbstractTensor:
    """The inverse of each matrix of the last two axes; a singular one is an error when the program runs."""
    x = floating(x)
    check_square_floats("inv", x.type)
    return apply(INVERSE, NoAttrs(), x)


def solve(a: AbstractTensor, b: AbstractTensor, *, left: bool = True) -> AbstractTensor:
    """The solution ``y`` of ``a @ y = b``, or of ``y @ a = b`` if not ``left``.

    A singular ``a`` is an error when the program runs.

    Parameters
    ----------
    a
        Square matrices, in the last two axes.
    b
        Matrices, whose batch axes broadcast with those of ``a``; or vectors: a single one, or one for each matrix, in
        the shape of ``a`` without its last axis.
    left
        Whether ``a`` is the left factor.
    """
    a, b = (floating(x) for x in promote(a, b))
    check_square_floats("solve", a.type)
    vectors = b.type.rank == 1 or (b.type.rank == a.type.rank - 1 and b.type.shape == a.type.shape[:-1])
    if not left:
        if vectors:
            raise ShapeError(f"solve: vectors stand on the right; with left=False b is a matrix, got {b.type}")
        return matrix_transpose(solve(matrix_transpose(a), matrix_transpose(b)))
    columns = unsqueeze(b, -1) if vectors else b
    if columns.type.rank < 2 or columns.type.shape[-2] != a.type.shape[-1]:
        raise ShapeError(
            f"solve: the right-hand sides {b.type} do not fit the matrices {a.type}",
            unequal=(columns.type.shape[-2:-1], a.type.shape[-1:]),
        )
    batch = broadcast_shapes("solve", a.type.shape[:-2], columns.type.shape[:-2])
    y = apply(SOLVE, NoAttrs(), *(expand(x, (*batch, *x.type.shape[-2:])) for x in (a, columns)))
    return squeeze(y, -1) if vectors else y


def cholesky(x: AbstractTensor, *, upper: bool = False) -> AbstractTensor:
    """The Cholesky factor of ``x``: the lower triangular ``L`` with ``L @ L.mT = x``, or its transpose if ``upper``.

    Only that half of each matrix is read; the gradient is that for a symmetric one. A matrix that is not positive
    definite is an error when the program runs.
    """
    x = floating(x)
    check_square_floats("cholesky", x.type)
    if upper:
        return matrix_transpose(cholesky(matrix_transpose(x)))
    return apply(CHOLESKY, NoAttrs(), x)


class SignAndLog(NamedTuple):
    """The sign of a determinant, and the logarithm of its magnitude."""

    sign: AbstractTensor
    logabsdet: AbstractTensor


def slogdet(x: AbstractTensor) -> SignAndLog:
    """The sign of each determinant and the logarithm of its magnitude, also where that overflows."""
    x = floating(x)
    check_square_floats("slogdet", x.type)
    return SignAndLog(*apply_all(SLOG_DET, NoAttrs(), x))


def logdet(x: AbstractTensor) -> AbstractTensor:
    """The logarithm of each determinant; NaN if that is negative."""
    check_square("logdet", x.type)
    sign, size = slogdet(x)
    return ew.where(lt(sign, 0), math.nan, size)


def matrix_power(x: AbstractTensor, n: int) -> AbstractTensor:
    """Each matrix multiplied with itself ``n`` times; its inverse where ``n`` is negative."""
    check_square("matrix_power", x.type)
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return diag_embed(full(x, 1, x.type.shape[:-1]))
    y: AbstractTensor | None = None
    while n:
        if n % 2:
            y = x if y is None else matmul(y, x)
        n //= 2
        x = matmul(x, x) if n else x
    assert y is not None
    return y
