"""Functions that programs call where NumPy has no single function: checks of values, and computations in steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ...base.arrays import Array
from ...errors import ExecutionError, ShapeError
from ..program.views import as_view


def check_divisor(divisor: Array) -> None:
    """Raise if an integer would be divided by 0, like PyTorch; NumPy would return 0."""
    if not divisor.all():
        raise ExecutionError("integers are divided by 0; take lucid.where(b == 0, 1, b) as the divisor, or floats")


def check_range(index: Array, size: int, op: str, axis: int, wrap: bool) -> None:
    """Raise if an index is outside an axis of ``size`` elements; ``wrap`` allows negative ones."""
    if index.size == 0:
        return
    # takes a quarter of the time of min() and max()
    low, high = index.item(index.argmin()), index.item(index.argmax())
    if high >= size or low < (-size if wrap else 0):
        wrong = high if high >= size else low
        hint = "" if wrap or wrong >= size else "; negative indices are not allowed here"
        raise ShapeError(f"{op}: index {wrong} is out of range for axis {axis} of size {size}{hint}")


def check_expected(condition: Array, value: bool, message: str) -> None:
    """Raise if a condition does not have the expected value."""
    if bool(condition) != value:
        raise ExecutionError(message)


def check_probabilities(name: str, x: Array) -> None:
    """Raise if an array holds anything but numbers from 0 to 1."""
    if x.size and not (x.min() >= 0 and x.max() <= 1):  # both are false for NaN
        hint = "; of logits take binary_cross_entropy_with_logits" if name == "input" else ""
        raise ExecutionError(
            f"binary_cross_entropy: the {name} must lie between 0 and 1 everywhere, got {x.min():.6g} to "
            f"{x.max():.6g}{hint}"
        )


def inverse(x: Array) -> Array:
    """The inverse of each matrix."""
    try:
        result: Array = np.linalg.inv(x)
    except np.linalg.LinAlgError as error:
        raise ExecutionError("inv: a matrix is singular, so it has no inverse") from error
    return result


def solution(a: Array, b: Array) -> Array:
    """The solution ``x`` of ``a @ x = b`` for each matrix."""
    try:
        result: Array = np.linalg.solve(a, b)
    except np.linalg.LinAlgError as error:
        raise ExecutionError("solve: a matrix is singular, so there is no one solution") from error
    return result


def cholesky_factor(x: Array) -> Array:
    """The lower triangular matrix ``l`` with ``l @ l.T = x``, for each matrix."""
    try:
        result: Array = np.linalg.cholesky(x)
    except np.linalg.LinAlgError as error:
        raise ExecutionError("cholesky: a matrix is not positive definite") from error
    return result


def eigenvectors(x: Array, values: Array | None, vectors: Array | None) -> None:
    """Write the eigenvalues of symmetric matrices and their eigenvectors to those of the arrays that are not None.

    The results for a matrix that is not finite are NaN; LAPACK may return finite ones.
    """
    not_finite: Array = np.logical_not(np.isfinite(x).all((-2, -1), keepdims=True))
    if not_finite.any():
        x = np.where(not_finite, 0, x)
    with _converging("eigh"):
        if vectors is None:
            _keep((np.linalg.eigvalsh(x),), (values,))
        else:
            _keep(np.linalg.eigh(x), (values, vectors))
    if values is not None:
        np.copyto(values, np.nan, where=not_finite[..., 0])
    if vectors is not None:
        np.copyto(vectors, np.nan, where=not_finite)


def singular_vectors(x: Array, whole: bool, u: Array | None, s: Array | None, vh: Array | None) -> None:
    """Write the singular value decomposition of matrices to those of the arrays that are not None."""
    with _converging("svd"):
        if u is None and vh is None:
            _keep((np.linalg.svd(x, compute_uv=False),), (s,))
        else:
            _keep(np.linalg.svd(x, full_matrices=whole), (u, s, vh))


def pseudo_inverse(x: Array, cutoff: float, y: Array) -> None:
    """Write the pseudo-inverse to ``y``; singular values up to ``cutoff`` times the largest count as 0."""
    if not x.size:
        return
    with _converging("pinv"):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
    kept = np.logical_not(s <= cutoff * s.max(-1, keepdims=True))  # true for NaN, which then appears in the result
    inverses = np.divide(1, s, out=np.zeros_like(s), where=kept)
    np.matmul(vh.swapaxes(-1, -2), inverses[..., None] * u.swapaxes(-1, -2), out=y)


def orthogonal_and_triangle(x: Array, whole: bool, q: Array | None, r: Array | None) -> None:
    """Write the QR decomposition of matrices to those of the arrays that are not None."""
    _keep(np.linalg.qr(x, "complete" if whole else "reduced"), (q, r))


@contextmanager
def _converging(function: str) -> Iterator[None]:
    """A context in which a failure to converge is reported as an error of this function."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise ExecutionError(f"{function}: it does not converge, as a matrix has NaN or infinities in it") from error


def _keep(results: Sequence[Array], outs: Sequence[Array | None]) -> None:
    """Copy results to those of the arrays that are not None."""
    for x, y in zip(results, outs, strict=True):
        if y is not None:
            y[...] = x


def integer_power(a: Array, b: Array, out: Array) -> None:
    """``a ** b`` of integers; a negative power is truncated towards 0, and 0 for a base of 0, as in PyTorch."""
    np.power(a, np.maximum(b, 0), out=out)
    odd = np.where(b % 2 == 0, 1, -1)
    np.copyto(out, np.where(a == 1, 1, np.where(a == -1, odd, 0)), where=b < 0, casting="unsafe")


def determinants(x: Array, out: Array) -> None:
    """The determinants of matrices; NaN if elimination ended at a pivot of 0 before it met a NaN or an infinity."""
    out[...] = np.linalg.det(x)
    missed = np.isnan(x).any((-2, -1)) | (np.isinf(x).any((-2, -1)) & np.isfinite(out))
    np.copyto(out, np.nan, where=missed)


def add_along_axis(y: Array, index: Array, values: Array, axis: int) -> None:
    """Add each value to ``y`` at its (non-negative) index along the axis, in row-major order.

    ``np.add.at`` is some five times as fast with one flat index as with one per axis.
    """
    if not values.size:
        return
    if not y.flags.c_contiguous:
        places: list[Array] = list(np.ogrid[tuple(slice(0, size) for size in index.shape)])
        places[axis] = index
        np.add.at(y, tuple(places), values)
    elif axis == 0 and index.shape[1:] == y.shape[1:] and not any(index.strides[1:]):
        add_rows(y, index.transpose()[(0,) * (index.ndim - 1)], values)  # the index was broadcast over whole slices
    else:
        steps = [step // y.itemsize for step in y.strides]
        places = [np.arange(0, size * step, step) for size, step in zip(index.shape, steps, strict=True)]
        places[axis] = np.zeros(1, np.intp)
        flat = index * steps[axis] + sum(np.ix_(*places))
        np.add.at(as_view(y, -1), flat.reshape(-1), values.reshape(-1))


def add_rows(y: Array, index: Array, values: Array) -> None:
    """Add each slice of ``values`` to the slice of (row-major) ``y`` at its index along the first axis.

    ``np.add.at`` is two to four times as fast with a flat index of all elements as with one of rows.
    """
    if values.size:
        width = y.size // len(y)
        places = np.add.outer(index.reshape(-1) % len(y) * width, np.arange(width))
        np.add.at(as_view(y, -1), places.reshape(-1), values.reshape(-1))


def set_in_order(y: Array, axes: tuple[int, ...], indices: tuple[Array, ...], values: Array) -> None:
    """Set the elements at ``indices`` along ``axes`` in row-major order: the last of several values for one stays.

    The indices are flattened, because NumPy assigns by several axes of indices in the order of their memory.
    """
    spread = np.broadcast_arrays(*indices)
    rank = spread[0].ndim
    first = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0  # position of the indices' axes in the values
    rows = np.moveaxis(values, range(first, first + rank), range(rank))
    target = np.moveaxis(y, axes, range(len(axes)))
    target[tuple(index.ravel() for index in spread)] = rows.reshape(spread[0].size, *rows.shape[rank:])


PARTITION_RATIO = 8
"""If an axis has at least this many times as many elements as are asked for, partitioning is faster than sorting."""


def places_of_largest(x: Array, axis: int, count: int, largest: bool) -> Array:
    """The indices of the largest (or smallest) elements along an axis, in order; of equal ones the first come first."""
    rows = np.moveaxis(x, axis, -1)
    size = rows.shape[-1]
    few = _unsorted(rows, count, largest) if 0 < count * PARTITION_RATIO <= size and rows.size else None
    if few is None:
        places = _sorted(rows, largest)[..., :count]
    else:
        order = _sorted(np.take_along_axis(rows, few, -1), largest)
        places = np.take_along_axis(few, order, -1)
    return np.moveaxis(places, -1, axis)


def _sorted(rows: Array, largest: bool) -> Array:
    """The indices that sort each row; equal elements stay in order."""
    if not largest:
        return np.argsort(rows, axis=-1, kind="stable")
    backwards = np.argsort(rows[..., ::-1], axis=-1, kind="stable")
    return np.asarray(rows.shape[-1] - 1 - backwards[..., ::-1])


def _unsorted(rows: Array, count: int, largest: bool) -> Array | None:
    """The indices of the ``count`` largest (or smallest) elements of each row, by index; None if NaN is among them."""
    at = rows.shape[-1] - count if largest else count - 1
    bound = np.partition(rows, at, axis=-1)[..., at, None]
    if rows.dtype.kind == "f" and np.isnan(rows.max() if largest else bound).any():
        return None
    beyond = rows > bound if largest else rows < bound
    equal = rows == bound
    left = count - beyond.sum(-1, keepdims=True)
    chosen = beyond | (equal & (np.cumsum(equal, -1) <= left))
    return np.asarray(np.nonzero(chosen)[-1].reshape(*rows.shape[:-1], count))
