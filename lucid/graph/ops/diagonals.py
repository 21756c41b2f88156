"""Diagonals of matrices: extraction, traces, construction; and triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...base.arrays import Array
from ...errors import ShapeError
from ..assume import is_at_least
from ..dims import Dim
from ..opdef import AbstractTensor
from ..types import int64
from . import elementwise as ew
from . import reduce
from .composite import eq, movedim
from .indexing import index_with
from .linalg import check_rank
from .put import counted
from .shape import concat, normal_axis, reshape, unsqueeze
from .slices import piece, take_slice
from .source import full


def _least(a: Dim, b: Dim) -> Dim:
    return a if is_at_least(b, a) else b


def diagonal(x: AbstractTensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> AbstractTensor:
    """The diagonal over two axes, ``offset`` places to the right of the main one, as a last axis in their stead.

    It is a view of ``x``.
    """
    axes = [normal_axis("diagonal", dim, x.type.rank) for dim in (dim1, dim2)]
    if axes[0] == axes[1]:
        raise ShapeError(f"diagonal: dim1 and dim2 are the same axis, {axes[0]}, of {x.type}")
    if axes[0] > axes[1]:
        axes, offset = axes[::-1], -offset
    rows, columns = (x.type.shape[axis] for axis in axes)
    found: AbstractTensor
    if axes[1] == axes[0] + 1 and isinstance(rows, int) and isinstance(columns, int):
        found = movedim(_where_it_lies(x, axes[0], (rows, columns), offset), axes[0], -1)
    else:
        found = _of_matrices(movedim(x, axes, (-2, -1)), offset)
    down, right = max(0, -offset), max(0, offset)

    def see(array: Array) -> Array:
        matrices = np.moveaxis(array, axes, (-2, -1))[..., down:, right:]
        count = min(matrices.shape[-2:])
        return np.asarray(np.einsum("...ii->...i", matrices[..., :count, :count]))

    found.part_of(x, lambda whole: diagonal(whole, offset, *axes), see)
    return found


def diagonal_of_matrices(x: AbstractTensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> AbstractTensor:
    """As :func:`diagonal`, by default of the last two axes."""
    return diagonal(x, offset, dim1, dim2)


def _where_it_lies(x: AbstractTensor, axis: int, size: tuple[int, int], offset: int) -> AbstractTensor:
    """The diagonals over ``axis`` and the next, in their stead: of the same memory, if ``x`` has no gaps."""
    (rows, columns), shape = size, x.type.shape
    count = min(rows - max(0, -offset), columns - max(0, offset))
    flat = reshape(x, (*shape[:axis], rows * columns, *shape[axis + 2 :]))
    if count < 1:
        return piece(flat, axis, 0, 0)
    starts, sizes, steps = [0] * flat.type.rank, list(flat.type.shape), [1] * flat.type.rank
    starts[axis], sizes[axis], steps[axis] = max(0, -offset) * columns + max(0, offset), count, columns + 1
    return take_slice(flat, starts, sizes, steps)


def _of_matrices(x: AbstractTensor, offset: int) -> AbstractTensor:
    """The diagonals of the last two axes."""
    down, right = max(0, -offset), max(0, offset)
    count = _least(x.type.shape[-2] - down, x.type.shape[-1] - right)
    numbers = counted(x, count if is_at_least(count, 0) else 0)
    rank = x.type.rank
    return index_with(x, (rank - 2, rank - 1), [numbers + down, numbers + right])


def diag_embed(x: AbstractTensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> AbstractTensor:
    """Matrices, over axes ``dim1`` and ``dim2``, with the last axis of ``x`` on a diagonal and 0 beside it."""
    rank = x.type.rank + 1
    axes = [normal_axis("diag_embed", dim, rank) for dim in (dim1, dim2)]
    if axes[0] == axes[1] or rank < 2:
        raise ShapeError(f"diag_embed: needs two axes for the rows and columns of {x.type}, got {dim1} and {dim2}")
    numbers = counted(x, x.type.shape[-1] + abs(offset))
    beside = full(x, 0, (*x.type.shape[:-1], abs(offset)))
    by_column = concat([beside, x] if offset >= 0 else [x, beside], -1)
    there = eq(unsqueeze(numbers, 0) - unsqueeze(numbers, 1), offset)
    return movedim(ew.where(there, unsqueeze(by_column, -2), full(x, 0, ())), (-2, -1), axes)


def diag(x: AbstractTensor, diagonal: int = 0) -> AbstractTensor:
    """A matrix with the vector ``x`` on a diagonal, else 0; or the diagonal of the matrix ``x``, as a vector."""
    if x.type.rank not in (1, 2):
        raise ShapeError(f"diag: is for vectors and matrices; this tensor is {x.type}")
    return diag_embed(x, diagonal) if x.type.rank == 1 else _of_matrices(x, diagonal)


def trace(x: AbstractTensor) -> AbstractTensor:
    """The sum of a matrix's diagonal."""
    check_rank("trace", 2, x=x)
    return reduce.sum(_of_matrices(x, 0))


def block_diag(*operands: AbstractTensor) -> AbstractTensor:
    """One matrix with the given ones (vectors as rows) along its diagonal, and zeros beside them."""
    if not operands or any(x.type.rank > 2 for x in operands):
        raise ShapeError(f"block_diag: needs matrices, got {_types(operands) or 'nothing'}")
    blocks = [x if x.type.rank == 2 else reshape(x, 1, -1) for x in ew.promote(*operands)]
    widths = [x.type.shape[1] for x in blocks]
    rows = []
    for i, x in enumerate(blocks):
        beside = [full(x, 0, (x.type.shape[0], width)) for width in widths]
        rows.append(concat([*beside[:i], x, *beside[i + 1 :]], 1))
    return concat(rows, 0)


def _types(tensors: Sequence[AbstractTensor]) -> str:
    return ", ".join(str(x.type) for x in tensors)


def tril(x: AbstractTensor, diagonal: int = 0) -> AbstractTensor:
    """``x`` where the column is at most the row plus ``diagonal``, else 0."""
    return ew.where(ew.compare(ew.LESS_EQUAL, _columns_less_rows("tril", x), diagonal), x, full(x, 0, ()))


def triu(x: AbstractTensor, diagonal: int = 0) -> AbstractTensor:
    """``x`` where the column is at least the row plus ``diagonal``, else 0."""
    return ew.where(ew.compare(ew.GREATER_EQUAL, _columns_less_rows("triu", x), diagonal), x, full(x, 0, ()))


def _columns_less_rows(name: str, x: AbstractTensor) -> AbstractTensor:
    """The number of the column less that of the row, for each place of a matrix of that size."""
    if x.type.rank < 2:
        raise ShapeError(f"{name}: is for matrices and batches of them; this tensor is {x.type}")
    rows, columns = x.type.shape[-2:]
    return reduce.cumsum(full(x, 1, (1, columns), int64), 1) - reduce.cumsum(full(x, 1, (rows, 1), int64), 0)
