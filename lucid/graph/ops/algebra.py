"""Sums and products of several tensors, and matrices made of vectors."""

from __future__ import annotations

from ...base.checks import shown
from ...errors import OptionError, ShapeError, TraceError
from ..opdef import AbstractTensor, Operand
from ..types import int64, is_float
from . import elementwise as ew
from .composite import eq
from .indexing import index_with
from .linalg import bmm, check_rank, matmul
from .promotion import cast
from .put import counted
from .shape import concat, expand, normal_axis, reshape, unsqueeze
from .slices import piece
from .source import full


def _weighted(x: AbstractTensor, by: float) -> AbstractTensor:
    return x if by == 1 else x * by


def _begun(x: AbstractTensor, beta: float) -> AbstractTensor:
    """What sums begin from: zeros where ``beta`` is 0, whatever it holds (memory that nothing has filled, say)."""
    return full(x, 0) if beta == 0 else _weighted(x, beta)


def addmm(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha * (a @ b)`` of two matrices; with a ``beta`` of 0 no value of ``input`` is read."""
    check_rank("addmm", 2, a=a, b=b)
    return _begun(input, beta) + _weighted(matmul(a, b), alpha)


def baddbmm(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha * (a @ b)`` of two batches of matrices; as for :func:`addmm`."""
    return _begun(input, beta) + _weighted(bmm(a, b), alpha)


def addcmul(input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, value: float = 1) -> AbstractTensor:
    """``input + value * a * b``."""
    return input + _weighted(a * b, value)


def addcdiv(input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, value: float = 1) -> AbstractTensor:
    """``input + value * a / b``."""
    return input + _weighted(a / b, value)


def lerp(input: AbstractTensor, end: AbstractTensor, weight: Operand) -> AbstractTensor:
    """``input + weight * (end - input)``: a point between the two, or beyond one of them."""
    return input + (end - input) * weight


def diag(x: AbstractTensor, diagonal: int = 0) -> AbstractTensor:
    """A matrix with the vector ``x`` on a diagonal, else 0; or the diagonal of the matrix ``x``, as a vector."""
    if x.type.rank == 1:
        size, lead = x.type.shape[0], abs(diagonal)
        numbers = counted(x, size + lead)
        rows, columns = unsqueeze(numbers, 1), unsqueeze(numbers, 0)
        own = concat([full(x, 0, (lead,)), x] if diagonal >= 0 else [x, full(x, 0, (lead,))], 0)  # by column
        return ew.where(eq(columns - rows, diagonal), unsqueeze(own, 0), full(x, 0, ()))
    if x.type.rank != 2:
        raise ShapeError(f"diag: is for vectors and matrices; this tensor is {x.type}")
    rows_, columns_ = x.type.shape
    if not isinstance(rows_, int) or not isinstance(columns_, int):
        raise TraceError(f"diag: how long the diagonal of {x.type} is is not known; compile with that size fixed")
    count = max(0, min(rows_ + min(diagonal, 0), columns_ - max(diagonal, 0)))
    numbers = counted(x, count)
    return index_with(x, (0, 1), [numbers - min(diagonal, 0), numbers + max(diagonal, 0)])


def meshgrid(*operands: AbstractTensor, indexing: str = "ij") -> tuple[AbstractTensor, ...]:
    """Each vector along an axis of its own, repeated along those of the rest; with "xy" the first two trade places."""
    if indexing not in ("ij", "xy"):
        raise OptionError(f'meshgrid: indexing is "ij" or "xy", got {shown(indexing)}')
    if not operands or any(x.type.rank > 1 for x in operands):
        raise ShapeError(f"meshgrid: needs vectors, got {', '.join(str(x.type) for x in operands) or 'nothing'}")
    vectors = [reshape(x, 1) if x.type.rank == 0 else x for x in operands]
    places = list(range(len(vectors)))
    if indexing == "xy" and len(places) > 1:
        places[:2] = 1, 0
    shape = [vectors[i].type.shape[0] for i in places]
    return tuple(
        expand(reshape(x, [n if axis == places[i] else 1 for axis, n in enumerate(shape)]), shape)
        for i, x in enumerate(vectors)
    )


def cumprod(x: AbstractTensor, dim: int) -> AbstractTensor:
    """Running product along ``dim``, whose size is known."""
    x = x if is_float(x.type.dtype) else cast(x, int64)
    axis = normal_axis("cumprod", dim, x.type.rank, scalar=True)
    if not x.type.rank:
        return x
    size = x.type.shape[axis]
    if not isinstance(size, int):
        raise TraceError(f"cumprod: axis {axis} of {x.type} has no known size; compile with that size fixed")
    step = 1
    while step < size:  # then each is the product of twice as many
        ones = full(x, 1, (*x.type.shape[:axis], step, *x.type.shape[axis + 1 :]))
        x = x * concat([ones, piece(x, axis, 0, size - step)], axis)
        step *= 2
    return x
