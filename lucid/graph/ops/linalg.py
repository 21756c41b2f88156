"""Matrix products: batched matmul, linear layers."""

from __future__ import annotations

from ...errors import DTypeError, ShapeError
from ..batching import Batch, Outputs, broadcast_rows, prepend_axis_to_first
from ..opdef import AbstractTensor, GradContext, Gradients, NoAttrs, OpDef, Operand, apply, register
from ..types import TensorType, bool_, broadcast_shapes, format_shape, is_float, product
from .elementwise import mul, promote
from .shape import permute, reshape, transpose


def _check_dtypes(op: str, *types: TensorType) -> None:
    if len({t.dtype for t in types}) > 1 or types[0].dtype == bool_:
        raise DTypeError(f"{op}: needs numbers of one element type, got {' and '.join(map(str, types))}")


def _matmul_infer(attrs: NoAttrs, a: TensorType, b: TensorType) -> TensorType:
    _check_dtypes("MatMul", a, b)
    if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"MatMul: {format_shape(a.shape)} and {format_shape(b.shape)} do not multiply",
            unequal=(a.shape[-1:], b.shape[-2:-1]),
        )
    batch = broadcast_shapes("MatMul", a.shape[:-2], b.shape[:-2])
    return a.with_shape((*batch, a.shape[-2], b.shape[-1]))


def matrix_transpose(x: AbstractTensor) -> AbstractTensor:
    """The matrices of ``x`` transposed: its last two axes swapped."""
    return transpose(x, -1, -2)


def _rows(x: AbstractTensor) -> AbstractTensor:
    """All axes but the last made one."""
    return reshape(x, (product(x.type.shape[:-1]), x.type.shape[-1]))


def _matmul_gradient(c: GradContext) -> Gradients:
    (a, b), da, db = c.inputs, None, None
    if c.wanted[0]:
        da = matmul(c.dy, matrix_transpose(b)).sum_to(a.type.shape)
    if c.wanted[1] and b.type.rank == 2:  # one product over all rows, not one for each batch and a sum
        db = matmul(transpose(_rows(a), 0, 1), _rows(c.dy))
    elif c.wanted[1]:
        db = matmul(matrix_transpose(a), c.dy).sum_to(b.type.shape)
    return [da, db]


def _linear_infer(attrs: NoAttrs, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> TensorType:
    _check_dtypes("Linear", x, weight, *(() if bias is None else (bias,)))
    if weight.rank != 2:
        raise ShapeError(f"Linear: the weight has shape (out_features, in_features), got {weight}")
    if x.rank < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"Linear: in_features is {weight.shape[1]}, so the input's last axis must have that size; "
            f"got an input of shape {format_shape(x.shape)}",
            unequal=(x.shape[-1:], weight.shape[1:]),
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"Linear: out_features is {weight.shape[0]}, got a bias of shape {format_shape(bias.shape)}")
    return x.with_shape((*x.shape[:-1], weight.shape[0]))


def _linear_gradient(c: GradContext) -> Gradients:
    x, weight = c.inputs[:2]
    dy = _rows(c.dy)
    gradients = [
        reshape(matmul(dy, weight), x.type.shape) if c.wanted[0] else None,
        matmul(transpose(dy, 0, 1), _rows(x)) if c.wanted[1] else None,
    ]
    if len(c.inputs) == 3:
        gradients.append(dy.sum(0) if c.wanted[2] else None)
    return gradients


def _linear_batch(batch: Batch) -> Outputs | None:
    """With a weight or bias for each row, products of matrices."""
    if not any(batch.batched[1:]):
        return prepend_axis_to_first(batch)
    (x, weight), rows = batch.inputs[:2], (product(batch.row(0)[:-1]), batch.row(0)[-1])
    y = matmul(reshape(x, (batch.size, *rows) if batch.batched[0] else rows), matrix_transpose(weight))
    if len(batch.inputs) == 3:
        y = y + batch.whole(2).unsqueeze(1)
    return [reshape(y, (batch.size, *batch.outputs[0].shape))]


MATMUL = register(
    OpDef("MatMul", _matmul_infer, _matmul_gradient, inputs=("a", "b"), batch=broadcast_rows, family="linear")
)
LINEAR = register(
    OpDef(
        "Linear", _linear_infer, _linear_gradient, inputs=("x", "weight", "bias?"), batch=_linear_batch,
        family="linear",
    )
)  # fmt: skip


def matmul(a: Operand, b: Operand) -> AbstractTensor:
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


def linear(x: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None) -> AbstractTensor:
    """``x @ weight.T + bias`` over the last axis.

    Parameters
    ----------
    x
        Shape (..., in_features).
    weight
        Shape (out_features, in_features).
    bias
        Shape (out_features,), or None.

    Returns
    -------
    Shape (..., out_features).
    """
    operands = (x, weight) if bias is None else (x, weight, bias)
    return apply(LINEAR, NoAttrs(), *operands)


def check_rank(function: str, rank: int, **tensors: AbstractTensor) -> None:
    """Raise where a tensor has another rank."""
    for name, x in tensors.items():
        if not isinstance(x, AbstractTensor):
            raise DTypeError(f"{function}: {name} must be a tensor of rank {rank}, got a {type(x).__name__}")
        if x.type.rank != rank:
            raise ShapeError(f"{function}: {name} must have rank {rank}, got {x.type}")


def check_square(op: str, x: TensorType) -> None:
    """Raise where the last two axes are no square matrices."""
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{op}: needs square matrices, got {x}", unequal=(x.shape[-2:-1], x.shape[-1:]))


def check_square_floats(op: str, x: TensorType) -> None:
    """Raise where these are no square matrices of floating-point numbers."""
    if not is_float(x.dtype):
        raise DTypeError(f"{op}: needs floating-point matrices, got {x}")
    check_square(op, x)


def bmm(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Products of two equally long batches of matrices, without broadcasting."""
    check_rank("bmm", 3, a=a, b=b)
    if a.type.shape[0] != b.type.shape[0]:
        raise ShapeError(f"bmm: batches of {a.type.shape[0]} and {b.type.shape[0]} matrices")
    return matmul(a, b)


def dot(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Inner product of two vectors."""
    check_rank("dot", 1, a=a, b=b)
    return matmul(a, b)


def outer(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Outer product of two vectors."""
    check_rank("outer", 1, a=a, b=b)
    return mul(reshape(a, (*a.type.shape, 1)), b)


def bilinear(
    x1: AbstractTensor, x2: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None
) -> AbstractTensor:
    """``x1 @ weight[o] @ x2 + bias[o]`` for each output ``o``, over the last axes (as PyTorch's ``bilinear``)."""
    check_rank("bilinear", 3, weight=weight)
    outputs, first, second = weight.type.shape
    lead = x1.type.shape[:-1]
    if not x1.type.rank or x1.type.shape != (*lead, first) or x2.type.shape != (*lead, second):
        raise ShapeError(f"bilinear: the weight {weight.type} does not fit inputs {x1.type} and {x2.type}")
    if bias is not None and bias.type.shape != (outputs,):
        raise ShapeError(f"bilinear: the bias must have shape {format_shape((outputs,))}, got {bias.type}")
    once = matmul(_rows(x1), reshape(permute(weight, (1, 0, 2)), (first, outputs * second)))
    once = reshape(once, (product(lead), outputs, second))
    y = reshape(matmul(once, reshape(x2, (product(lead), second, 1))), (*lead, outputs))
    return y if bias is None else y + bias
