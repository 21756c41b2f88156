"""Subnormal numbers, with which most processors are a hundred times slower.

Training leaves them in decaying weights. They are treated as zeros when weights are packed for a program: they vanish
in sums with any normal number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...base.arrays import Array

BLOCK = 1 << 15
"""Elements that are examined at once."""


def _found(array: Array) -> Iterator[tuple[Array, Array]]:
    """Blocks of a row-major array of floats, each with a mask of the numbers too small to be normal."""
    flat = array.reshape(-1)
    least = np.finfo(array.dtype).tiny
    for start in range(0, flat.size, BLOCK):
        piece = flat[start : start + BLOCK]
        yield piece, np.abs(piece) < least


def has_subnormals(array: Array) -> bool:
    """Whether any number of a row-major array is subnormal."""
    return array.dtype.kind == "f" and any(bool(np.any(piece[small])) for piece, small in _found(array))


def flush(array: Array) -> None:
    """Replace the subnormal numbers of a row-major array by zeros of the same sign."""
    if array.dtype.kind == "f":
        for piece, small in _found(array):
            if small.any():
                piece[small] *= 0
