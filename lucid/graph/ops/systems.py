"""Linear systems: triangular, with Cholesky factors, over- and underdetermined ones, and those of tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...errors import OptionError, ShapeError, TraceError
from ..dims import Dim
from ..opdef import AbstractTensor
from ..types import format_shape, int64, is_float, product
from . import elementwise as ew
from . import reduce
from .composite import gt
from .decompositions import matrices, pseudo_inverse, svdvals
from .diagonals import diag_embed, tril, triu
from .linalg import check_square_floats, matmul, matrix_transpose
from .promotion import cast, floating, promote
from .put import counted
from .shape import expand, normal_axes, permute, reshape, squeeze, unsqueeze
from .slices import piece
from .solving import inv, solve
from .source import full
from .vector_norms import matrix_norm


class LeastSquares(NamedTuple):
    """The solution, the residuals, the ranks of the matrices, and empty singular values, as in PyTorch's default."""

    solution: AbstractTensor
    residuals: AbstractTensor
    rank: AbstractTensor
    singular_values: AbstractTensor


def _identity(like: AbstractTensor) -> AbstractTensor:
    """The identity of the size of square matrices, for each of them."""
    return diag_embed(full(like, 1, like.type.shape[:-1]))


def solve_triangular(
    a: AbstractTensor, b: AbstractTensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> AbstractTensor:
    """The ``y`` for which ``a @ y`` is the matrix ``b``, or if not ``left`` ``y @ a``, reading one triangle of ``a``.

    Parameters
    ----------
    a
        Square matrices, of which the upper triangle is read, or the lower if not ``upper``.
    b
        Matrices whose batch axes broadcast with those of ``a``.
    upper, left
        Which triangle is read, and on which side of ``y`` it is.
    unitriangular
        Whether the diagonal counts as ones, whatever it holds; otherwise a 0 in it is an error when the program runs.
    """
    a, b = (floating(x) for x in promote(a, b))
    check_square_floats("solve_triangular", a.type)
    if b.type.rank < 2:
        raise ShapeError(f"solve_triangular: b is a matrix or a batch of them, got {b.type}; write b.unsqueeze(-1)")
    beside = int(unitriangular)
    triangle = triu(a, beside) if upper else tril(a, -beside)
    return solve(ew.add(triangle, _identity(a)) if unitriangular else triangle, b, left=left)


def cholesky_solve(b: AbstractTensor, factor: AbstractTensor, upper: bool = False) -> AbstractTensor:
    """The ``y`` for which ``L @ L.mT @ y`` is ``b``; the ``factor`` is ``L``, or its transpose where ``upper``."""
    lower = matrix_transpose(factor) if upper else factor
    return solve_triangular(matrix_transpose(lower), solve_triangular(lower, b, upper=False), upper=True)


def cholesky_inverse(factor: AbstractTensor, upper: bool = False) -> AbstractTensor:
    """The inverse of ``L @ L.mT``; the ``factor`` is ``L``, or its transpose where ``upper``."""
    factor = floating(factor)
    check_square_floats("cholesky_inverse", factor.type)
    return cholesky_solve(_identity(factor), factor, upper)


def pinv(x: AbstractTensor, rtol: float | None = None, hermitian: bool = False) -> AbstractTensor:
    """The pseudo-inverse of each matrix of the last two axes.

    Parameters
    ----------
    x
        Matrices of any shape and rank; the gradient is right if the rank is constant nearby.
    rtol
        Singular values count for 0 that are at most so much of the largest; when omitted, as much as rounding makes.
    hermitian
        Whether only the lower halves of the matrices, which are symmetric, are read.
    """
    return pseudo_inverse(_whole("pinv", x, hermitian), rtol)


def _whole(op: str, x: AbstractTensor, hermitian: bool) -> AbstractTensor:
    """Matrices; if ``hermitian``, symmetric ones made from the lower halves."""
    x = matrices(op, x)
    if not hermitian:
        return x
    check_square_floats(op, x.type)
    return ew.add(tril(x), matrix_transpose(tril(x, -1)))


def matrix_rank(
    x: AbstractTensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False
) -> AbstractTensor:
    """How many singular values of each matrix are more than ``atol`` and than ``rtol`` times the largest, as int64."""
    x = _whole("matrix_rank", x, hermitian)
    sizes = x.type.shape[-2:]
    if rtol is None:
        if not all(isinstance(size, int) for size in sizes):
            raise TraceError(f"matrix_rank: give rtol, as the size of {x.type} is not known")
        rtol = (
            0.0
            if atol
            else max(size for size in sizes if isinstance(size, int)) * float(np.finfo(x.type.dtype.name).eps)
        )
    values = svdvals(x)
    if values.type.shape[-1] == 0:
        return full(values, 0, values.type.shape[:-1], int64)
    edge = ew.maximum(ew.mul(reduce.amax(values, -1, True), float(rtol)), float(atol or 0.0))
    return reduce.sum(cast(gt(values, edge), int64), -1)


def cond(x: AbstractTensor, p: object = None) -> AbstractTensor:
    """The condition number: a norm of each matrix times that of its inverse.

    ``p`` is the norm's order, as for ``matrix_norm``; None is 2. Other norms than 2 and -2 need an inverse.
    """
    x = matrices("cond", x)
    if p in (None, 2, -2):
        values = svdvals(x)
        count = values.type.shape[-1]
        ends = [squeeze(piece(values, values.type.rank - 1, at, 1), -1) for at in (0, count - 1)]
        return ew.div(*(ends[::-1] if p == -2 else ends))
    return ew.mul(matrix_norm(x, p), matrix_norm(inv(x), p))


def lstsq(a: AbstractTensor, b: AbstractTensor, rcond: float | None = None) -> LeastSquares:
    """The least-squares solution ``y`` of ``a @ y = b``; of several, that with the smallest norm.

    Parameters
    ----------
    a
        Matrices, in the last two axes.
    b
        Matrices, or vectors if it has the shape of ``a`` without the last axis.
    rcond
        Singular values count for 0 that are at most so much of the largest; when omitted, as much as rounding makes.

    Returns
    -------
    LeastSquares
        With more equations than unknowns, ``residuals`` holds the sums of squared residuals, as in NumPy.
    """
    a, b = (floating(x) for x in promote(a, b))
    a = matrices("lstsq", a)
    vectors = b.type.rank == a.type.rank - 1 and b.type.shape == a.type.shape[:-1]
    columns = unsqueeze(b, -1) if vectors else b
    if columns.type.rank < 2 or columns.type.shape[-2] != a.type.shape[-2]:
        raise ShapeError(f"lstsq: the right-hand sides {b.type} do not fit the matrices {a.type}")
    solution = matmul(pseudo_inverse(a, rcond), columns)
    residuals = full(a, 0, (0,))
    rows, unknowns = a.type.shape[-2:]
    if isinstance(rows, int) and isinstance(unknowns, int) and rows > unknowns:
        residuals = reduce.sum(ew.pow_(ew.sub(matmul(a, solution), columns), 2), -2)
        residuals = squeeze(residuals, -1) if vectors else residuals
    return LeastSquares(
        squeeze(solution, -1) if vectors else solution, residuals, matrix_rank(a, rtol=rcond), full(a, 0, (0,))
    )


def tensorsolve(a: AbstractTensor, b: AbstractTensor, dims: tuple[int, ...] | None = None) -> AbstractTensor:
    """The ``y`` for which ``tensordot(a, y, y.ndim)`` is ``b``; the axes ``dims`` of ``a`` are moved to its end."""
    if dims is not None:
        last = normal_axes("tensorsolve", dims, a.type.rank)
        a = permute(a, [*(axis for axis in range(a.type.rank) if axis not in last), *last])
    unknown = a.type.shape[b.type.rank :]
    if product(unknown) != b.type.size or product(a.type.shape[: b.type.rank]) != b.type.size:
        raise ShapeError(f"tensorsolve: {a.type} and {b.type} are no system with as many equations as unknowns")
    found = solve(reshape(a, (b.type.size, b.type.size)), reshape(b, (b.type.size,)))
    return reshape(found, unknown)


def tensorinv(x: AbstractTensor, ind: int = 2) -> AbstractTensor:
    """The ``y`` for which ``tensordot(y, x, ind)`` is the identity: the inverse over the first ``ind`` axes."""
    if not 0 < ind < x.type.rank + 1:
        raise OptionError(f"tensorinv: ind is from 1 to the rank of {x.type}, got {ind}")
    first, rest = x.type.shape[:ind], x.type.shape[ind:]
    if product(first) != product(rest):
        raise ShapeError(f"tensorinv: {format_shape(first)} and {format_shape(rest)} of {x.type} are not of one size")
    return reshape(inv(reshape(x, (product(first), product(rest)))), (*rest, *first))


def vander(x: AbstractTensor, N: Dim | None = None) -> AbstractTensor:  # noqa: N803 - PyTorch's name
    """The powers of each element along a new last axis, from the 0th to before the ``N``-th; of integers as int64."""
    if not x.type.rank:
        raise ShapeError("vander: a scalar has no axis")
    count = x.type.shape[-1] if N is None else N
    x = x if is_float(x.type.dtype) else cast(x, int64)
    powers = cast(counted(x, count), x.type.dtype)
    return ew.pow_(expand(unsqueeze(x, -1), (*x.type.shape, count)), powers)
