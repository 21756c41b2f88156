"""Element types: casts, and the promotion of operands of different types."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from ...errors import DTypeError
from ..dims import Dim, SymDim
from ..opdef import (
    AbstractTensor,
    Attrs,
    GradContext,
    Gradients,
    OpDef,
    Operand,
    T,
    apply,
    attributes,
    first_tensor,
    register,
)
from ..types import DType, TensorType, as_dtype, bool_, float32, int64, is_float
from .source import constant, full


@attributes
class CastAttrs(Attrs):
    dtype: DType


def _cast_infer(attrs: CastAttrs, x: TensorType) -> TensorType:
    return TensorType(x.shape, attrs.dtype)


def _cast_gradient(c: GradContext[CastAttrs]) -> Gradients:
    source = c.inputs[0].type.dtype
    return [cast(c.dy, source) if is_float(source) and is_float(c.attrs.dtype) else None]


CAST = register(OpDef("Cast", _cast_infer, _cast_gradient, attrs=CastAttrs, elementwise=True))


def cast(x: T, dtype: object) -> T:
    """``x`` with another element type; itself if it has that already."""
    wanted = as_dtype(dtype)
    if x.type.dtype == wanted:
        return x
    result: T = apply(CAST, CastAttrs(wanted), x)
    return result


_CATEGORIES = {"b": 0, "u": 1, "i": 1, "f": 2}


def _category(dtype: DType) -> int:
    return _CATEGORIES[dtype.kind]


def promoted(a: DType, b: DType) -> DType:
    """The dtype of ``a op b``: the wider of the higher kind (bool < integer < float), as in PyTorch."""
    if _category(a) != _category(b):
        return a if _category(a) > _category(b) else b
    common = np.promote_types(a, b)
    if _category(common) != _category(a):
        raise DTypeError(f"no integer type holds both {a.name} and {b.name}; cast one of them first")
    return as_dtype(common)


_BOOLS, _FLOATS, _INTEGERS = (bool, np.bool_), (float, np.floating), (int, np.integer, SymDim)
_ARRAYS = (np.ndarray, list, tuple)


def _number_dtype(x: object) -> DType:
    if isinstance(x, _BOOLS):
        return bool_
    if isinstance(x, _FLOATS):
        return float32
    if isinstance(x, _INTEGERS):
        return int64
    raise DTypeError(f"an operand is neither a tensor nor a real number: {type(x).__name__}")


def result_dtype(operands: Sequence[Operand]) -> DType:
    """The common dtype of tensors and numbers.

    As in PyTorch, a number only raises the kind (bool < integer < float), and so does a 0-d tensor
    beside tensors with axes.
    """
    ranks: tuple[list[DType], list[DType], list[DType]] = ([], [], [])
    for x in operands:
        if isinstance(x, AbstractTensor):
            ranks[0 if x.type.rank else 1].append(x.type.dtype)
        else:
            ranks[2].append(_number_dtype(x))
    strong, *weaker = [functools.reduce(promoted, dtypes) for dtypes in ranks if dtypes]
    for weak in weaker:
        if _category(weak) > _category(strong):
            strong = weak
    return strong


def _alike(operands: tuple[Operand, ...]) -> TypeGuard[tuple[AbstractTensor, ...]]:
    """Whether all are tensors of one element type."""
    types = [x.type.dtype for x in operands if isinstance(x, AbstractTensor)]
    return len(types) == len(operands) and types.count(types[0]) == len(types)


def promote(*operands: Operand) -> list[AbstractTensor]:
    """Bring tensors, arrays and numbers to one dtype (see :func:`result_dtype`); at least one must be a tensor."""
    if operands and _alike(operands):
        return list(operands)
    operands = tuple([x if isinstance(x, AbstractTensor) else getattr(x, "sym", x) for x in operands])
    world = first_tensor(operands)
    if world is None:
        raise DTypeError(f"none of the operands is a tensor: {', '.join(type(x).__name__ for x in operands)}")
    values = [_constant(world, x) if isinstance(x, _ARRAYS) else x for x in operands]
    dtype = result_dtype(values)
    return [cast(x, dtype) if isinstance(x, AbstractTensor) else _filled(world, x, dtype) for x in values]


def _constant(world: AbstractTensor, x: npt.ArrayLike) -> AbstractTensor:
    array = np.asarray(x)
    python_floats = not isinstance(x, np.ndarray) and array.dtype == np.float64
    return constant(world, array.astype(np.float32) if python_floats else array)


def _filled(world: AbstractTensor, x: float | np.generic | SymDim, dtype: DType) -> AbstractTensor:
    number: float | SymDim = x.item() if isinstance(x, np.generic) else x
    check_fits(number, dtype)
    return full(world, number, (), dtype)


def check_fits(number: float | Dim | None, dtype: DType) -> None:
    """Raise where an int lies outside an integer dtype."""
    if isinstance(number, int) and dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        if not limits.min <= number <= limits.max:
            raise DTypeError(f"{number} does not fit the element type {dtype.name} ({limits.min} to {limits.max})")


def floating(x: T) -> T:
    return x if is_float(x.type.dtype) else cast(x, float32)
