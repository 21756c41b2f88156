"""Max pooling: rows first, then columns, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ....graph.ir import Node
from ....graph.ops.pool import MAX_POOL, MaxPoolAttrs, pad_constant
from ....graph.types import DType, TensorType, is_float
from ....graph.windows import Axis, axes_of
from ...planning.machine import this_machine
from ...planning.registry import kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter
from ..shared.windows import (
    Block,
    Part,
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
"""Input bytes of a block, which stays in the L2 cache."""

X, ROWS, Y, LEAST, PAD = range(5)
"""Numbers of the arrays in the steps of a pooling."""


def lowest(dtype: DType) -> Any:
    """The neutral element of the maximum."""
    return np.array(-math.inf if is_float(dtype) else np.iinfo(dtype.name).min, dtype)


def pooling_axes(a: MaxPoolAttrs, shape: Sequence[int], counts: Sequence[int]) -> tuple[Axis, Axis]:
    rows, cols = axes_of(shape, a.kernel, a.stride, a.padding, a.dilation, counts)
    return rows, cols


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


def axes_of_node(node: Node, x: TensorType) -> tuple[Axis, Axis]:
    """The axes of a pooling's input."""
    attrs: Any = node.attrs
    return pooling_axes(attrs, x.concrete, node.outputs[0].concrete[2:])


def _blocks(x: TensorType, rows: Axis, cols: Axis) -> list[Block]:
    n, c, *_ = x.concrete
    per_row = x.dtype.itemsize * rows.size * cols.size // rows.count + 1
    return image_blocks(n, c, rows.count, per_row, BLOCK_BYTES, x.order is not None)


def _work(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    (x,), (rows, cols) = inputs, axes_of_node(node, inputs[0])
    if 0 in (*x.concrete, *node.outputs[0].concrete):
        return NOTHING
    n, c, *_ = x.concrete
    images, inner = (n * c, 1) if x.order is None else (n, c)
    lines, blocks, down, across = images * rows.count, len(_blocks(x, rows, cols)), rows.kernel - 1, cols.kernel - 1
    loops = begun(x, lines * (down + across * (1 if inner == 1 else cols.count)))
    joined = lines * down * cols.size * inner
    made = lines * across * cols.count * inner
    maxima = Work(apart=made) if inner == 1 else in_runs(x, made)
    calls = Work(calls=blocks * (rows.kernel + cols.kernel))
    return (loops + in_runs(x, joined) + maxima + calls) * (1 / min(threads, blocks))


def begun(x: TensorType, loops: int) -> Work:
    """Inner loops that begin over rows of ``x``."""
    return Work(loops=loops) if x.nbytes < this_machine().l2 else Work(far_loops=loops)


def in_runs(x: TensorType, numbers: float) -> Work:
    """So many numbers of ``x``, side by side."""
    return Work(numbers=numbers * x.dtype.itemsize / 4)


def _only_maxima(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    return len(node.outputs) == 1


@kernel(MAX_POOL, lowering="windows", accepts=_only_maxima, cost=_work)
def max_pool(k: Emitter) -> None:
    """Over rows and then over columns."""
    recheck(k)
    (x,), (y, _), a = k.ins, k.outs, k.attrs
    rows, cols = pooling_axes(a, x.shape, y.shape[2:])
    work = deal(_blocks(x.type, rows, cols), k.threads)
    if not work:
        return
    pad, least = competing(a, x.dtype), lowest(x.dtype)
    steps = [
        [[*window_steps(rows, cols, b), *(() if pad is None else padding_steps(rows, cols, b))] for b in mine]
        for mine in work
    ]
    size = largest([block for mine in work for block in mine])
    both = rows.kernel > 1 and cols.kernel > 1
    held = [image_scratch(k, (*size, cols.size), x.dtype, channels_last(x), "rows") for _ in work] if both else []
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
