"""Products with weights, in blocks so small that BLAS reads both matrices in place.

BLAS copies (packs) the matrices of a large product before it multiplies them; with few rows on the left, or
little depth, that takes a good part of the time. A BLAS that has kernels for small products does not pack these
(:attr:`~lucid.runtime.planning.machine.Machine.unpacked`). A large product is then given to it as a batch of small
ones, each of some rows with some columns of the weights. The weights are stored as *panels*: contiguous matrices of
equally many columns each.
See ``docs/decisions/0013-small-products-are-not-packed.md`` for the figures.
"""

from __future__ import annotations

from typing import NamedTuple

from ....graph.types import DType
from ...planning.machine import Machine, this_machine
from ...planning.work import Product
from ...program.emitter import Emitter

WIDEST, NARROWEST = 64, 16
WIDTHS = range(WIDEST, NARROWEST - 1, -8)
"""Columns of a panel, from four 512-bit vectors down to one. Weights with fewer columns are one panel."""
LEAST_BLOCK_ROWS = 14
"""Rows of a block: if a panel's width allows fewer, a narrower one is better."""


class Blocking(NamedTuple):
    """Rows of a block, and columns of a panel."""

    rows: int
    width: int


def blocking(machine: Machine, rows: int, depth: int, columns: int, itemsize: int) -> Blocking:
    """How to cut a (rows, depth) x (depth, columns) product; left whole if it is small, or if packing is faster."""
    whole = Blocking(max(1, rows), max(1, columns))
    streamed = is_streamed(machine, depth, columns, itemsize)
    if itemsize != 4 or min(rows, columns) < 2 or rows * depth * columns <= machine.unpacked:
        return whole
    # streamed weights are cut only if one block has all rows; otherwise BLAS had better pack them: it then prefetches
    least = rows if streamed else min(rows, LEAST_BLOCK_ROWS)
    for width in WIDTHS if columns >= NARROWEST else (columns,):
        most = machine.unpacked // (depth * width)
        if columns % width == 0 and most >= least:
            return Blocking(_even(rows, most), width)
    return whole


def in_panels(columns: int) -> bool:
    """Whether the columns divide into panels of equal width."""
    return any(columns % width == 0 for width in WIDTHS)


def _even(rows: int, most: int) -> int:
    """Rows of a block, at most ``most``: such that all blocks are equal, or else nearly so."""
    least_count = -(-rows // most)
    for count in range(least_count, 2 * least_count):
        if rows % count == 0 and rows // count >= min(most, LEAST_BLOCK_ROWS):
            return rows // count
    return -(-rows // least_count)


def few_rows(machine: Machine, rows: int, depth: int, columns: int, itemsize: int) -> int | None:
    """The width of panels for a product in which all rows are one block.

    None if BLAS would pack even the narrowest panel, or if there is one row, for which a single matrix is faster.
    """
    if itemsize != 4 or rows < 2:
        return None
    most = machine.unpacked // (rows * depth)
    widths = [width for width in WIDTHS if width <= most and columns % width == 0]
    whole_vectors = [width for width in widths if width % NARROWEST == 0]  # multiples of 512 bits
    all_columns = [columns] if columns <= most else []
    return max(whole_vectors or all_columns or widths, default=None)


def is_streamed(machine: Machine, depth: int, columns: int, itemsize: int) -> bool:
    """Whether weights are too large to stay in the second-level cache from one product to the next."""
    return depth * columns * itemsize > machine.l2 // 2


def product_of(machine: Machine, rows: int, depth: int, columns: int, itemsize: int, resident: bool) -> Product:
    """A product in this blocking as work; ``resident`` says that the weights are in the second-level cache."""
    cut = blocking(machine, rows, depth, columns, itemsize)
    packed = cut.rows * depth * cut.width > machine.unpacked
    narrow = not packed and cut.width == NARROWEST < columns
    return Product(rows, depth, columns, itemsize, packed, resident, narrow=narrow)


def cut_for(k: Emitter, rows: int, depth: int, columns: int) -> Blocking:
    """The blocking of a kernel's product on this machine; none if it must be ``exact``.

    A small product adds up the whole depth in one sum. A packed product adds up some hundred terms at a time, which is
    more accurate.
    """
    if k.exact:
        return Blocking(max(1, rows), max(1, columns))
    return blocking(this_machine(), rows, depth, columns, k.ins[0].dtype.itemsize)


def unpacked(dtype: DType) -> int:
    """Multiply-adds up to which BLAS reads both matrices of this type in place."""
    return this_machine().unpacked if dtype.itemsize == 4 else 0


def multiply_lines(k: Emitter, products: object, *, whole: bool = False) -> str:
    """The lines that compute ``products``, a list of (left, panels, result) batches.

    ``whole`` says that each batch is a single product of contiguous matrices.
    """
    a, w, out = (k.names.fresh(name) for name in ("left", "panels", "made"))
    product = f"{a}.dot({w}, out={out})" if whole else f"np.matmul({a}, {w}, out={out})"  # dot starts twice as fast
    return f"for {a}, {w}, {out} in {products}:\n    {product}"
