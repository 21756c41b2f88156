"""Matrix products."""

from __future__ import annotations

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops.einsum import einsum as einsum_of
from ....graph.ops.linalg import linear
from ....graph.ops.linalg import matmul as product_of
from ....graph.ops.shape import permute
from ..registry import Call, Value, converter


@converter("MatMul", names=("", "weight"))
def matmul(call: Call, a: Value, b: Value) -> AbstractTensor:
    return product_of(*call.tensors(a, b))


@converter("Gemm", names=("", "weight", "bias"))
def gemm(call: Call, a: Value, b: Value, c: Value = None) -> AbstractTensor:
    (a, b), c = call.tensors(a, b), call.optional(c)
    if a.type.rank != 2 or b.type.rank != 2:
        raise GraphError(f"needs two matrices, got {a.type} and {b.type}")
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    a = permute(a, (1, 0)) if call.attribute("transA", 0) else a
    b = b if call.attribute("transB", 0) else permute(b, (1, 0))
    if c is not None and alpha == beta == 1.0 and c.type.rank == 1 and c.type.shape == b.type.shape[:1]:
        return linear(a, b, c)
    y = linear(a, b)
    y = y if alpha == 1.0 else y * alpha
    return y if c is None else y + (c if beta == 1.0 else c * beta)


@converter("Einsum")
def einsum(call: Call, *xs: Value) -> AbstractTensor:
    return einsum_of(call.required("equation"), *call.tensors(*xs))
