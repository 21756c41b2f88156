"""Padding of rows that are read column by column, so that their cache lines do not compete for the same cache sets."""

from __future__ import annotations

from math import prod

import numpy as np

from ....base.arrays import Array

LINE = 64
"""Bytes of a cache line."""


def apart(source: Array) -> Array:
    """The array, or a padded copy if its last axis has the largest stride.

    Reading along that axis touches one cache line per number. If the stride is a power of two, all these lines map to
    the same few cache sets and evict one another before they are used up. In the copy, the stride is an odd number of
    lines.
    """
    strides = [abs(stride) for stride in source.strides]
    order = sorted(range(source.ndim), key=lambda axis: -strides[axis])
    if source.size == 0 or order[0] != source.ndim - 1 or strides[-1] <= LINE:
        return source
    shape = [source.shape[axis] for axis in order]
    numbers = prod(shape[1:])
    copy = np.empty((shape[0], apart_row(numbers, source.itemsize)), source.dtype)[:, :numbers].reshape(shape)
    copy[...] = source.transpose(order)
    return copy.transpose([order.index(axis) for axis in range(source.ndim)])


def apart_row(numbers: int, itemsize: int) -> int:
    """The length of padded rows that hold this many numbers: an odd number of cache lines."""
    line = LINE // itemsize
    return (-(-numbers // line) | 1) * line
