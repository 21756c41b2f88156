"""Rarely used functions that replace or select parts of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...base.checks import integer, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_at_least
from ..dims import Dim
from ..opdef import AbstractTensor, apply
from ..types import bool_, format_shape, int64, is_float, product
from . import elementwise as ew
from . import shape as sh
from .bounds import clip
from .composite import all_, any_, eq, ge, isfinite, le, logical_and, lt, movedim, ne, norm
from .cumulative import cummax
from .diagonals import diag, diagonal
from .expect import expect
from .indexing import INDEX_ADD, IndexAddAttrs, gather, index_with, masked_fill
from .nonzero_unique import masked_select
from .parts import select
from .promotion import cast
from .put import counted, put
from .reduce import amax, amin, argmax, cumsum
from .reduce import sum as total
from .scatter import scatter_reduce
from .slices import piece, split
from .sorting import Ordered, all_of_them, of_nothing, sort
from .source import full
from .subscript import getitem


def _replaced(
    op: str, x: AbstractTensor, take: Callable[[AbstractTensor], AbstractTensor], src: AbstractTensor
) -> AbstractTensor:
    """``x`` with ``src`` in place of the part that ``take`` returns."""
    shape = x.type.shape
    numbers = take(sh.reshape(counted(x, product(shape)), shape))
    if src.type.shape != numbers.type.shape:
        raise ShapeError(f"{op}: the source has the shape {format_shape(numbers.type.shape)}, got {src.type}")
    values = cast(src, x.type.dtype)
    return sh.reshape(put(sh.flatten(x), (0,), [sh.flatten(numbers)], sh.flatten(values)), shape)


def diagonal_scatter(
    x: AbstractTensor, src: AbstractTensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> AbstractTensor:
    """``x`` with ``src`` as its diagonal; ``offset`` and axes as for ``diagonal``."""
    return _replaced("diagonal_scatter", x, lambda whole: diagonal(whole, offset, dim1, dim2), src)


def select_scatter(x: AbstractTensor, src: AbstractTensor, dim: int, index: Dim) -> AbstractTensor:
    """``x`` with ``src`` as the slice at ``index`` along ``dim``."""
    return _replaced("select_scatter", x, lambda whole: select(whole, dim, index), src)


def slice_scatter(
    x: AbstractTensor,
    src: AbstractTensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> AbstractTensor:
    """``x`` with ``src`` in place of ``x[start:end:step]`` along ``dim``."""
    axis = sh.normal_axis("slice_scatter", dim, x.type.rank)
    key = (*[slice(None)] * axis, slice(start, end, step))
    return _replaced("slice_scatter", x, lambda whole: getitem(whole, key), src)


def put_flat(
    x: AbstractTensor, index: AbstractTensor, source: AbstractTensor, accumulate: bool = False
) -> AbstractTensor:
    """``x`` with each element of ``source`` at its ``index`` in the flat tensor, or added there."""
    if source.type.dtype != x.type.dtype or source.type.size != index.type.size:
        raise ShapeError(
            f"put: needs as many values of {x.type.dtype.name} as indices, got {source.type}, {index.type}"
        )
    how = "add" if accumulate else "set"
    return sh.reshape(put(sh.flatten(x), (0,), [sh.flatten(index)], sh.flatten(source), how), x.type.shape)


def index_reduce(
    x: AbstractTensor,
    dim: int,
    index: AbstractTensor,
    source: AbstractTensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> AbstractTensor:
    """The "prod", "mean", "amax" or "amin" of the slices of ``source`` that the vector ``index`` sends to each place.

    Without ``include_self``, the slices of ``x`` at these places are left out.
    """
    axis = sh.normal_axis("index_reduce", dim, x.type.rank)
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise OptionError(f'index_reduce: reduce is "prod", "mean", "amax" or "amin", got {shown(reduce)}')
    if index.type.rank != 1 or source.type.rank != x.type.rank:
        raise ShapeError(f"index_reduce: needs a vector of indices and slices of {x.type}, got {source.type}")
    lane = sh.reshape(index, (index.type.shape[0], *(1,) * (x.type.rank - 1 - axis)))
    return scatter_reduce(x, dim, sh.expand(lane, source.type.shape), source, reduce, include_self)


def fill_diagonal(x: AbstractTensor, fill_value: float, wrap: bool = False) -> AbstractTensor:
    """``x`` with a number on its main diagonal; with ``wrap``, the diagonal of a tall matrix starts again below it."""
    rank, shape = x.type.rank, x.type.shape
    if rank < 2 or (rank > 2 and any(size != shape[0] for size in shape)):
        raise ShapeError(f"fill_diagonal: needs a matrix, or axes that are all of one size, got {x.type}")
    numbers = [
        sh.reshape(counted(x, size), (size, *(1,) * (rank - 1 - axis))) for axis, size in enumerate(shape)
    ]  # fmt: skip
    rows = numbers[0]
    if wrap and rank == 2:
        rows = ew.remainder(rows, shape[1] + 1)
    there = eq(rows, numbers[1])
    for more in numbers[2:]:
        there = logical_and(there, eq(rows, more))
    return masked_fill(x, sh.expand(there, shape), fill_value)


def diagflat(x: AbstractTensor, offset: int = 0) -> AbstractTensor:
    """A matrix with the elements of ``x`` on a diagonal, else 0."""
    return diag(sh.flatten(x), offset)


def split_with_sizes(x: AbstractTensor, split_sizes: Sequence[Dim], dim: int = 0) -> tuple[AbstractTensor, ...]:
    """``x`` cut along ``dim`` into pieces of the sizes listed."""
    return split(x, list(split_sizes), dim)


def sum_to_size(x: AbstractTensor, *shape: Dim) -> AbstractTensor:
    """``x`` summed to a shape that broadcasts to its own; sums of integers and bools are int64."""
    wanted = sh.as_shape("sum_to_size", shape)
    lead = x.type.rank - len(wanted)
    fits = lead >= 0 and all(a in (b, 1) for a, b in zip(wanted, x.type.shape[max(lead, 0) :], strict=False))
    if not fits:
        raise ShapeError(f"sum_to_size: {format_shape(wanted)} does not broadcast to {x.type}")
    return (x if x.type.shape == wanted or is_float(x.type.dtype) else cast(x, int64)).sum_to(wanted)


def msort(x: AbstractTensor) -> AbstractTensor:
    """The elements sorted along the first axis."""
    return sort(x, 0).values


def mode(x: AbstractTensor, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The most frequent element along ``dim`` (the least of several), and its last index; the size must be known."""
    axis = sh.normal_axis("mode", dim, x.type.rank, scalar=True)
    lane = movedim(x, axis, -1) if x.type.rank else sh.reshape(x, 1)
    if not is_at_least(lane.type.shape[-1], 1):
        raise ShapeError(f"mode: axis {axis} of {x.type} holds nothing")
    ordered, found = sort(lane, -1)
    numbers = sh.expand(counted(lane, lane.type.shape[-1]), lane.type.shape)
    before = piece(ordered, lane.type.rank - 1, 0, lane.type.shape[-1] - 1)
    after = piece(ordered, lane.type.rank - 1, 1, lane.type.shape[-1] - 1)
    begins = sh.concat([full(numbers, True, (*lane.type.shape[:-1], 1), bool_), ne(before, after)], -1)
    starts = cummax(ew.where(begins, numbers, full(numbers, 0, ())), -1).values
    place = argmax(ew.sub(numbers, starts), -1, True)
    indices = gather(found, -1, place)
    values = gather(lane, -1, indices)
    if not x.type.rank:
        return Ordered(sh.squeeze(values, 0), sh.squeeze(indices, 0))
    if keepdim:
        return Ordered(movedim(values, -1, axis), movedim(indices, -1, axis))
    return Ordered(sh.squeeze(values, -1), sh.squeeze(indices, -1))


def nanmedian(x: AbstractTensor, dim: int | None = None, keepdim: bool = False) -> AbstractTensor | Ordered:
    """As ``median``, ignoring NaNs; NaN if there is nothing else."""
    if dim is None and (nothing := of_nothing(x)) is not None:
        return nothing
    flat = sh.flatten(x) if dim is None else x
    axis = 0 if dim is None else sh.normal_axis("nanmedian", dim, x.type.rank, scalar=True)
    lane = flat if flat.type.rank else sh.reshape(flat, 1)
    if not is_at_least(lane.type.shape[axis], 1):
        raise ShapeError(f"nanmedian: axis {axis} of {x.type} holds nothing")
    count = total(eq(lane, lane), axis, True)
    place = clip(ew.floor_divide(ew.sub(count, 1), 2), 0)
    indices = gather(sort(lane, axis).indices, axis, place)
    values = gather(lane, axis, indices)
    if dim is None:
        return all_of_them(lane, sh.squeeze(values, 0))
    if keepdim and x.type.rank:
        return Ordered(values, indices)
    return Ordered(sh.squeeze(values, axis), sh.squeeze(indices, axis))


def unique_consecutive(
    x: AbstractTensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> AbstractTensor | tuple[AbstractTensor, ...]:
    """The elements of ``x``, or its slices along ``dim``, with each run of equal ones reduced to one.

    With ``return_inverse`` also the run of each element, with ``return_counts`` the length of each run.
    """
    axis = 0 if dim is None else sh.normal_axis("unique_consecutive", dim, x.type.rank)
    lane = sh.flatten(x) if dim is None else movedim(x, axis, 0)
    size = lane.type.shape[0]
    if not is_at_least(size, 1):
        firsts = full(lane, True, (0,), bool_)
    else:
        differ = ne(piece(lane, 0, 1, size - 1), piece(lane, 0, 0, size - 1))
        if lane.type.rank > 1:
            differ = any_(sh.reshape(differ, (size - 1, product(lane.type.shape[1:]))), 1)
        firsts = sh.concat([full(differ, True, (1,)), differ], 0)
    places = masked_select(counted(lane, size), firsts)
    values = index_with(lane, (0,), [places])
    inverse = ew.sub(cumsum(cast(firsts, int64), 0), 1)
    results = [movedim(values, 0, axis) if dim is not None else values]
    if return_inverse:
        results.append(sh.reshape(inverse, x.type.shape) if dim is None else inverse)
    if return_counts:
        results.append(apply(INDEX_ADD, IndexAddAttrs((0,), places.type.shape), full(inverse, 1), inverse))
    return tuple(results) if len(results) > 1 else results[0]


def nonzero_static(x: AbstractTensor, *, size: int, fill_value: int = -1) -> AbstractTensor:
    """The indices of the first ``size`` non-zero elements as rows, filled up with rows of ``fill_value``."""
    count, rank = integer("nonzero_static", "size", size, 0), x.type.rank
    flat = ne(sh.flatten(x), 0) if x.type.dtype != bool_ else sh.flatten(x)
    rows = ew.sub(cumsum(cast(flat, int64), 0), 1)
    kept = logical_and(flat, lt(rows, count))
    there = put(
        full(rows, -1, (count + 1,)), (0,), [ew.where(kept, rows, full(rows, count, ()))], counted(x, flat.type.size)
    )
    rest = piece(there, 0, 0, count)
    columns = []
    for dim in reversed(x.type.shape):
        columns.append(ew.remainder(rest, clip(full(rest, dim, ()), 1)))
        rest = ew.floor_divide(rest, clip(full(rest, dim, ()), 1))
    if not rank:
        return full(rows, 0, (count, 0))
    found = sh.stack(columns[::-1], 1)
    taken = ge(piece(there, 0, 0, count), 0)
    return ew.where(sh.unsqueeze(taken, 1), found, full(found, fill_value, ()))


def renorm(x: AbstractTensor, p: float, dim: int, maxnorm: float) -> AbstractTensor:
    """``x`` with its slices along ``dim`` scaled down to the ``p``-norm ``maxnorm`` where theirs is larger."""
    axis = sh.normal_axis("renorm", dim, x.type.rank)
    others = [i for i in range(x.type.rank) if i != axis]
    if not others or not is_float(x.type.dtype):
        raise ShapeError(f"renorm: needs two axes or more of floating-point numbers, got {x.type}")
    size = norm(x, p, others, True)
    return ew.mul(x, ew.where(le(size, maxnorm), full(x, 1.0, ()), ew.div(maxnorm, ew.add(size, 1e-7))))


def histc(x: AbstractTensor, bins: int = 100, min: float = 0, max: float = 0) -> AbstractTensor:
    """How many elements are in each of ``bins`` equal intervals from ``min`` to ``max``; others are not counted.

    If ``min`` and ``max`` are equal, those of the data are used.
    """
    count = integer("histc", "bins", bins, 1)
    if not is_float(x.type.dtype):
        raise DTypeError(f"histc: needs floating-point numbers, got {x.type}")
    if not (min <= max and math.isfinite(min) and math.isfinite(max)):
        raise OptionError(f"histc: needs numbers min <= max, got {min} and {max}")
    flat = sh.stop_gradient(sh.flatten(x))
    low, high = full(x, float(min), ()), full(x, float(max), ())
    if min == max and is_at_least(flat.type.shape[0], 1):
        flat = expect(flat, all_(isfinite(flat)), True, "histc: there is no range of numbers that are not finite")
        low, high = amin(flat), amax(flat)
    one = eq(low, high)
    low, high = ew.where(one, ew.sub(low, 1.0), low), ew.where(one, ew.add(high, 1.0), high)
    inside = logical_and(ge(flat, low), le(flat, high))
    place = ew.mul(ew.div(ew.sub(flat, low), ew.sub(high, low)), float(count))
    number = clip(cast(ew.floor(ew.where(inside, place, full(place, 0.0, ()))), int64), 0, count - 1)
    return apply(INDEX_ADD, IndexAddAttrs((0,), (count,)), cast(inside, x.type.dtype), number)
