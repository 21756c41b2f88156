"""Functions that programs call for products in blocks: packing weights as panels, and batches of small products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....base.arrays import Array
from ...program.views import as_view


def panels_of(matrix: Array, width: int) -> Array:
    """A view of (depth, columns) weights as panels (panels, depth, width)."""
    return as_view(matrix, matrix.shape[0], -1, width).transpose(1, 0, 2)


def turn_panels(weights: Array, out: Array) -> None:
    """Pack (outputs, depth) weights as the panels of their transpose, via a padded copy of each panel's rows.

    Without padding, rows whose distance is a power of two would compete for the same cache sets, and each cache line
    would be loaded once per number in it.
    """
    _, depth, width = out.shape
    rows = np.empty((width, depth + 16), out.dtype)[:, :depth]
    for index, panel in enumerate(out):
        rows[...] = weights[index * width : (index + 1) * width]
        panel[...] = rows.T


def small_products(a: Array, panels: Array, out: Array, rows: int) -> Iterator[tuple[Array, Array, Array]]:
    """``out = a @ weights`` as one or two batches of (left, panels, result) for ``np.matmul``.

    Parameters
    ----------
    a
        (..., rows, depth).
    panels
        (..., panels, depth, width).
    out
        (..., rows, panels * width), contiguous along its last axis.
    rows
        Rows of a block.
    """
    if a.ndim == 2 and rows >= len(a) and len(panels) == 1:
        yield a, panels[0], out
        return
    width, weights = panels.shape[-1], panels[..., :, None, :, :]
    whole = a.shape[-2] // rows * rows
    for first, last, size in ((0, whole, rows), (whole, a.shape[-2], a.shape[-2] - whole)):
        if last > first:
            left, result = a[..., first:last, :], out[..., first:last, :]
            blocks = (last - first) // size  # not -1, which is ambiguous for empty arrays
            left = as_view(left, *left.shape[:-2], 1, blocks, size, left.shape[-1])
            result = as_view(result, *result.shape[:-2], blocks, size, panels.shape[-3], width)
            axes = range(result.ndim - 4)
            yield left, weights, result.transpose(*axes, *(len(axes) + i for i in (2, 0, 1, 3)))


def in_ranges(rows: int, a: Array, out: Array, unpacked: int) -> tuple[Array, Array]:
    """Views of ``a`` and ``out`` that split the product ``out = matrix @ a`` into equal ranges of columns.

    Parameters
    ----------
    rows
        Rows of the (small) matrix.
    a, out
        (..., depth, columns) and (..., rows, columns).
    unpacked
        Multiply-adds up to which BLAS does not pack ``a``, which takes longer than the product; 0 if it always does.
    """
    depth, columns = a.shape[-2:]
    least = -(-rows * depth * columns // unpacked) if unpacked else 1
    count = next((n for n in range(least, 4 * least) if columns % n == 0), 1)

    def parted(matrix: Array) -> Array:
        parts = as_view(matrix, *matrix.shape[:-1], count, columns // count)
        return parts.swapaxes(-3, -2)

    return parted(a), parted(out)
