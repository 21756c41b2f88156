"""Products with weights, cut into panels of columns so narrow that BLAS reads them where they lie.

BLAS copies (packs) both matrices of a large product before it multiplies: with few rows on the left, that takes
longer than the product. Where a BLAS has kernels for small products that do not pack
(:attr:`~lucid.runtime.machine.Machine.unpacked`), one product for each panel of columns is up to twice as fast. Weights
are stored panel by panel, so that each is one run of memory.
"""

from __future__ import annotations

from ..machine import Machine

WIDEST = 64
"""Columns of a panel: four vectors of 512 bits."""
STEP = 16
"""A panel is a multiple of so many columns wide: one vector of 512 bits."""
PACKING = 16
"""To pack a matrix takes as long as to multiply so many rows with it."""


def panel_width(machine: Machine, rows: int, depth: int, columns: int) -> int:
    """Columns of each panel of a (rows, depth) x (depth, columns) product; all of them where one product is better."""
    if rows * depth * columns <= machine.unpacked:
        return columns
    for width in range(min(WIDEST, columns), STEP, -STEP):
        if columns % width == 0 and rows * depth * width <= machine.unpacked:
            return width
    return columns


def product_seconds(machine: Machine, rows: int, depth: int, columns: int, itemsize: int, resident: bool) -> float:
    """Predicted time of one such product on one thread; ``resident`` weights lie in the second-level cache."""
    read = depth * columns * itemsize / (machine.near if resident else machine.far)
    width = panel_width(machine, rows, depth, columns)
    packed = rows * depth * width > machine.unpacked
    return max(2.0 * (rows + packed * PACKING) * depth * columns / machine.flops, read)
