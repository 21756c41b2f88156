"""Histograms of numbers and of points, with the edges of their intervals."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...base.checks import integer, number, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_at_least
from ..opdef import AbstractTensor, apply
from ..types import bool_, int64, is_float
from . import elementwise as ew
from . import shape as sh
from .bounds import clip
from .composite import all_, eq, ge, isfinite, le, logical_and, lt
from .expect import expect
from .indexing import INDEX_ADD, IndexAddAttrs
from .parts import select
from .reduce import amax, amin
from .reduce import sum as total
from .searching import searchsorted
from .slices import piece
from .source import full


class Histogram(NamedTuple):
    """The number (or total weight) of elements in each interval, and the edges of the intervals."""

    hist: AbstractTensor
    bin_edges: AbstractTensor


class Histograms(NamedTuple):
    """The number (or total weight) of points in each cell, and the edges along each coordinate."""

    hist: AbstractTensor
    bin_edges: tuple[AbstractTensor, ...]


def histogram(
    x: AbstractTensor,
    bins: int | AbstractTensor,
    *,
    range: Sequence[float] | None = None,
    weight: AbstractTensor | None = None,
    density: bool = False,
) -> Histogram:
    """The number of elements in each interval, which includes its lower edge; the last includes its upper edge too.

    Parameters
    ----------
    x
        Floating-point numbers, of any shape; the result has their element type, and no gradient.
    bins
        The number of intervals of equal length, or a rising vector of their edges.
    range
        The first and the last edge for a number of intervals; the least and the largest element by default.
    weight
        What each element counts for, in the shape of ``x``; 1 by default.
    density
        Whether the result is divided by its sum and by the lengths of the intervals.
    """
    _check("histogram", x, weight, x.type.shape)
    if range is not None and isinstance(bins, AbstractTensor):
        raise OptionError("histogram: a range is for a number of bins; edges have one already")
    lane = sh.stop_gradient(sh.flatten(x))
    edges = _edges("histogram", lane, bins, range)
    return Histogram(_counted([lane], [edges], weight, density), edges)


def histogramdd(
    x: AbstractTensor,
    bins: int | Sequence[int | AbstractTensor],
    *,
    range: Sequence[float] | None = None,
    weight: AbstractTensor | None = None,
    density: bool = False,
) -> Histograms:
    """The number of points in each cell of a grid, whose intervals are as for :func:`histogram`.

    Parameters
    ----------
    x
        Points, with their coordinates along the last axis, whose size is known.
    bins
        How many intervals there are along each coordinate, or along all, or a vector of edges for each coordinate.
    range
        The first and last edge of each coordinate, one pair after another; by default those of the points.
    weight
        What each point counts for, in the shape of ``x`` without the last axis; 1 by default.
    density
        Whether the result is divided by its sum and by the contents of the cells.
    """
    if x.type.rank < 2 or not isinstance(x.type.shape[-1], int):
        raise ShapeError(f"histogramdd: needs points, with a known number of coordinates, in the last axis: {x.type}")
    _check("histogramdd", x, weight, x.type.shape[:-1])
    count = x.type.shape[-1]
    each = bins if isinstance(bins, list | tuple) else [bins] * count
    if len(each) != count:
        raise OptionError(f"histogramdd: gives {len(each)} bins for {count} coordinates")
    if range is not None and (not isinstance(range, list | tuple) or len(range) != 2 * count):
        raise OptionError(f"histogramdd: the range holds two numbers for each of {count} coordinates: {shown(range)}")
    ranges = [None if range is None else range[2 * i : 2 * i + 2] for i in builtins.range(count)]
    lanes = [sh.stop_gradient(sh.flatten(select(x, -1, i))) for i in builtins.range(count)]
    edges = [_edges("histogramdd", *given) for given in zip(lanes, each, ranges, strict=True)]
    return Histograms(_counted(lanes, edges, weight, density), tuple(edges))


def _check(op: str, x: AbstractTensor, weight: AbstractTensor | None, shape: tuple[object, ...]) -> None:
    if not is_float(x.type.dtype):
        raise DTypeError(f"{op}: needs floating-point numbers, got {x.type}")
    if weight is not None and (weight.type.dtype != x.type.dtype or weight.type.shape != shape):
        raise ShapeError(f"{op}: a weight for each element, in its type, is needed for {x.type}, got {weight.type}")


def _edges(op: str, lane: AbstractTensor, bins: object, range: object) -> AbstractTensor:
    """The edges of the intervals along a coordinate."""
    if isinstance(bins, AbstractTensor):
        size = bins.type.shape[0] if bins.type.rank == 1 else 0
        if not isinstance(size, int) or size < 2 or bins.type.dtype != lane.type.dtype:
            raise ShapeError(f"{op}: edges are a vector of two or more {lane.type.dtype.name}, got {bins.type}")
        rising = le(piece(bins, 0, 0, size - 1), piece(bins, 0, 1, size - 1))
        return expect(sh.stop_gradient(bins), all_(rising), True, f"{op}: edges rise")
    count = integer(op, "bins", bins, 1)
    low, high = _ends(op, lane, range)
    one = eq(low, high)
    low, high = ew.where(one, ew.sub(low, 0.5), low), ew.where(one, ew.add(high, 0.5), high)
    step = ew.div(ew.sub(high, low), float(count))
    numbers = lane.constant(np.arange(count + 1).astype(lane.type.dtype.name))
    rising = ew.add(low, ew.mul(step, numbers))
    falling = ew.sub(high, ew.mul(step, ew.sub(float(count), numbers)))  # which ends with the last edge itself
    return ew.where(lt(numbers, (count + 1) // 2), rising, falling)


def _ends(op: str, lane: AbstractTensor, range: object) -> tuple[AbstractTensor, AbstractTensor]:
    """The first and the last edge; those of no numbers are 0 and 1."""
    if range is not None:
        if not isinstance(range, list | tuple) or len(range) != 2:
            raise OptionError(f"{op}: the range is two numbers, got {shown(range)}")
        low, high = (number(op, "range", one, below=math.inf) for one in range)
        if not low <= high:
            raise OptionError(f"{op}: the range goes from the smaller number to the larger, got {shown(range)}")
        return full(lane, low, ()), full(lane, high, ())
    if not is_at_least(lane.type.shape[0], 1, likely=True):
        return full(lane, 0.0, ()), full(lane, 1.0, ())
    lane = expect(lane, all_(isfinite(lane)), True, f"{op}: there is no range of numbers that are not finite")
    return amin(lane), amax(lane)


def _counted(
    lanes: Sequence[AbstractTensor], edges: Sequence[AbstractTensor], weight: AbstractTensor | None, density: bool
) -> AbstractTensor:
    """What lies in each cell."""
    first = lanes[0]
    inside, cell = full(first, True, None, bool_), full(first, 0, None, int64)
    shape = [marks.type.concrete[0] - 1 for marks in edges]
    for lane, marks, count in zip(lanes, edges, shape, strict=True):
        last = piece(marks, 0, count, 1)
        inside = logical_and(inside, logical_and(ge(lane, piece(marks, 0, 0, 1)), le(lane, last)))
        place = clip(ew.sub(searchsorted(marks, lane, right=True), 1), 0, count - 1)  # the last edge lies within
        cell = ew.add(ew.mul(cell, count), place)
    cells = math.prod(shape)
    values = full(first, 1.0) if weight is None else sh.stop_gradient(sh.flatten(weight))
    values = ew.where(inside, values, full(values, 0.0, ()))
    flat = apply(INDEX_ADD, IndexAddAttrs((0,), (cells,)), values, ew.where(inside, cell, full(cell, 0, ())))
    found = sh.reshape(flat, shape)
    if not density:
        return found
    found = ew.div(found, total(found))
    for axis, marks in enumerate(edges):
        widths = ew.sub(piece(marks, 0, 1, shape[axis]), piece(marks, 0, 0, shape[axis]))
        found = ew.div(found, sh.reshape(widths, [shape[axis] if i == axis else 1 for i in builtins.range(len(shape))]))
    return found
