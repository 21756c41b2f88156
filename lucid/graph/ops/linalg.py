"""Matrix products: batched matmul, linear layers, einsum."""

from __future__ import annotations

from typing import Any

from ...errors import DTypeError, ShapeError
from ..opdef import GradContext, NoAttrs, OpDef, apply, register
from ..types import TensorType, broadcast_shapes, format_shape
from .elementwise import promote
from .shape import reshape, transpose


def _matmul_infer(attrs: NoAttrs, a: TensorType, b: TensorType) -> TensorType:
    if a.dtype != b.dtype:
        raise DTypeError(f"MatMul: element types differ: {a} and {b}")
    if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"MatMul: {format_shape(a.shape)} and {format_shape(b.shape)} do not multiply")
    batch = broadcast_shapes("MatMul", a.shape[:-2], b.shape[:-2])
    return a.with_shape((*batch, a.shape[-2], b.shape[-1]))


def _matmul_gradient(c: GradContext) -> list[Any | None]:
    a, b = c.inputs
    return [
        matmul(c.dy, transpose(b, -1, -2)).sum_to(a.type.shape) if c.wanted[0] else None,
        matmul(transpose(a, -1, -2), c.dy).sum_to(b.type.shape) if c.wanted[1] else None,
    ]


MATMUL = register(OpDef("MatMul", _matmul_infer, _matmul_gradient, inputs=("a", "b")))


def matmul(a: Any, b: Any) -> Any:
    """Matrix product of the last two axes, the others broadcast; a vector is a row (left) or column (right)."""
    a, b = promote(a, b)
    if a.type.rank == 0 or b.type.rank == 0:
        raise ShapeError(f"matmul: needs vectors or matrices, got {a.type} and {b.type}")
    left, right = a.type.rank == 1, b.type.rank == 1
    a = reshape(a, (1, *a.type.shape)) if left else a
    b = reshape(b, (*b.type.shape, 1)) if right else b
    y = apply(MATMUL, NoAttrs(), a, b)
    shape = list(y.type.shape)
    if right:
        del shape[-1]
    if left:
        del shape[-1 if right else -2]
    return reshape(y, shape)
