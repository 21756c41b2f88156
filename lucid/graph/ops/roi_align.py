"""RoIAlign: regions of images sampled between pixels (He et al., 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import OptionError
from ..dims import Dim
from ..opdef import AbstractTensor
from ..types import bool_, int64
from .bounds import clip
from .composite import eq, ge, gt, le, logical_and, logical_not, logical_or, lt
from .elementwise import ceil, floor, floor_divide, isnan, minimum, mul, remainder, where
from .grid_sample import Tap
from .indexing import index_with
from .linalg import matmul
from .loops import loop, scan
from .promotion import cast
from .put import counted
from .reduce import amax, mean
from .shape import concat, permute, reshape, stack, transpose, unsqueeze
from .source import constant, full


def roi_align(
    x: AbstractTensor, rois: AbstractTensor, batch: AbstractTensor, size: tuple[int, int], scale: float, samples: int,
    *, centred: bool = True, largest: bool = False,
) -> AbstractTensor:  # fmt: skip
    """The contents of R regions of images, each divided into a grid of ``size`` bins: (R, C, *size).

    The value of a bin is the mean of the image at sample points in it, interpolated bilinearly.

    Parameters
    ----------
    x
        Images (N, C, H, W).
    rois, batch
        For each region its corners (x1, y1, x2, y2), and the index of its image.
    size, scale
        Height and width of the result; the factor from coordinates of ``rois`` to pixels of ``x``.
    samples
        The number of sample points of a bin along each axis; 0 for one per pixel, rounded up.
    centred
        Whether pixel centres have the coordinates 0.5, 1.5, ...; otherwise 0, 1, ..., and regions are at least a pixel
        large.
    largest
        Whether to take the maximum instead, over the weighted four neighbours of all sample points.
    """
    if samples < 0:
        raise OptionError(f"roi_align: the number of sample points along each axis is 0 or more, got {samples}")
    shift = 0.5 if centred else 0.0
    ends = [rois[:, i] * scale - shift for i in range(4)]
    sides = []
    for axis, bins in enumerate(size):
        start, reach = ends[1 - axis], ends[3 - axis] - ends[1 - axis]
        sides.append(_Side(x.type.shape[2 + axis], bins, start, reach if centred else clip(reach, 1.0, None)))
    if samples:
        return _of_so_many(x, batch, sides, samples, largest)
    return _largest_of_all(x, batch, sides) if largest else _mean_of_all(x, batch, sides)


class _Side(NamedTuple):
    """The regions along one axis.

    Attributes
    ----------
    size, bins
        The number of pixels of the axis, and of the bins of each region.
    start, reach
        Where each region begins, and its length.
    """

    size: Dim
    bins: int
    start: AbstractTensor
    reach: AbstractTensor


def _of_so_many(
    x: AbstractTensor, batch: AbstractTensor, sides: Sequence[_Side], samples: int, largest: bool
) -> AbstractTensor:
    """RoIAlign with a fixed number of sample points in each bin."""
    found = []
    for one in sides:
        steps = (cast(counted(x, one.bins * samples), x.type.dtype) + 0.5) / float(samples)
        place = unsqueeze(one.start, 1) + unsqueeze(one.reach / float(one.bins), 1) * steps
        found.append(_taps_at_edges(place, one.size))
    parts = _neighbours(x, batch, *found)
    total = amax(stack(parts, 0), 0) if largest else parts[0] + parts[1] + parts[2] + parts[3]
    high, wide = (one.bins for one in sides)
    apart = reshape(total, (batch.type.shape[0], high, samples, wide, samples, x.type.shape[1]))
    return permute(amax(apart, (2, 4)) if largest else mean(apart, (2, 4)), 0, 3, 1, 2)


def _neighbours(
    x: AbstractTensor, batch: AbstractTensor, rows: Sequence[Tap], columns: Sequence[Tap]
) -> list[AbstractTensor]:
    """The four pixels around each sample point, times their weights: each (R, rows, columns, C)."""
    pixels, image = permute(x, 0, 2, 3, 1), reshape(batch, (-1, 1, 1))
    parts = []
    for row, high in rows:
        for column, wide in columns:
            assert high is not None and wide is not None
            weight = unsqueeze(unsqueeze(high, 2) * unsqueeze(wide, 1), 3)
            parts.append(index_with(pixels, (0, 1, 2), [image, unsqueeze(row, 2), unsqueeze(column, 1)]) * weight)
    return parts


def _taps_at_edges(place: AbstractTensor, size: Dim) -> list[Tap]:
    """The two pixels around each sample point and their weights; it counts as at the edge up to a pixel outside."""
    last = full(place, size - 1, ())
    there = logical_and(ge(place, -1.0), le(place, last + 1))
    inside = cast(there, place.type.dtype)
    held = where(there, clip(place, 0.0, last), 0.0)  # NaN lies outside
    first = floor(held)
    part = held - first
    low = cast(first, int64)
    high = cast(clip(first + 1, None, last), int64)
    return [(low, (1 - part) * inside), (high, part * inside)]


# ---------------------------------------------------------------- as many sample points as bins are large


class _Places(NamedTuple):
    """The sample points in the bins of regions (R, bins): their number, the first one, and their distance.

    ``before`` counts those before the image, and ``after`` those that do not lie behind it. NaNs are not counted.
    """

    total: AbstractTensor
    first: AbstractTensor
    apart: AbstractTensor
    before: AbstractTensor
    after: AbstractTensor


def _places(one: _Side) -> _Places:
    step = one.reach / float(one.bins)
    total = _held(ceil(step), full(step, math.inf))
    apart = where(gt(total, 0.0), step / clip(total, 1.0, None), 1.0)
    total, apart, step, start = (unsqueeze(value, 1) for value in (total, apart, step, one.start))
    part = cast(counted(step, one.bins), step.type.dtype)
    first = start + part * step + apart / 2.0
    last = full(first, one.size, ())
    before = _held(ceil((-1.0 - first) / apart), total)
    return _Places(total, first, apart, before, _held(floor((last - first) / apart) + 1.0, total))


def _held(number: AbstractTensor, most: AbstractTensor) -> AbstractTensor:
    """``number`` clamped to between 0 and ``most``; NaN becomes 0."""
    return where(gt(number, 0.0), minimum(number, most), 0.0)


def _mean_of_all(x: AbstractTensor, batch: AbstractTensor, sides: Sequence[_Side]) -> AbstractTensor:
    """Means over rows and columns as products with the weights of the pixels along each axis."""
    rows, columns = map(_shares, sides)

    def region(number: AbstractTensor, high: AbstractTensor, wide: AbstractTensor) -> list[AbstractTensor]:
        return [matmul(matmul(high, index_with(x, (0,), [number])), transpose(wide, 0, 1))]

    (y,) = scan(region, [], [cast(batch, int64), rows, columns], batch.type.shape[0])
    return y


def _shares(one: _Side) -> AbstractTensor:
    """The weight of each pixel in the mean of a bin: (R, bins, pixels).

    The sample points between two pixels are equally spaced, so their number and mean determine both weights.
    """
    at = _places(one)
    total, first, apart, before, _ = (unsqueeze(value, 2) for value in at)
    # gaps between pixels, the first of which is before the image and the last behind it
    gap = cast(counted(first, one.size + 1), first.type.dtype)
    until = _held(floor((gap - first) / apart) + 1.0, total)
    since = concat([before, until[:, :, :-1]], 2)
    number = until - since
    middle = first + apart * (since + until - 1.0) / 2.0 - (gap - 1.0)
    upper = where(eq(gap, 0.0), 1.0, where(eq(gap, full(gap, one.size, ())), 0.0, middle))
    upper = where(gt(number, 0.0), upper, 0.0)
    weights = number[:, :, :-1] * upper[:, :, :-1] + number[:, :, 1:] * (1.0 - upper[:, :, 1:])
    return weights / clip(total, 1.0, None)


def _largest_of_all(x: AbstractTensor, batch: AbstractTensor, sides: Sequence[_Side]) -> AbstractTensor:
    """The maxima: first the largest neighbour is found, without a gradient, then that pixel is read, with one."""
    both = [_places(one) for one in sides]
    columns, winner = _winners(x, batch, sides, both)
    number, tap = floor_divide(clip(winner, 0), 4), remainder(clip(winner, 0), 4)
    cell = floor_divide(number, columns), remainder(number, columns)
    index, weights = [reshape(batch, (-1, 1, 1, 1))], list[AbstractTensor]()
    for axis, (one, at) in enumerate(zip(sides, both, strict=True)):
        first, apart, before = (
            unsqueeze(unsqueeze(value, 2 - axis), 3) for value in (at.first, at.apart, at.before)
        )  # fmt: skip
        (low, near), (high, far) = _taps_at_edges(first + apart * (before + cast(cell[axis], x.type.dtype)), one.size)
        assert near is not None and far is not None
        second = gt(remainder(tap, 2) if axis else floor_divide(tap, 2), 0)
        index.append(where(second, high, low))
        weights.append(where(second, far, near))
    index.append(counted(x, x.type.shape[1]))
    pixel = index_with(permute(x, 0, 2, 3, 1), (0, 1, 2, 3), index)
    return permute(where(lt(winner, 0), 0.0, pixel * (weights[0] * weights[1])), 0, 3, 1, 2)


def _winners(
    x: AbstractTensor, batch: AbstractTensor, sides: Sequence[_Side], both: Sequence[_Places]
) -> tuple[AbstractTensor, AbstractTensor]:
    """The number of sample points in a row, and for each bin 4 * sample point + neighbour of the maximum.

    It loops over sample points, for all regions at once. Those outside the image have the value 0 and are not visited;
    the result is -1 if that 0 is the maximum.
    """
    # sample points are more than half a pixel apart, so the image holds no more, however large a region claims to be
    inside = [
        minimum(at.after - at.before, full(at.after, 2 * one.size + 3, ())) for one, at in zip(sides, both, strict=True)
    ]
    most = [clip(amax(concat([reshape(one, (-1,)), full(one, 0.0, (1,))], 0)), 0.0, None) for one in inside]
    down, right = (cast(one, int64) for one in most)
    columns = clip(right, 1)

    def iterate(number: AbstractTensor, best: AbstractTensor, winner: AbstractTensor) -> list[AbstractTensor]:
        found, there = [], []
        for one, at, count, place in zip(
            sides, both, inside, (floor_divide(number, columns), remainder(number, columns)), strict=True
        ):
            nth = cast(place, x.type.dtype)
            there.append(lt(nth, count))
            found.append(_taps_at_edges(at.first + at.apart * (at.before + nth), one.size))
        seen = unsqueeze(logical_and(unsqueeze(there[0], 2), unsqueeze(there[1], 1)), 3)
        for tap, part in enumerate(_neighbours(x, batch, *found)):
            more = gt(part, best) | lt(winner, -1) | logical_and(isnan(part), logical_not(isnan(best)))
            better = logical_and(seen, more)
            best, winner = where(better, part, best), where(better, number * 4 + tap, winner)
        return [constant(x, True), best, winner]

    outside = [lt(one, at.total) | eq(at.total, 0.0) for one, at in zip(inside, both, strict=True)]
    some = unsqueeze(logical_or(unsqueeze(outside[0], 2), unsqueeze(outside[1], 1)), 3)
    shape = (batch.type.shape[0], sides[0].bins, sides[1].bins, x.type.shape[1])
    some = logical_and(some, full(x, True, shape, bool_))
    start = [where(some, full(x, 0.0, shape), -math.inf), where(some, constant(x, -1), -2)]
    _, winner = loop(iterate, mul(down, right), constant(x, True), start)
    return columns, winner
