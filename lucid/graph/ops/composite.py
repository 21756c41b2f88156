"""Functions composed of a few other ops, under the names that PyTorch and NumPy use."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..opdef import AbstractTensor, Operand, T
from ..types import Axes, bool_, int64, is_float
from . import elementwise as ew
from . import linalg, reduce
from . import shape as sh


def eq(a: Operand, b: Operand) -> AbstractTensor:
    """Whether ``a == b``, as bools."""
    return ew.compare(ew.EQUAL, a, b)


def ne(a: Operand, b: Operand) -> AbstractTensor:
    """Whether ``a != b``, as bools."""
    return ew.compare(ew.NOT_EQUAL, a, b)


def lt(a: Operand, b: Operand) -> AbstractTensor:
    """Whether ``a < b``, as bools."""
    return ew.compare(ew.LESS, a, b)


def le(a: Operand, b: Operand) -> AbstractTensor:
    """Whether ``a <= b``, as bools."""
    return ew.compare(ew.LESS_EQUAL, a, b)


def gt(a: Operand, b: Operand) -> AbstractTensor:
    """Whether ``a > b``, as bools."""
    return ew.compare(ew.GREATER, a, b)


def ge(a: Operand, b: Operand) -> AbstractTensor:
    """Whether ``a >= b``, as bools."""
    return ew.compare(ew.GREATER_EQUAL, a, b)


S = TypeVar("S")


def _truth(x: S) -> S | AbstractTensor:
    return x if not isinstance(x, AbstractTensor) or x.type.dtype == bool_ else ne(x, 0)


def logical_and(a: Operand, b: Operand) -> AbstractTensor:
    """Logical and; numbers other than 0 count as true."""
    return ew.logical(ew.AND, _truth(a), _truth(b))


def logical_or(a: Operand, b: Operand) -> AbstractTensor:
    """Logical or; numbers other than 0 count as true."""
    return ew.logical(ew.OR, _truth(a), _truth(b))


def logical_xor(a: Operand, b: Operand) -> AbstractTensor:
    """Logical exclusive or; numbers other than 0 count as true."""
    return ne(_truth(a), _truth(b))


def logical_not(x: AbstractTensor) -> AbstractTensor:
    """Logical not; numbers other than 0 count as true."""
    return ew.invert(_truth(x))


def bitwise_and(a: Operand, b: Operand) -> AbstractTensor:
    """``a & b``: logical on bools, bit by bit on integers."""
    return ew.logical(ew.AND, a, b)


def bitwise_or(a: Operand, b: Operand) -> AbstractTensor:
    """``a | b``: logical on bools, bit by bit on integers."""
    return ew.logical(ew.OR, a, b)


def bitwise_xor(a: Operand, b: Operand) -> AbstractTensor:
    """``a ^ b``: logical on bools, bit by bit on integers."""
    a, b = ew.promote(a, b)
    if a.type.dtype == bool_:
        return ne(a, b)
    return ew.sub(ew.logical(ew.OR, a, b), ew.logical(ew.AND, a, b))


def divmod_(a: Operand, b: Operand) -> tuple[AbstractTensor, AbstractTensor]:
    """``(a // b, a % b)``."""
    return ew.floor_divide(a, b), ew.remainder(a, b)


def square(x: AbstractTensor) -> AbstractTensor:
    """``x * x``; of bools, integers."""
    x = ew.cast(x, int64) if x.type.dtype == bool_ else x
    return ew.mul(x, x)


def reciprocal(x: AbstractTensor) -> AbstractTensor:
    """``1 / x``."""
    return ew.div(1.0, x)


def rsqrt(x: AbstractTensor) -> AbstractTensor:
    """``1 / sqrt(x)``."""
    return ew.div(1.0, ew.sqrt(x))


def tan(x: AbstractTensor) -> AbstractTensor:
    """``sin(x) / cos(x)``."""
    return ew.div(ew.sin(x), ew.cos(x))


def isinf(x: AbstractTensor) -> AbstractTensor:
    """Whether each element is infinite."""
    return eq(ew.abs_(x), math.inf) if is_float(x.type.dtype) else ne(x, x)


def isfinite(x: AbstractTensor) -> AbstractTensor:
    """Whether each element is neither infinite nor NaN."""
    return lt(ew.abs_(x), math.inf) if is_float(x.type.dtype) else eq(x, x)


def all_(x: AbstractTensor, dim: Axes = None, keepdim: bool = False) -> AbstractTensor:
    """Whether all elements over ``dim`` (an axis, several, or None for all) are true, which is to say not 0."""
    if reduce.names_none(dim):  # which these two take at its word, in PyTorch as in NumPy
        return _truth(x)
    return eq(reduce.sum(logical_not(x), dim, keepdim), 0)


def any_(x: AbstractTensor, dim: Axes = None, keepdim: bool = False) -> AbstractTensor:
    """Whether any element over ``dim`` (an axis, several, or None for all) is true, which is to say not 0."""
    if reduce.names_none(dim):
        return _truth(x)
    return ne(reduce.sum(_truth(x), dim, keepdim), 0)


def norm(
    x: AbstractTensor, p: float = 2.0, dim: Axes = None, keepdim: bool = False, dtype: object = None
) -> AbstractTensor:
    """The ``p``-norm over ``dim`` (an axis, several, or None for all), in ``dtype``; one of zeros has no gradient."""
    x = x if dtype is None else ew.cast(x, dtype)
    if not is_float(x.type.dtype):
        raise DTypeError(f"norm: needs a floating-point tensor, got {x.type}")
    if p == 2:
        return ew.flat_sqrt(reduce.sum(square(x), dim, keepdim))
    size = ew.abs_(x)
    if p == 1:
        return reduce.sum(size, dim, keepdim)
    if p == math.inf:
        return reduce.amax(size, dim, keepdim)
    if p == 0:
        return reduce.sum(ew.cast(ne(size, 0), x.type.dtype), dim, keepdim)
    total = reduce.sum(flat_pow(size, p), dim, keepdim)
    return flat_pow(total, 1 / p)


def flat_pow(x: AbstractTensor, p: float) -> AbstractTensor:
    """``x`` to the power ``p``, which is positive, with slope 0 at 0."""
    zero = eq(x, 0)
    return ew.where(zero, 0.0, ew.pow_(ew.where(zero, 1.0, x), p))


def mm(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Product of two matrices."""
    linalg.check_rank("mm", 2, a=a, b=b)
    return linalg.matmul(a, b)


def mv(a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    """Product of a matrix and a vector."""
    linalg.check_rank("mv", 2, a=a)
    linalg.check_rank("mv", 1, b=b)
    return linalg.matmul(a, b)


def transposed(x: T) -> T:
    """The transpose of a matrix; vectors and scalars as they are."""
    if x.type.rank > 2:
        raise ShapeError(f"t: is for at most two axes; this tensor is {x.type}; use transpose or permute")
    return sh.transpose(x, 0, 1) if x.type.rank == 2 else x


def movedim(x: T, source: object, destination: object) -> T:
    """``x`` with axis ``source`` (or several) at ``destination``, the others in their order."""
    rank = x.type.rank
    moved, places = (sh.normal_axes("movedim", axes, rank) for axes in (source, destination))
    if len(moved) != len(places):
        raise ShapeError(f"movedim: {source} and {destination} are not as many axes")
    order = [axis for axis in range(rank) if axis not in moved]
    for place, axis in sorted(zip(places, moved, strict=True)):
        order.insert(place, axis)
    return sh.permute(x, order) if rank else x


def trunc(x: AbstractTensor) -> AbstractTensor:
    """``x`` rounded towards 0."""
    if x.type.dtype == bool_:
        raise DTypeError(f"trunc: needs numbers, got {x.type}")
    return ew.where(lt(x, 0), ew.ceil(x), ew.floor(x)) if is_float(x.type.dtype) else x


def add(a: Operand, b: Any, *, alpha: float = 1) -> AbstractTensor:
    """``a + alpha * b``."""
    return ew.add(a, b if alpha == 1 else b * alpha)


def sub(a: Operand, b: Any, *, alpha: float = 1) -> AbstractTensor:
    """``a - alpha * b``."""
    return ew.sub(a, b if alpha == 1 else b * alpha)


def div(a: Operand, b: Operand, *, rounding_mode: str | None = None) -> AbstractTensor:
    """``a / b``; ``rounding_mode="floor"``, or ``"trunc"`` (towards 0), gives whole numbers in the operands' dtype."""
    if rounding_mode is None:
        return ew.div(a, b)
    if rounding_mode == "floor":
        return ew.floor_divide(a, b)
    if rounding_mode != "trunc":
        raise OptionError(f"div: rounding_mode is None, 'floor' or 'trunc', got {shown(rounding_mode)}")
    a, b = ew.promote(a, b)
    if is_float(a.type.dtype):
        return trunc(ew.div(a, b))
    size = ew.floor_divide(ew.abs_(a), ew.abs_(b))
    return ew.mul(size, ew.mul(ew.sign(a), ew.sign(b)))


def isclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> AbstractTensor:
    """Whether elements differ by at most ``atol + rtol * |b|``; equal infinities are close, NaNs if ``equal_nan``."""
    check_alike("isclose", a, b)
    a, b = ew.promote(a, b)
    same = eq(a, b)
    if not is_float(a.type.dtype):
        a, b = ew.cast(a, "float64"), ew.cast(b, "float64")
    near = le(ew.abs_(ew.sub(a, b)), ew.add(ew.mul(ew.abs_(b), rtol), atol))
    close = logical_or(same, logical_and(near, lt(ew.abs_(b), math.inf)))
    if equal_nan:
        return logical_or(close, logical_and(ne(a, a), ne(b, b)))
    return close


def check_alike(op: str, a: Operand, b: Operand) -> None:
    """Raise where two tensors have different element types; numbers take on that of a tensor."""
    if isinstance(a, AbstractTensor) and isinstance(b, AbstractTensor) and a.type.dtype != b.type.dtype:
        raise DTypeError(f"{op}: needs tensors of one element type, got {a.type} and {b.type}; cast one of them")


def count_nonzero(x: AbstractTensor, dim: Axes = None) -> AbstractTensor:
    """The number of elements other than 0 over ``dim`` (an axis, several, or None for all)."""
    return reduce.sum(x if x.type.dtype == bool_ else ne(x, 0), dim)


def clone(x: Any) -> Any:
    """A copy that gradients flow through."""
    return x.clone()


def detach(x: Any) -> Any:
    """The same data, outside the history."""
    return x.detach()
