"""Matrices as products of simpler ones: eigenvectors of symmetric ones, singular vectors, and orthogonal by triangular.

Signs of vectors, and vectors of equal values, are as LAPACK has them; gradients are right of what does not depend on
these, as in PyTorch.
"""

from __future__ import annotations

from typing import NamedTuple

from ...errors import DTypeError, GradientError, OptionError, ShapeError
from ..dims import Dim
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, NoAttrs, OpDef, apply_all, attributes, register
from ..types import TensorType, is_float
from . import elementwise as ew
from .diagonals import diag_embed
from .everyday import tril
from .linalg import check_square_floats, matmul
from .promotion import floating
from .shape import concat, transpose, unsqueeze
from .slices import narrow
from .solving import solve
from .source import full


@attributes
class WholeAttrs(Attrs):
    """Whether the orthogonal matrices are square, also where fewer columns are enough."""

    whole: bool = False


def _fewer(op: str, x: TensorType) -> Dim:
    """The smaller of the two sizes of matrices."""
    if not is_float(x.dtype):
        raise DTypeError(f"{op}: needs floating-point matrices, got {x}")
    if x.rank < 2:
        raise ShapeError(f"{op}: needs matrices, got {x}")
    rows, columns = x.shape[-2:]
    if rows == columns:
        return rows
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError(f"{op}: whether there are more rows or columns in {x} is not known: compile for known sizes")
    return min(rows, columns)


def _eigh_infer(attrs: NoAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    check_square_floats("Eigh", x)
    return x.with_shape(x.shape[:-1]), x.with_shape(x.shape)


def _svd_infer(attrs: WholeAttrs, x: TensorType) -> tuple[TensorType, TensorType, TensorType]:
    fewer = _fewer("Svd", x)
    *batch, rows, columns = x.shape
    left, right = (rows, columns) if attrs.whole else (fewer, fewer)
    return x.with_shape((*batch, rows, left)), x.with_shape((*batch, fewer)), x.with_shape((*batch, right, columns))


def _qr_infer(attrs: WholeAttrs, x: TensorType) -> tuple[TensorType, TensorType]:
    fewer = _fewer("Qr", x)
    *batch, rows, columns = x.shape
    inner = rows if attrs.whole else fewer
    return x.with_shape((*batch, rows, inner)), x.with_shape((*batch, inner, columns))


def _turned(x: AbstractTensor) -> AbstractTensor:
    return transpose(x, -1, -2)


def _gaps(values: AbstractTensor) -> AbstractTensor:
    """In row i and column j how much the j-th value is above the i-th, and 1 on the diagonal."""
    gaps = ew.sub(unsqueeze(values, -2), unsqueeze(values, -1))
    return ew.add(gaps, diag_embed(full(values, 1, values.type.shape)))


def _beside_diagonal(x: AbstractTensor) -> AbstractTensor:
    """The matrices with 0 on their diagonals."""
    return ew.add(tril(x, -1), ew.sub(x, tril(x)))


def _eigh_gradient(c: GradContext) -> Gradients:
    """As of a symmetric matrix, by both of its halves (Magnus, 1985)."""
    values, vectors = c.outputs
    inner = diag_embed(c.cotangent(0))
    if c.cotangents[1] is not None:
        moved = ew.div(matmul(_turned(vectors), c.cotangent(1)), _gaps(values))
        inner = ew.add(inner, _beside_diagonal(moved))
    inner = ew.mul(ew.add(inner, _turned(inner)), 0.5)
    return [matmul(matmul(vectors, inner), _turned(vectors))]


def _svd_gradient(c: GradContext[WholeAttrs]) -> Gradients:
    """By Townsend, "Differentiating the singular value decomposition" (2016)."""
    s = c.outputs[1]

    def some(x: AbstractTensor) -> AbstractTensor:
        """As many columns as there are singular values."""
        return narrow(x, -1, 0, s.type.shape[-1]) if c.attrs.whole else x

    u, v = some(c.outputs[0]), some(_turned(c.outputs[2]))
    gaps, wide = _gaps(ew.mul(s, s)), unsqueeze(s, -2)
    inner = diag_embed(c.cotangent(1))
    around: list[AbstractTensor] = []
    if c.cotangents[0] is not None:
        du = some(c.cotangent(0))
        along = matmul(_turned(u), du)
        inner = ew.add(inner, ew.mul(ew.div(ew.sub(along, _turned(along)), gaps), wide))
        around.append(matmul(ew.div(ew.sub(du, matmul(u, along)), wide), _turned(v)))
    if c.cotangents[2] is not None:
        dv = some(_turned(c.cotangent(2)))
        along = matmul(_turned(v), dv)
        inner = ew.add(inner, ew.mul(unsqueeze(s, -1), ew.div(ew.sub(along, _turned(along)), gaps)))
        around.append(matmul(u, _turned(ew.div(ew.sub(dv, matmul(v, along)), wide))))
    dx = matmul(matmul(u, inner), _turned(v))
    for more in around:
        dx = ew.add(dx, more)
    return [dx]


def _qr_gradient(c: GradContext[WholeAttrs]) -> Gradients:
    """Walter and Lehmann (2018); of the columns that are more than the rows, by the others (Roberts, 2020)."""
    (x,), (q, r) = c.inputs, c.outputs
    rows, columns = x.type.shape[-2:]
    fewer = _fewer("Qr", x.type)
    if c.attrs.whole and fewer != rows:
        raise GradientError(
            f"qr: with more rows than columns mode='complete' has no gradient, and the matrices are {x.type}"
        )
    dq, dr = c.cotangent(0), c.cotangent(1)
    if fewer == columns:
        return [_square_gradient(q, r, dq, dr)]
    beside, more = (narrow(one, -1, fewer, columns - fewer) for one in (x, dr))
    first, slope = (narrow(one, -1, 0, fewer) for one in (r, dr))
    dx = _square_gradient(q, first, ew.add(dq, matmul(beside, _turned(more))), slope)
    return [concat([dx, matmul(q, more)], -1)]


def _square_gradient(q: AbstractTensor, r: AbstractTensor, dq: AbstractTensor, dr: AbstractTensor) -> AbstractTensor:
    """Of matrices with no more columns than rows."""
    inner = ew.sub(matmul(r, _turned(dr)), matmul(_turned(dq), q))
    both = ew.add(tril(inner), _turned(tril(inner, -1)))
    return _turned(solve(r, _turned(ew.add(dq, matmul(q, both)))))


#: Of a matrix that is taken for symmetric: its lower half is read.
EIGH = register(
    OpDef("Eigh", _eigh_infer, _eigh_gradient, outputs=("values", "vectors"), conventional=True, family="linear")
)
SVD = register(
    OpDef(
        "Svd",
        _svd_infer,
        _svd_gradient,
        attrs=WholeAttrs,
        outputs=("u", "s", "vh"),
        conventional=lambda attrs: attrs.whole,
        family="linear",
    )
)
QR = register(OpDef("Qr", _qr_infer, _qr_gradient, attrs=WholeAttrs, outputs=("q", "r"), family="linear"))


class Eigen(NamedTuple):
    """Eigenvalues, the smallest first, and eigenvectors as columns."""

    eigenvalues: AbstractTensor
    eigenvectors: AbstractTensor


class Singular(NamedTuple):
    """``U``, singular values, the largest first, and ``Vh``, the transpose of ``V``."""

    U: AbstractTensor
    S: AbstractTensor
    Vh: AbstractTensor


class Triangular(NamedTuple):
    """Orthonormal columns, and what makes the matrix of them: an upper triangle."""

    Q: AbstractTensor
    R: AbstractTensor


def eigh(x: AbstractTensor, UPLO: str = "L") -> Eigen:  # noqa: N803 - PyTorch's name
    """The eigenvalues of symmetric matrices, the smallest first, and their eigenvectors.

    Parameters
    ----------
    x
        Matrices in the last two axes, of which one half is read.
    UPLO
        Which half: "L" for the lower, "U" for the upper.
    """
    return Eigen(*apply_all(EIGH, NoAttrs(), _half("eigh", x, UPLO)))


def eigvalsh(x: AbstractTensor, UPLO: str = "L") -> AbstractTensor:  # noqa: N803 - PyTorch's name
    """The eigenvalues of symmetric matrices, the smallest first; ``UPLO`` is that of :func:`eigh`."""
    return apply_all(EIGH, NoAttrs(), _half("eigvalsh", x, UPLO))[0]


def _half(function: str, x: AbstractTensor, uplo: str) -> AbstractTensor:
    """Matrices whose lower half is that half of ``x``."""
    x = floating(x)
    check_square_floats(function, x.type)
    if uplo.upper() not in ("L", "U"):
        raise OptionError(f"{function}: UPLO is 'L' or 'U', got {uplo!r}")
    return x if uplo.upper() == "L" else _turned(x)


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
    x = floating(x)
    _fewer("svd", x.type)
    return Singular(*apply_all(SVD, WholeAttrs(full_matrices), x))


def svdvals(x: AbstractTensor) -> AbstractTensor:
    """The singular values of matrices, the largest first."""
    x = floating(x)
    _fewer("svdvals", x.type)
    return apply_all(SVD, WholeAttrs(), x)[1]


def qr(x: AbstractTensor, mode: str = "reduced") -> Triangular:
    """``Q`` with orthonormal columns and an upper triangle ``R`` for which ``Q @ R`` is ``x``.

    Parameters
    ----------
    x
        Matrices in the last two axes.
    mode
        "reduced", "complete" for a square ``Q``, or "r" for an empty one.
    """
    x = floating(x)
    _fewer("qr", x.type)
    if mode not in ("reduced", "complete", "r"):
        raise OptionError(f"qr: mode is 'reduced', 'complete' or 'r', got {mode!r}")
    q, r = apply_all(QR, WholeAttrs(mode == "complete"), x)
    return Triangular(full(x, 0, (0,)) if mode == "r" else q, r)
