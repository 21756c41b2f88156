"""Matrix decompositions: symmetric eigenvalues, singular values, and QR.

The signs of vectors, and the vectors of equal values, are as LAPACK chooses them. As in PyTorch, gradients are right
for functions that do not depend on that choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...errors import DTypeError, GradientError, OptionError, ShapeError
from ..assume import is_at_least
from ..batching import prepend_axis
from ..dims import Dim
from ..opdef import (
    AbstractTensor,
    Attrs,
    GradContext,
    Gradients,
    NoAttrs,
    OpDef,
    apply,
    apply_all,
    attributes,
    register,
)
from ..types import TensorType, is_float
from . import elementwise as ew
from .diagonals import diag_embed, tril
from .linalg import check_square_floats, matmul, matrix_transpose
from .promotion import floating
from .shape import concat, unsqueeze
from .slices import piece
from .solving import solve
from .source import full


@attributes
class FactorAttrs(Attrs):
    """The shapes of the factors.

    Attributes
    ----------
    tall
        Whether the matrix has at least as many rows as columns.
    whole
        Whether the orthogonal matrices are square even if fewer columns would do.
    """

    tall: bool = True
    whole: bool = False


@attributes
class PseudoInverseAttrs(Attrs):
    """Singular values of at most ``rtol`` times the largest count as 0; None is the size of rounding errors."""

    rtol: float | None = None

    def cutoff(self, x: TensorType) -> float:
        """``rtol``, or for None its default for matrices of a type."""
        return self.rtol if self.rtol is not None else max(x.concrete[-2:]) * float(np.finfo(x.dtype.name).eps)


def _check_matrices(op: str, x: TensorType) -> None:
    """Raise unless the last two axes are matrices of floating-point numbers."""
    if not is_float(x.dtype):
        raise DTypeError(f"{op}: needs floating-point matrices, got {x}")
    if x.rank < 2:
        raise ShapeError(f"{op}: needs matrices, got {x}")


def _fewer(op: str, attrs: FactorAttrs, x: TensorType) -> Dim:
    """The smaller of the numbers of rows and columns."""
    _check_matrices(op, x)
    rows, columns = x.shape[-2:]
    fewer, more = (columns, rows) if attrs.tall else (rows, columns)
    if isinstance(fewer, int) and isinstance(more, int) and fewer > more:
        raise ShapeError(f"{op}: these matrices have not more {'rows' if attrs.tall else 'columns'}: {x}")
    return fewer


def _eigh_infer(attrs: NoAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    check_square_floats("Eigh", x)
    return x.with_shape(x.shape[:-1]), x.with_shape(x.shape)


def _svd_infer(attrs: FactorAttrs, x: TensorType) -> tuple[TensorType, TensorType, TensorType]:
    fewer = _fewer("Svd", attrs, x)
    *batch, rows, columns = x.shape
    left, right = (rows, columns) if attrs.whole else (fewer, fewer)
    return x.with_shape((*batch, rows, left)), x.with_shape((*batch, fewer)), x.with_shape((*batch, right, columns))


def _qr_infer(attrs: FactorAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    fewer = _fewer("Qr", attrs, x)
    *batch, rows, columns = x.shape
    inner = rows if attrs.whole else fewer
    return x.with_shape((*batch, rows, inner)), x.with_shape((*batch, inner, columns))


def _pinv_infer(attrs: PseudoInverseAttrs, x: TensorType) -> TensorType:
    _check_matrices("Pinv", x)
    return x.with_shape((*x.shape[:-2], x.shape[-1], x.shape[-2]))


def _gaps(values: AbstractTensor) -> AbstractTensor:
    """The matrix of ``values[j] - values[i]`` in row i and column j, with 1 on the diagonal."""
    gaps = ew.sub(unsqueeze(values, -2), unsqueeze(values, -1))
    return ew.add(gaps, diag_embed(full(values, 1, values.type.shape)))


def _beside_diagonal(x: AbstractTensor) -> AbstractTensor:
    """The matrices with their diagonals set to 0."""
    return ew.add(tril(x, -1), ew.sub(x, tril(x)))


def _eigh_gradient(c: GradContext) -> Gradients:
    """The gradient for a symmetric matrix, spread over both halves (Magnus, 1985)."""
    values, vectors = c.outputs
    inner = diag_embed(c.cotangent(0))
    if c.cotangents[1] is not None:
        rotation = ew.div(matmul(matrix_transpose(vectors), c.cotangent(1)), _gaps(values))
        inner = ew.add(inner, _beside_diagonal(rotation))
    inner = ew.mul(ew.add(inner, matrix_transpose(inner)), 0.5)
    return [matmul(matmul(vectors, inner), matrix_transpose(vectors))]


def _svd_gradient(c: GradContext[FactorAttrs]) -> Gradients:
    """See Townsend, "Differentiating the singular value decomposition" (2016)."""
    s = c.outputs[1]

    def some(x: AbstractTensor) -> AbstractTensor:
        """The first columns, one for each singular value."""
        return piece(x, x.type.rank - 1, 0, s.type.shape[-1]) if c.attrs.whole else x

    u, v = some(c.outputs[0]), some(matrix_transpose(c.outputs[2]))
    gaps, wide = _gaps(ew.mul(s, s)), unsqueeze(s, -2)
    inner = diag_embed(c.cotangent(1))
    around: list[AbstractTensor] = []
    if c.cotangents[0] is not None:
        du = some(c.cotangent(0))
        along = matmul(matrix_transpose(u), du)
        inner = ew.add(inner, ew.mul(ew.div(ew.sub(along, matrix_transpose(along)), gaps), wide))
        around.append(matmul(ew.div(ew.sub(du, matmul(u, along)), wide), matrix_transpose(v)))
    if c.cotangents[2] is not None:
        dv = some(matrix_transpose(c.cotangent(2)))
        along = matmul(matrix_transpose(v), dv)
        inner = ew.add(inner, ew.mul(unsqueeze(s, -1), ew.div(ew.sub(along, matrix_transpose(along)), gaps)))
        around.append(matmul(u, matrix_transpose(ew.div(ew.sub(dv, matmul(v, along)), wide))))
    dx = matmul(matmul(u, inner), matrix_transpose(v))
    for more in around:
        dx = ew.add(dx, more)
    return [dx]


def _qr_gradient(c: GradContext[FactorAttrs]) -> Gradients:
    """See Walter and Lehmann (2018), and for columns beyond the number of rows Roberts (2020)."""
    (x,), (q, r) = c.inputs, c.outputs
    rows, columns = x.type.shape[-2:]
    dq, dr = c.cotangent(0), c.cotangent(1)
    if c.attrs.tall:
        if c.attrs.whole and rows != columns:
            raise GradientError(
                f"qr: with more rows than columns mode='complete' has no gradient, and the matrices are {x.type}"
            )
        return [_square_gradient(q, r, dq, dr)]
    beside, more = (piece(one, x.type.rank - 1, rows, columns - rows) for one in (x, dr))
    first, slope = (piece(one, x.type.rank - 1, 0, rows) for one in (r, dr))
    dx = _square_gradient(q, first, ew.add(dq, matmul(beside, matrix_transpose(more))), slope)
    return [concat([dx, matmul(q, more)], -1)]


def _pinv_gradient(c: GradContext[PseudoInverseAttrs]) -> Gradients:
    """See Golub and Pereyra, "The differentiation of pseudo-inverses" (1973); holds while the rank is constant."""
    x, y, slope = c.inputs[0], c.outputs[0], matrix_transpose(c.dy)
    y_transposed, inner = matrix_transpose(y), matmul(slope, y)
    outer = matmul(inner, y_transposed)
    rows = ew.sub(outer, matmul(matmul(x, y), outer))
    columns = matmul(matmul(y_transposed, y), ew.sub(slope, matmul(inner, x)))
    return [ew.sub(ew.add(rows, columns), matrix_transpose(matmul(y, inner)))]


def _square_gradient(q: AbstractTensor, r: AbstractTensor, dq: AbstractTensor, dr: AbstractTensor) -> AbstractTensor:
    """The gradient for matrices with no more columns than rows."""
    inner = ew.sub(matmul(r, matrix_transpose(dr)), matmul(matrix_transpose(dq), q))
    both = ew.add(tril(inner), matrix_transpose(tril(inner, -1)))
    return matrix_transpose(solve(r, matrix_transpose(ew.add(dq, matmul(q, both)))))


#: Takes a symmetric matrix, of which only the lower half is read.
EIGH = register(
    OpDef(
        "Eigh",
        _eigh_infer,
        _eigh_gradient,
        outputs=("values", "vectors"),
        batch=prepend_axis,
        conventional=True,
        family="linear",
    )
)
SVD = register(
    OpDef(
        "Svd",
        _svd_infer,
        _svd_gradient,
        attrs=FactorAttrs,
        outputs=("u", "s", "vh"),
        batch=prepend_axis,
        conventional=lambda attrs: attrs.whole,
        family="linear",
    )
)
PINV = register(
    OpDef("Pinv", _pinv_infer, _pinv_gradient, attrs=PseudoInverseAttrs, batch=prepend_axis, family="linear")
)
QR = register(
    OpDef("Qr", _qr_infer, _qr_gradient, attrs=FactorAttrs, outputs=("q", "r"), batch=prepend_axis, family="linear")
)


class Eigen(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: AbstractTensor
    eigenvectors: AbstractTensor


class Singular(NamedTuple):
    """``U``, the singular values in descending order, and ``Vh``, the transpose of ``V``."""

    U: AbstractTensor
    S: AbstractTensor
    Vh: AbstractTensor


class Triangular(NamedTuple):
    """``Q`` with orthonormal columns, and the upper triangle ``R``."""

    Q: AbstractTensor
    R: AbstractTensor


def eigh(x: AbstractTensor, UPLO: str = "L") -> Eigen:  # noqa: N803 - PyTorch's name
    """The eigenvalues of symmetric matrices in ascending order, and their eigenvectors.

    Parameters
    ----------
    x
        Matrices in the last two axes, of which one half is read.
    UPLO
        Which half: "L" for the lower, "U" for the upper.
    """
    return Eigen(*apply_all(EIGH, NoAttrs(), _half("eigh", x, UPLO)))


def eigvalsh(x: AbstractTensor, UPLO: str = "L") -> AbstractTensor:  # noqa: N803 - PyTorch's name
    """The eigenvalues of symmetric matrices in ascending order; ``UPLO`` as for :func:`eigh`."""
    return apply_all(EIGH, NoAttrs(), _half("eigvalsh", x, UPLO))[0]


def _half(function: str, x: AbstractTensor, uplo: str) -> AbstractTensor:
    """Matrices whose lower half is the chosen half of ``x``."""
    x = floating(x)
    check_square_floats(function, x.type)
    if uplo.upper() not in ("L", "U"):
        raise OptionError(f"{function}: UPLO is 'L' or 'U', got {uplo!r}")
    return x if uplo.upper() == "L" else matrix_transpose(x)


def matrices(function: str, x: AbstractTensor) -> AbstractTensor:
    """``x`` as floating-point matrices; raises if it has fewer than two axes."""
    x = floating(x)
    _check_matrices(function, x.type)
    return x


def _is_tall(x: AbstractTensor) -> bool:
    rows, columns = x.type.shape[-2:]
    return is_at_least(rows, columns)


def svd(x: AbstractTensor, full_matrices: bool = True) -> Singular:
    """``U``, ``S`` and ``Vh`` for which ``U @ diag(S) @ Vh`` is ``x``, the largest singular value first.

    Parameters
    ----------
    x
        Matrices in the last two axes.
    full_matrices
        Whether ``U`` and ``Vh`` are square; otherwise the larger has as many vectors as there are singular values.
        Vectors beyond these take no gradient.
    """
    x = matrices("svd", x)
    return Singular(*apply_all(SVD, FactorAttrs(_is_tall(x), full_matrices), x))


def svdvals(x: AbstractTensor) -> AbstractTensor:
    """The singular values of matrices in descending order."""
    x = matrices("svdvals", x)
    return apply_all(SVD, FactorAttrs(_is_tall(x)), x)[1]


def pseudo_inverse(x: AbstractTensor, rtol: float | None = None) -> AbstractTensor:
    """The pseudo-inverse of matrices; singular values of at most ``rtol`` times the largest count as 0."""
    return apply(PINV, PseudoInverseAttrs(None if rtol is None else float(rtol)), matrices("pinv", x))


def qr(x: AbstractTensor, mode: str = "reduced") -> Triangular:
    """``Q`` with orthonormal columns and an upper triangle ``R`` for which ``Q @ R`` is ``x``.

    Parameters
    ----------
    x
        Matrices in the last two axes.
    mode
        "reduced", "complete" for a square ``Q``, or "r" for an empty one.
    """
    x = matrices("qr", x)
    if mode not in ("reduced", "complete", "r"):
        raise OptionError(f"qr: mode is 'reduced', 'complete' or 'r', got {mode!r}")
    q, r = apply_all(QR, FactorAttrs(_is_tall(x), mode == "complete"), x)
    return Triangular(full(x, 0, (0,)) if mode == "r" else q, r)
