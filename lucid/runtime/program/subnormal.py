"""Subnormal numbers, with which most processors take a hundred times as long.

Training leaves them in decaying weights. They are treated as zeros when weights are packed for a program: they vanish
next to anything that such a weight is added to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...base.arrays import Array

BLOCK = 1 << 15
"""Elements that are looked at at once."""


def _found(array: Array) -> Iterator[tuple[Array, Array]]:
    """Pieces of a row-major array of floats, and where they are smaller than any that has all its digits."""
    flat = array.reshape(-1)
    least = np.finfo(array.dtype).tiny
    for start in range(0, flat.size, BLOCK):
        piece = flat[start : start + BLOCK]
        yield piece, np.abs(piece) < least


def has_subnormals(array: Array) -> bool:
    """Whether any number of a row-major array is subnormal."""
    return array.dtype.kind == "f" and any(bool(np.any(piece[small])) for piece, small in _found(array))


def flush(array: Array) -> None:
    """Make the subnormal numbers of a row-major array zeros of their sign."""
    if array.dtype.kind == "f":
        for piece, small in _found(array):
            if small.any():
                piece[small] *= 0
