"""Compositions that programs written for PyTorch use all the time: parts, triangles, stacks, and its keyword forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...base.checks import shown
from ...errors import OptionError, ShapeError, TraceError
from ..opdef import AbstractTensor, Operand, T
from ..types import Axes, bool_, int64, is_float
from . import bounds, composite, reduce, slices
from . import elementwise as ew
from . import shape as sh
from .source import full
from .trigonometry import trunc


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


def unbind(x: T, dim: int = 0) -> tuple[T, ...]:
    """The parts of ``x`` along ``dim``, which they do not have."""
    axis = sh.normal_axis("unbind", dim, x.type.rank)
    count = x.type.shape[axis]
    if not isinstance(count, int):
        raise TraceError(
            f"unbind: axis {axis} of {x.type} has no known size, so the number of results would differ from call to "
            f"call; compile with that size fixed"
        )
    return tuple(sh.squeeze(slices.piece(x, axis, i, 1), axis) for i in range(count))


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


def vstack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors below one another, vectors as rows."""
    return sh.concat([atleast_2d(x) for x in tensors], 0)


def hstack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors beside one another: vectors along their only axis, others along the second."""
    parts = [sh.reshape(x, 1) if x.type.rank == 0 else x for x in tensors]
    return sh.concat(parts, 0 if parts and parts[0].type.rank == 1 else 1)


def dstack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors behind one another, along the third axis."""
    return sh.concat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[AbstractTensor]) -> AbstractTensor:
    """The tensors beside one another, vectors as columns."""
    return sh.concat([sh.reshape(x, -1, 1) if x.type.rank < 2 else x for x in tensors], 1)


def atleast_1d(x: T) -> T:
    """``x``, a scalar as a vector."""
    return x if x.type.rank else sh.reshape(x, 1)


def atleast_2d(x: T) -> T:
    """``x``, a scalar or vector as one row of a matrix."""
    return x if x.type.rank > 1 else sh.reshape(x, 1, -1)


def atleast_3d(x: T) -> T:
    """``x``, of less than three axes with a last one of size 1 (a vector with a first one too)."""
    return x if x.type.rank > 2 else sh.unsqueeze(atleast_2d(x), -1)


def fliplr(x: T) -> T:
    """``x`` with the order of the second axis turned around."""
    return slices.flip(x, 1)


def flipud(x: T) -> T:
    """``x`` with the order of the first axis turned around."""
    return slices.flip(x, 0)


def clamp_min(x: AbstractTensor, min: bounds.Bound) -> AbstractTensor:
    """``x``, but at least ``min``."""
    return bounds.clip(x, min)


def clamp_max(x: AbstractTensor, max: bounds.Bound) -> AbstractTensor:
    """``x``, but at most ``max``."""
    return bounds.clip(x, None, max)


def isclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> AbstractTensor:
    """Whether elements differ by at most ``atol + rtol * |b|``; equal infinities are close, NaN only if so wished."""
    a, b = ew.promote(a, b)
    same = composite.eq(a, b)
    if not is_float(a.type.dtype):
        a, b = ew.cast(a, "float64"), ew.cast(b, "float64")
    near = composite.le(ew.abs_(ew.sub(a, b)), ew.add(ew.mul(ew.abs_(b), rtol), atol))
    close = composite.logical_or(same, composite.logical_and(near, composite.lt(ew.abs_(b), math.inf)))
    if equal_nan:
        return composite.logical_or(close, composite.logical_and(composite.ne(a, a), composite.ne(b, b)))
    return close


def count_nonzero(x: AbstractTensor, dim: Axes = None) -> AbstractTensor:
    """How many elements are not 0, over ``dim`` (an axis, several, or None for all)."""
    return reduce.sum(x if x.type.dtype == bool_ else composite.ne(x, 0), dim)


def clone(x: Any) -> Any:
    """A copy that gradients flow through."""
    return x.clone()


def detach(x: Any) -> Any:
    """The same data, outside the history."""
    return x.detach()
