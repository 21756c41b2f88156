"""What average and adaptive poolings read and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..shared.cut import Block, per_block


def bind_divisions(work: Sequence[Sequence[Block]], y: Any, divisor: Any) -> list[list[tuple[Any, Any]]]:
    """Each block's sums, and what to divide them by."""

    def division(block: Block) -> tuple[Any, Any]:
        return y[block.images, block.channels, block.rows], divisor[block.rows] if divisor.ndim else divisor

    return per_block(division, work)


def bind_spread(parts: Sequence[tuple[Any, Any]], target: Any, source: Any) -> list[tuple[Any, Any]]:
    """Views for ``target[a] += source[b]``."""
    return [(target[a], source[b]) for a, b in parts]


def bind_means(spans: Sequence[Any], source: Any, target: Any, axis: int) -> list[tuple[Any, Any]]:
    """Each span of the source, and the slice of the target that its mean goes to."""
    moved = target.transpose(axis, *(i for i in range(4) if i != axis))
    return [(source[span], moved[i]) for i, span in enumerate(spans)]


def windows_arg_max(windows: Sequence[tuple[slice, slice]], x: Any, index: Any) -> None:
    """Flat position of the first maximum (or NaN) of each window."""
    width, cols = x.shape[3], index.shape[3]
    for number, (down, right) in enumerate(windows):
        part = x[:, :, down, right]
        best = part.reshape(*part.shape[:2], part.shape[2] * part.shape[3]).argmax(2)
        row, col = np.divmod(best, part.shape[3])
        index[:, :, number // cols, number % cols] = (down.start + row) * width + right.start + col
