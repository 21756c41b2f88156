"""Sums and products of several tensors, and grids made from vectors."""

from __future__ import annotations

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..opdef import AbstractTensor, Operand
from ..types import broadcast_shapes, is_float
from .linalg import bmm, check_rank, matmul, outer
from .shape import expand, reshape
from .source import full


def _weighted(x: AbstractTensor, by: float) -> AbstractTensor:
    return x if by == 1 else x * by


def _begun(x: AbstractTensor, beta: float) -> AbstractTensor:
    """What sums begin from: zeros where ``beta`` is 0, whatever it holds (memory that nothing has filled, say)."""
    return full(x, 0) if beta == 0 else _weighted(x, beta)


def _spread(op: str, input: AbstractTensor, product: AbstractTensor) -> AbstractTensor:
    """Check that ``input`` broadcasts to the shape of the product, rather than both to another one."""
    if input.type.rank > product.type.rank or broadcast_shapes(op, input.type.shape, product.type.shape) != (
        product.type.shape
    ):
        raise ShapeError(f"{op}: {input.type} does not broadcast to the product {product.type}")
    return input


def addmm(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha * (a @ b)`` of two matrices; with a ``beta`` of 0 no value of ``input`` is read."""
    check_rank("addmm", 2, a=a, b=b)
    product = matmul(a, b)
    return _begun(_spread("addmm", input, product), beta) + _weighted(product, alpha)


def baddbmm(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha * (a @ b)`` of two batches of matrices; as for :func:`addmm`."""
    product = bmm(a, b)
    return _begun(_spread("baddbmm", input, product), beta) + _weighted(product, alpha)


def addbmm(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha *`` the sum of the products of two batches of matrices; as for :func:`addmm`."""
    product = bmm(a, b).sum(0)
    return _begun(_spread("addbmm", input, product), beta) + _weighted(product, alpha)


def addmv(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha * (a @ b)`` of a matrix and a vector; as for :func:`addmm`."""
    check_rank("addmv", 2, a=a)
    check_rank("addmv", 1, b=b)
    product = matmul(a, b)
    return _begun(_spread("addmv", input, product), beta) + _weighted(product, alpha)


def addr(
    input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, beta: float = 1, alpha: float = 1
) -> AbstractTensor:
    """``beta * input + alpha *`` the outer product of two vectors; as for :func:`addmm`."""
    product = outer(a, b)
    return _begun(_spread("addr", input, product), beta) + _weighted(product, alpha)


def addcmul(input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, value: float = 1) -> AbstractTensor:
    """``input + value * a * b``."""
    return input + _weighted(a * b, value)


def addcdiv(input: AbstractTensor, a: AbstractTensor, b: AbstractTensor, *, value: float = 1) -> AbstractTensor:
    """``input + value * a / b``, where ``a`` or ``b`` is of a floating-point type."""
    if not (is_float(a.type.dtype) or is_float(b.type.dtype)):
        raise DTypeError(f"addcdiv: divides floating-point numbers, got {a.type} and {b.type}; write a / b")
    return input + _weighted(a / b, value)


def lerp(input: AbstractTensor, end: AbstractTensor, weight: Operand) -> AbstractTensor:
    """``input + weight * (end - input)``: a point between the two, or beyond one of them."""
    return input + (end - input) * weight


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
