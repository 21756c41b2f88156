"""Arrays whose rows are read across: their cache lines should not compete for the same sets."""

from __future__ import annotations

from math import prod

import numpy as np

from ....base.arrays import Array

LINE = 64
"""Bytes of a cache line."""


def apart(source: Array) -> Array:
    """The array, or a copy of it, whose last axis can be read number by number.

    Rows a power of two of bytes apart have their lines in the same few places of a cache, and drive one another out of
    it while they are read across. They are copied one behind the other, an odd number of lines apart.
    """
    strides = [abs(stride) for stride in source.strides]
    order = sorted(range(source.ndim), key=lambda axis: -strides[axis])
    if source.size == 0 or order[0] != source.ndim - 1 or strides[-1] <= LINE:
        return source
    shape = [source.shape[axis] for axis in order]
    numbers, line = prod(shape[1:]), LINE // source.itemsize
    row = (-(-numbers // line) | 1) * line
    copy = np.empty((shape[0], row), source.dtype)[:, :numbers].reshape(shape)
    copy[...] = source.transpose(order)
    return copy.transpose([order.index(axis) for axis in range(source.ndim)])
