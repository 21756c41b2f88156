"""Ops with data-dependent sizes, one element at a time."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..errors import ShapeError
from ..graph.opdef import NoAttrs
from ..graph.ops.data_dependent import (
    FOUND,
    NONZERO,
    SUPPRESSION,
    UNIQUE,
    FoundAttrs,
    SuppressionAttrs,
    UniqueAttrs,
)  # fmt: skip
from .evaluator import known, reference


@reference(FOUND)
def found(attrs: FoundAttrs, x: Array, count: Array) -> Array:
    if int(count) != attrs.size:
        raise ShapeError(f"{int(count)} are found, and the graph is for {attrs.size}")
    return x[: int(count)]


@reference(NONZERO)
def nonzero(attrs: NoAttrs, x: Array) -> tuple[Array, Array]:
    found = [place for place, value in np.ndenumerate(x) if value != 0]
    places = np.zeros((x.size, x.ndim), np.int64)
    for row, place in enumerate(found):
        places[row] = place
    return places, np.asarray(len(found), np.int64)


@reference(UNIQUE)
def unique(attrs: UniqueAttrs, x: Array) -> tuple[Array, ...]:
    slices = list(x.reshape(-1) if attrs.axis is None else np.moveaxis(x, attrs.axis, 0))
    first: list[int] = []
    for number, one in enumerate(slices):
        if not any(_alike(slices[other], one, attrs) for other in first):
            first.append(number)
    if attrs.ordered:
        first.sort(key=lambda number: [(bool(value != value), value) for value in np.ravel(slices[number])])
    inverse = [
        next(i for i, j in enumerate(first) if j == number or _alike(slices[j], one, attrs))
        for number, one in enumerate(slices)
    ]
    values = np.zeros(
        (len(slices), *(x.shape[: attrs.axis] + x.shape[attrs.axis + 1 :] if attrs.axis is not None else ())), x.dtype
    )
    told = np.zeros((3, len(slices)), np.int64)
    told[1] = inverse
    for row, number in enumerate(first):
        values[row], told[0, row], told[2, row] = slices[number], number, inverse.count(row)
    return values, *told, np.asarray(len(first), np.int64)


def _alike(a: Array, b: Array, attrs: UniqueAttrs) -> bool:
    """Whether elements or slices are equal; two NaN elements may count as equal."""
    return bool(np.all(a == b)) or (attrs.nan_alike and np.ndim(a) == 0 and bool(a != a and b != b))


@reference(SUPPRESSION)
def suppression(
    attrs: SuppressionAttrs, boxes: Array, scores: Array, most: Array, overlap: Array, least: Array | None = None
) -> tuple[Array, Array]:
    images, classes, count = scores.shape
    (bound,) = known((attrs.most,))
    limit = min(int(most), bound)
    found = []
    for image, of_class in np.ndindex(images, classes):
        own, places, kept = scores[image, of_class], boxes[image], list[int]()
        for box in sorted(range(count), key=lambda box: (bool(np.isnan(own[box])), -float(own[box]))):
            high = least is None or own[box] > least
            if high and len(kept) < limit and not any(_overlap(places[box], places[i], overlap, attrs) for i in kept):
                kept.append(box)
        found += [(image, of_class, box) for box in kept]
    rows = np.zeros((images * classes * bound, 3), np.int64)
    rows[: len(found)] = found or 0
    return rows, np.asarray(len(found), np.int64)


def _overlap(a: Array, b: Array, limit: Array, attrs: SuppressionAttrs) -> bool:
    """Whether the intersection of two boxes is more than ``limit`` of their union; not if a box has no area."""
    both = [_sides([float(value) for value in box], attrs.centred) for box in (a, b)]
    own = [(x1 - x0) * (y1 - y0) for x0, x1, y0, y1 in both]
    (a0, a1, a2, a3), (b0, b1, b2, b3) = both
    shared = max(min(a1, b1) - max(a0, b0), 0.0) * max(min(a3, b3) - max(a2, b2), 0.0)
    return min(own) > 0 and shared > float(limit) * (sum(own) - shared)


def _sides(box: list[float], centred: bool) -> tuple[float, float, float, float]:
    a, b, c, d = box
    if centred:
        return a - c / 2, a + c / 2, b - d / 2, b + d / 2
    return min(a, c), max(a, c), min(b, d), max(b, d)
