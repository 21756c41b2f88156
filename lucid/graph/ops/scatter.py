"""Scattering values by integer indices: along an axis, or by slices."""

from __future__ import annotations

import math

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..opdef import AbstractTensor
from ..types import format_shape, is_float
from .composite import eq
from .elementwise import div, floor_divide, where
from .promotion import cast, promoted
from .put import counted, put
from .shape import expand, normal_axis, reshape
from .slices import take_slice
from .source import full

REDUCTIONS = {"sum": ("add", 0), "prod": ("mul", 1), "mean": ("add", 0), "amax": ("max", -1), "amin": ("min", 1)}
"""For each reduction the mode of ``put``, and its neutral element: a number, or ∓1 for the least or largest value."""


def _places(op: str, x: AbstractTensor, dim: int, index: AbstractTensor) -> list[AbstractTensor]:
    """The full indices, one for each axis, of the places given by ``index`` along ``dim``."""
    axis, rank = normal_axis(op, dim, x.type.rank, scalar=True), x.type.rank
    if index.type.rank != rank or rank == 0:
        raise ShapeError(f"{op}: the index {index.type} must have the rank of {x.type}, and that is at least 1")
    if index.type.dtype.kind not in "iu":
        raise DTypeError(f"{op}: the index must be integers, got {index.type}")
    for i, (have, want) in enumerate(zip(x.type.shape, index.type.shape, strict=True)):
        if i != axis and isinstance(have, int) and isinstance(want, int) and want > have:
            raise ShapeError(f"{op}: the index {index.type} is larger than {x.type} on axis {i}")
    sizes = [[n if i == other else 1 for i in range(rank)] for other, n in enumerate(index.type.shape)]
    return [
        index if i == axis else reshape(counted(x, n), sizes[i]) for i, n in enumerate(index.type.shape)
    ]  # fmt: skip


def _values(op: str, x: AbstractTensor, index: AbstractTensor, src: AbstractTensor | float) -> AbstractTensor:
    if not isinstance(src, AbstractTensor):
        if isinstance(src, float) and not is_float(x.type.dtype):
            raise DTypeError(f"{op}: {src} does not fit into {x.type.dtype.name}")
        return full(x, src, index.type.shape)
    if src.type.dtype != x.type.dtype or src.type.rank != index.type.rank:
        raise DTypeError(f"{op}: the values {src.type} must have the element type of {x.type}, and the index's rank")
    return take_slice(src, (0,) * src.type.rank, index.type.shape)


def scatter(
    x: AbstractTensor, dim: int, index: AbstractTensor, src: AbstractTensor | float, reduce: str | None = None
) -> AbstractTensor:
    """``x`` with each element of ``src`` (or a number) at its index along ``dim``; for the same place the last wins.

    ``reduce="add"`` or ``"multiply"`` combines them with the elements of ``x``. ``index`` has the rank of ``x``
    (``torch.scatter``).
    """
    how = {None: "set", "add": "add", "multiply": "mul"}
    if reduce not in how:
        raise OptionError(f"scatter: reduce is 'add', 'multiply' or None, got {shown(reduce)}")
    places = _places("scatter", x, dim, index)
    return put(x, tuple(range(x.type.rank)), places, _values("scatter", x, index, src), how[reduce])


def scatter_add(x: AbstractTensor, dim: int, index: AbstractTensor, src: AbstractTensor) -> AbstractTensor:
    """``x`` to which each element of ``src`` is added at its index along ``dim``."""
    places = _places("scatter_add", x, dim, index)
    return put(x, tuple(range(x.type.rank)), places, _values("scatter_add", x, index, src), "add")


def scatter_reduce(
    x: AbstractTensor, dim: int, index: AbstractTensor, src: AbstractTensor, reduce: str, include_self: bool = True
) -> AbstractTensor:
    """The "sum", "prod", "mean", "amax" or "amin" of all elements of ``src`` that are for one place, and of ``x``.

    Without ``include_self``, elements of ``x`` are left out where there are others.
    """
    if reduce not in REDUCTIONS:
        raise OptionError(f"scatter_reduce: reduce is one of {', '.join(REDUCTIONS)}, got {shown(reduce)}")
    how, idle = REDUCTIONS[reduce]
    axes, places = tuple(range(x.type.rank)), _places("scatter_reduce", x, dim, index)
    values = _values("scatter_reduce", x, index, src)
    base = x
    if not include_self:
        number = idle * math.inf if how in ("max", "min") and is_float(x.type.dtype) else idle
        if how in ("max", "min") and not is_float(x.type.dtype):
            raise DTypeError(f"scatter_reduce: {reduce} of integers needs include_self=True, got {x.type}")
        base = put(x, axes, places, full(values, number), "set")
    y = put(base, axes, places, values, how)
    if reduce != "mean":
        return y
    counts = put(full(x, 1 if include_self else 0), axes, places, full(values, 1), "add")
    counts = where(eq(counts, 0), cast(full(counts, 1, ()), counts.type.dtype), counts)
    return div(y, counts) if is_float(y.type.dtype) else floor_divide(y, counts)


def _along(
    op: str, x: AbstractTensor, dim: int, index: AbstractTensor, values: AbstractTensor, how: str
) -> AbstractTensor:  # fmt: skip
    axis = normal_axis(op, dim, x.type.rank)
    if not index.type.rank:
        index = reshape(index, 1)
        values = values if values.type.rank else reshape(values, (1,) * x.type.rank)
    if index.type.rank != 1 or index.type.dtype.kind not in "iu":
        raise ShapeError(f"{op}: the index is a vector of integers, got {index.type}")
    shape = (*x.type.shape[:axis], index.type.shape[0], *x.type.shape[axis + 1 :])
    if values.type.shape != shape or values.type.dtype != x.type.dtype:
        wanted = f"{x.type.dtype.name} of shape {format_shape(shape)}"
        raise ShapeError(f"{op}: the values must be {wanted}, got {values.type}")
    return put(x, (axis,), [index], values, how)


def index_add(
    x: AbstractTensor, dim: int, index: AbstractTensor, source: AbstractTensor, *, alpha: float = 1
) -> AbstractTensor:
    """``x`` to which ``alpha`` times each slice of ``source`` is added where the vector ``index`` says on ``dim``."""
    return _along("index_add", x, dim, index, source if alpha == 1 else source * alpha, "add")


def index_copy(x: AbstractTensor, dim: int, index: AbstractTensor, source: AbstractTensor) -> AbstractTensor:
    """``x`` with each slice of ``source`` where the vector ``index`` (or one number) says along ``dim``."""
    return _along("index_copy", x, dim, index, source, "set")


def index_fill(x: AbstractTensor, dim: int, index: AbstractTensor, value: float | AbstractTensor) -> AbstractTensor:
    """``x`` with the number ``value`` in the slices that the vector ``index`` lists along ``dim``."""
    axis = normal_axis("index_fill", dim, x.type.rank)
    if isinstance(value, float) and not is_float(x.type.dtype):
        raise DTypeError(f"index_fill: {value} does not fit into {x.type.dtype.name}")
    shape = (*x.type.shape[:axis], *(index.type.shape[:1] or (1,)), *x.type.shape[axis + 1 :])
    if isinstance(value, AbstractTensor):
        if value.type.rank or promoted(x.type.dtype, value.type.dtype) != x.type.dtype:
            raise DTypeError(f"index_fill: value is a number that fits into {x.type.dtype.name}, got {value.type}")
        values = expand(cast(value, x.type.dtype), shape)
    else:
        values = full(x, value, shape)
    return _along("index_fill", x, dim, index, values, "set")
