"""The distinct elements or slices of an array: for kernels, and for importers where the array is already known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..base.arrays import Array


class UniqueElements(NamedTuple):
    """The distinct elements, the first place of each, which of them each element is, and how often each occurs."""

    values: Array
    first: Array
    inverse: Array
    counts: Array


def unique_elements(x: Array, axis: int | None, ordered: bool, nan_alike: bool = True) -> UniqueElements:
    """The distinct elements or, along ``axis``, slices: sorted, or in order of first occurrence.

    NaNs count as equal if ``nan_alike``; slices that hold a NaN are never equal.
    """
    if axis is not None and not x.size:
        return _without_numbers(x, axis)
    values, first, inverse, counts = np.unique(x, True, True, True, axis, equal_nan=nan_alike)
    if not ordered:
        kept = np.argsort(first)
        place = np.argsort(kept)
        values = np.take(values, kept, axis or 0)
        first, inverse, counts = first[kept], place[inverse], counts[kept]
    return UniqueElements(values, *(one.reshape(-1).astype(np.int64) for one in (first, inverse, counts)))


def _without_numbers(x: Array, axis: int) -> UniqueElements:
    """Empty slices are all equal, a case that ``np.unique`` does not handle."""
    count = x.shape[axis]
    found = min(count, 1)
    zeros, counts = np.zeros(count, np.int64), np.full(found, count, np.int64)
    return UniqueElements(np.take(x, range(found), axis), zeros[:found], zeros, counts)
