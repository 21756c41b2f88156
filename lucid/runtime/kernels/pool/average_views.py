"""Views for average and adaptive pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....base.arrays import Array
from ..shared.pooling_views import At


def bind_divisions(work: Sequence[Sequence[At]], y: Array, divisor: Array) -> list[list[tuple[Array, Array]]]:
    """The sums of each block of images, channels and rows, and their divisors."""
    return [[(y[at], divisor[at[2]] if divisor.ndim else divisor) for at in mine] for mine in work]


def bind_spread(parts: Sequence[tuple[At, At]], target: Array, source: Array) -> list[tuple[Array, Array]]:
    """Views for ``target[a] += source[b]``."""
    return [(target[a], source[b]) for a, b in parts]


def bind_means(spans: Sequence[At], source: Array, target: Array, axis: int) -> list[tuple[Array, Array]]:
    """Each span of the source, and the slice of the target that its mean goes to."""
    moved = target.transpose(axis, *(i for i in range(4) if i != axis))
    return [(source[span], moved[i]) for i, span in enumerate(spans)]


def windows_arg_max(windows: Sequence[tuple[slice, slice]], x: Array, index: Array) -> None:
    """Write the flat position of the first maximum (or NaN) of each window to ``index``."""
    width, cols = x.shape[3], index.shape[3]
    for number, (down, right) in enumerate(windows):
        part = x[:, :, down, right]
        best = part.reshape(*part.shape[:2], part.shape[2] * part.shape[3]).argmax(2)
        row, col = np.divmod(best, part.shape[3])
        index[:, :, number // cols, number % cols] = (down.start + row) * width + right.start + col
