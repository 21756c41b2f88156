"""Matrix products."""

from __future__ import annotations

from .....graph.ops.determinant import DET
from .....graph.ops.einsum import EINSUM, EinsumAttrs
from .....graph.ops.linalg import LINEAR, MATMUL
from .....graph.types import is_float
from ..draft import Item
from ..registry import Use, writer


@writer(MATMUL)
def matmul(use: Use) -> Item:
    return use.emit("MatMul", *use.inputs)


@writer(LINEAR)
def linear(use: Use) -> Item:
    """A single operator for rows; for other numbers of axes, a product with the transposed weight."""
    x, weight, *bias = use.inputs
    if use.types[0].rank == 2 and is_float(use.type.dtype):
        return use.emit("Gemm", x, weight, *bias, transB=1)
    y = use.emit("MatMul", x, use.emit("Transpose", weight, perm=[1, 0]))
    return use.emit("Add", y, *bias) if bias else y


@writer(EINSUM)
def einsum(use: Use[EinsumAttrs]) -> Item:
    return use.emit("Einsum", *use.inputs, equation=use.attrs.equation)


@writer(DET)
def det(use: Use) -> Item:
    return use.emit("Det", *use.inputs)
