"""Max pooling: rows first, then columns, block by block; tap by tap, where the code of the winner is wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from ...graph.ir import Node
from ...graph.ops.pool import MAX_POOL, MaxPoolAttrs, pad_constant
from ...graph.types import DType, TensorType, is_float
from ..emitter import Emitter
from ..registry import kernel
from .pool_taps import Region, bind_regions, over_bound, stretches
from .windows import (
    Axis,
    Block,
    Part,
    axes_of,
    bind,
    channels_last,
    deal,
    image_blocks,
    image_scratch,
    over_blocks,
    recheck,
    reduction,
    tuple_of,
)

BLOCK_BYTES = 1 << 19
"""Input bytes of a block: it is read twice where the index is wanted, and stays in the L2 cache meanwhile."""

LOOP, NEAR, APART, PICK, PIXEL = 4.0e-8, 1.4e-10, 1.1e-9, 3.0e-10, 1.0e-8
"""Measured seconds: before the first element of a loop; for a maximum (of 4 bytes) in it; for one of every second
element; to copy every second element; and before the first channel of a pixel that is copied."""

X, ROWS, Y, LEAST, PAD = range(5)
"""Numbers of the arrays in the steps of a pooling."""


def lowest(dtype: DType) -> Any:
    """The neutral element of the maximum."""
    return np.array(-math.inf if is_float(dtype) else np.iinfo(dtype.name).min, dtype)


def pooling_axes(a: MaxPoolAttrs, shape: Sequence[int], counts: Sequence[int]) -> tuple[Axis, Axis]:
    return axes_of(shape, a.kernel, a.stride, a.padding, a.dilation, counts)


def window_steps(
    rows: Axis, cols: Axis, block: Block, shift: tuple[int, int, int] = (0, 0, 0)
) -> Iterator[tuple[Part, Part, Part]]:
    """``out = f(a, b)`` steps that reduce the windows of a block, over rows and then over columns.

    ``shift`` is the image, channel and row at which the array X starts.
    """
    n, c = slice(block.n0, block.n1), slice(block.c0, block.c1)
    xn = slice(block.n0 - shift[0], block.n1 - shift[0])
    xc = slice(block.c0 - shift[1], block.c1 - shift[1])
    inner, base = (slice(0, block.n1 - block.n0), slice(0, block.c1 - block.c0)), (LEAST, ...)
    r0, r1 = block.r0, block.r1
    row_taps, col_taps = rows.taps(r0, r1), cols.taps()
    if cols.kernel == 1:
        across = cols.source(col_taps[0])
        yield from reduction(
            row_taps, r0, r1,
            lambda first, last: (Y, (n, c, slice(first, last))),
            lambda tap: (X, (xn, xc, rows.source(tap, shift[2]), across)), base,
        )  # fmt: skip
        return
    number = X if rows.kernel == 1 else ROWS
    where: tuple[slice, ...] = (*inner, slice(0, r1 - r0))
    if rows.kernel == 1:
        where = (xn, xc, rows.source(row_taps[0], shift[2]))
    else:
        yield from reduction(
            row_taps, r0, r1,
            lambda first, last: (ROWS, (*inner, slice(first - r0, last - r0))),
            lambda tap: (X, (xn, xc, rows.source(tap, shift[2]))), base,
        )  # fmt: skip
    yield from reduction(
        col_taps, 0, cols.count,
        lambda first, last: (Y, (n, c, slice(r0, r1), slice(first, last))),
        lambda tap: (number, (*where, cols.source(tap))), base,
    )  # fmt: skip


def padding_steps(rows: Axis, cols: Axis, block: Block) -> Iterator[tuple[Part, Part, Part]]:
    """Steps in which the padding competes."""
    n, c, whole = slice(block.n0, block.n1), slice(block.c0, block.c1), slice(block.r0, block.r1)
    for run in rows.padded(block.r0, block.r1):
        yield (Y, (n, c, run)), (Y, (n, c, run)), (PAD, ...)
    for run in cols.padded(0, cols.count):
        yield (Y, (n, c, whole, run)), (Y, (n, c, whole, run)), (PAD, ...)


def competing(a: MaxPoolAttrs, dtype: DType) -> Any:
    """What the padding holds, as an array; None where nothing is less, or there is no padding."""
    pad = pad_constant(a.pad_value, dtype)
    return np.array(pad) if pad != lowest(dtype) and any(a.padding) else None


def _cost(node: Node, inputs: tuple[TensorType, ...], threads: int) -> float:
    (x,), (rows, cols) = inputs, axes_of_node(node, inputs[0])
    n, c, *_ = x.concrete
    images, inner = (n * c, 1) if x.order is None else (n, c)
    near = NEAR * x.dtype.itemsize / 4
    down = LOOP + cols.size * inner * near
    across = LOOP + cols.count * APART if inner == 1 else cols.count * (LOOP + inner * near)
    row = (rows.kernel - 1) * down + (cols.kernel - 1) * across
    if len(node.outputs) > 1:
        row = 3 * rows.kernel * cols.kernel * across
    return images * rows.count * row / min(threads, max(1, len(_blocks(x, rows, cols))))


def axes_of_node(node: Node, x: TensorType) -> tuple[Axis, Axis]:
    """The axes of a pooling's input."""
    attrs: Any = node.attrs
    return pooling_axes(attrs, x.concrete, node.outputs[0].concrete[2:])


def _blocks(x: TensorType, rows: Axis, cols: Axis) -> list[Block]:
    n, c, *_ = x.concrete
    per_row = x.dtype.itemsize * rows.size * cols.size // rows.count + 1
    return image_blocks(n, c, rows.count, per_row, BLOCK_BYTES, x.order is not None)


@kernel(MAX_POOL, lowering="windows", cost=_cost)
def max_pool(k: Emitter) -> None:
    """Over rows and then over columns; tap by tap, where the code of the winner is wanted."""
    recheck(k)
    (x,), (y, index), a = k.ins, k.outs, k.attrs
    axes, last = pooling_axes(a, x.shape, y.shape[2:]), channels_last(x)
    work = deal(_blocks(x.type, *axes), k.threads)
    if not work:
        return
    pad = competing(a, x.dtype)
    if index is None:
        _emit_windows(k, axes, work, pad)
        return
    regions = [[region for block in mine for region in regions_of(block, axes)] for mine in work]
    sizes = [max(region.size for region in mine) for mine in regions]
    masks = [
        (k.scratch((size,), np.dtype(bool), "won"), k.scratch((size,), index.dtype, "candidates")) for size in sizes
    ]
    geometry = f"{k.use(regions, k.name + '_regions')}, {k.use(axes, k.name + '_axes')}"
    views = bind(
        k, "views", f"{k.use(bind_regions)}({geometry}, {x}, {y}, {index}, {tuple_of(map(tuple_of, masks))}, "
        f"{None if pad is None else k.use(pad, 'padding')}, {last})", x, y, index, *masks[0],
    )  # fmt: skip
    over_bound(k, len(work), views, is_float(x.dtype))


def regions_of(block: Block, axes: tuple[Axis, Axis]) -> list[Region]:
    n, c = slice(block.n0, block.n1), slice(block.c0, block.c1)
    return [Region(n, c, *part) for part in product(stretches(axes[0], block.r0, block.r1), stretches(axes[1]))]


def _emit_windows(k: Emitter, axes: tuple[Axis, Axis], work: Sequence[Sequence[Block]], pad: Any) -> None:
    (x,), (y, _), (rows, cols) = k.ins, k.outs, axes
    steps = [
        [[*window_steps(rows, cols, b), *(() if pad is None else padding_steps(rows, cols, b))] for b in mine]
        for mine in work
    ]
    size = largest([block for mine in work for block in mine])
    both = rows.kernel > 1 and cols.kernel > 1
    held = [image_scratch(k, (*size, cols.size), x.dtype, channels_last(x), "rows") for _ in work] if both else []
    least = lowest(x.dtype)
    views = bind(
        k, "max", f"{k.use(bind_steps)}({k.use(steps, k.name + '_steps')}, {x}, {tuple_of(held)}, {y}, "
        f"{k.use(least, 'lowest')}, {k.use(least if pad is None else pad, 'padding')})", x, y, *held,
    )  # fmt: skip
    out, first, second, name = (k.names.fresh(n) for n in ("out", "a", "b", "steps"))
    body = [f"for {out}, {first}, {second} in {name}:\n    np.maximum({first}, {second}, out={out})"]
    over_blocks(k, len(work), [name], [views], body)


def largest(blocks: Sequence[Block]) -> tuple[int, int, int]:
    """Images, channels and rows that hold any of the blocks."""
    return (
        max(b.n1 - b.n0 for b in blocks), max(b.c1 - b.c0 for b in blocks), max(b.r1 - b.r0 for b in blocks)
    )  # fmt: skip


def bind_steps(
    steps: Sequence[Sequence[Sequence[Sequence[Part]]]], x: Any, rows: Sequence[Any], y: Any, least: Any, pad: Any
) -> list[list[list[tuple[Any, ...]]]]:
    """Views for the steps of each block of each worker, which has a row buffer of its own."""
    bound = []
    for worker, blocks in enumerate(steps):
        arrays: tuple[Any, ...] = (x, rows[worker] if rows else None, y, least, pad)
        bound.append([[tuple(arrays[i][at] for i, at in step) for step in block] for block in blocks])
    return bound
