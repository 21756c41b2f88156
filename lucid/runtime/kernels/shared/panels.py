"""Products with weights, in blocks so small that BLAS multiplies both matrices where they lie.

BLAS copies (packs) the matrices of a large product before it multiplies them; with few rows on the left, or
little depth, that takes a good part of the time. A BLAS that has kernels for small products does not pack these
(:attr:`~lucid.runtime.planning.machine.Machine.unpacked`): a large product is then given to it as a batch of small
ones, some rows with some columns of the weights each. The weights are stored as panels of so many columns, one after
another.
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
"""Columns of a panel: from four vectors of 512 bits down to one; fewer columns than that form a panel of their own."""
SHORT = 14
"""The least rows of a block: with fewer, a narrower panel is better."""


class Blocking(NamedTuple):
    """Rows of a block, and columns of a panel."""

    rows: int
    width: int


def blocking(machine: Machine, rows: int, depth: int, columns: int, itemsize: int) -> Blocking:
    """How to cut a (rows, depth) x (depth, columns) product; not at all if it is small, or better packed by BLAS."""
    whole = Blocking(max(1, rows), max(1, columns))
    streamed = is_streamed(machine, depth, columns, itemsize)
    if itemsize != 4 or min(rows, columns) < 2 or rows * depth * columns <= machine.unpacked:
        return whole
    least = rows if streamed else min(rows, SHORT)  # what is read once had better be packed: BLAS reads ahead then
    for width in WIDTHS if columns >= NARROWEST else (columns,):
        most = machine.unpacked // (depth * width)
        if columns % width == 0 and most >= least:
            return Blocking(_even(rows, most), width)
    return whole


def in_panels(columns: int) -> bool:
    """Whether this many columns divide into panels of one width."""
    return any(columns % width == 0 for width in WIDTHS)


def _even(rows: int, most: int) -> int:
    """About ``most`` rows, in blocks of one size if there is one."""
    count = -(-rows // most)
    for more in range(count, 2 * count):
        if rows % more == 0 and rows // more >= min(most, SHORT):
            return rows // more
    return -(-rows // count)


def few_rows(machine: Machine, rows: int, depth: int, columns: int, itemsize: int) -> int | None:
    """Columns of a panel, of so many that are one matrix apart, for a product of all rows at once.

    None where BLAS would pack them all the same, or where there is one row, which is quicker with one matrix.
    """
    if itemsize != 4 or rows < 2:
        return None
    most = machine.unpacked // (rows * depth)
    found = [width for width in WIDTHS if width <= most and columns % width == 0]
    vectors = [width for width in found if width % NARROWEST == 0]  # of 512 bits
    whole = [columns] if columns <= most else []
    return max(vectors or whole or found, default=None)


def is_streamed(machine: Machine, depth: int, columns: int, itemsize: int) -> bool:
    """Whether weights do not stay in the second-level cache from one product to the next."""
    return depth * columns * itemsize > machine.l2 // 2


def product_of(machine: Machine, rows: int, depth: int, columns: int, itemsize: int, resident: bool) -> Product:
    """This product as work; ``resident`` weights are in the second-level cache."""
    cut = blocking(machine, rows, depth, columns, itemsize)
    packed = cut.rows * depth * cut.width > machine.unpacked
    return Product(rows, depth, columns, itemsize, packed, resident)


def cut_for(k: Emitter, rows: int, depth: int, columns: int) -> Blocking:
    """The blocking of a kernel's product on this machine.

    A block's sums go over the whole depth one by one, those of a product that BLAS packs over some hundreds at a time:
    their errors grow less.
    """
    if k.exact:
        return Blocking(max(1, rows), max(1, columns))
    return blocking(this_machine(), rows, depth, columns, k.ins[0].dtype.itemsize)


def unpacked(dtype: DType) -> int:
    """Multiply-adds up to which BLAS reads both matrices of numbers of this type where they lie."""
    return this_machine().unpacked if dtype.itemsize == 4 else 0


def multiply_lines(k: Emitter, products: object, *, whole: bool = False) -> str:
    """The lines that run the batches of one part; ``whole`` tells that each is one product of contiguous matrices."""
    a, w, out = (k.names.fresh(name) for name in ("left", "panels", "made"))
    product = f"{a}.dot({w}, out={out})" if whole else f"np.matmul({a}, {w}, out={out})"  # dot begins twice as quickly
    return f"for {a}, {w}, {out} in {products}:\n    {product}"
