"""How what data decides is found, on arrays: kernels do, and an importer where everything is known beforehand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..base.arrays import Array


class Different(NamedTuple):
    """The different elements, where the first of each is, which of them each element is, and how many there are."""

    values: Array
    first: Array
    inverse: Array
    counts: Array


def different(x: Array, axis: int | None, ordered: bool, nan_alike: bool = True) -> Different:
    """The different elements or, along ``axis``, slices: in order, or as they come first.

    An element that is NaN is the same as another where they are ``nan_alike``; slices with NaN never are.
    """
    if axis is not None and not x.size:
        return _without_numbers(x, axis)
    values, first, inverse, counts = np.unique(x, True, True, True, axis, equal_nan=nan_alike)
    if not ordered:
        kept = np.argsort(first)
        place = np.argsort(kept)
        values = np.take(values, kept, axis or 0)
        first, inverse, counts = first[kept], place[inverse], counts[kept]
    return Different(values, *(one.reshape(-1).astype(np.int64) for one in (first, inverse, counts)))


def _without_numbers(x: Array, axis: int) -> Different:
    """Slices that hold nothing are all the same, for which NumPy has no answer."""
    count = x.shape[axis]
    found = min(count, 1)
    zeros, counts = np.zeros(count, np.int64), np.full(found, count, np.int64)
    return Different(np.take(x, range(found), axis), zeros[:found], zeros, counts)
