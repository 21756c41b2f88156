"""Max pooling: rows first, then columns, block by block; the index by comparison with the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...graph.ops.pool import (
    MAX_POOL,
    MAX_POOL_GATHER,
    MAX_POOL_GRAD,
    MAX_POOL_POSITIONS,
    MaxPoolAttrs,
    pad_constant,
)
from ...graph.types import DType, is_float
from ..emitter import Emitter, Operand
from ..registry import kernel
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
)

BLOCK_BYTES = 1 << 19
"""Input bytes of a block: it is read twice where the index is wanted, and stays in the L2 cache meanwhile."""

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


@kernel(MAX_POOL)
def max_pool(k: Emitter) -> None:
    recheck(k)
    (x,), (y, index), a = k.ins, k.outs, k.attrs
    rows, cols = pooling_axes(a, x.shape, y.shape[2:])
    last, pad = channels_last(x), pad_constant(a.pad_value, x.dtype)
    per_row = x.dtype.itemsize * rows.size * cols.size // rows.count + 1
    blocks = image_blocks(x.shape[0], x.shape[1], rows.count, per_row, BLOCK_BYTES, last)
    work = deal(blocks, k.threads)
    if not work:
        return
    competes = pad != lowest(x.dtype) and any(a.padding)
    steps = [
        [[*window_steps(rows, cols, b), *(padding_steps(rows, cols, b) if competes else ())] for b in mine]
        for mine in work
    ]
    lists, reads = [], [x, y]
    size = _largest(blocks)
    both = rows.kernel > 1 and cols.kernel > 1
    held = [image_scratch(k, (*size, cols.size), x.dtype, last, "rows") for _ in work] if both else []
    lists.append(bind(
        k, "max", f"{k.use(bind_steps)}({k.use(steps, k.name + '_steps')}, {x}, ({_listed(held)}), {y}, "
        f"{k.use(lowest(x.dtype), 'lowest')}, {k.use(np.array(pad), 'padding')})", *reads, *held,
    ))  # fmt: skip
    out, first, second = (k.names.fresh(name) for name in ("out", "a", "b"))
    names = [k.names.fresh("steps")]
    body = [f"for {out}, {first}, {second} in {names[0]}:\n    np.maximum({first}, {second}, out={out})"]
    if index is not None:
        _emit_index(k, index, work, rows, cols, names, lists, body)
    over_blocks(k, len(work), names, lists, body)


def _largest(blocks: Sequence[Block]) -> tuple[int, int, int]:
    """Images, channels and rows that hold any of the blocks."""
    return (
        max(b.n1 - b.n0 for b in blocks), max(b.c1 - b.c0 for b in blocks), max(b.r1 - b.r0 for b in blocks)
    )  # fmt: skip


def _listed(operands: Sequence[Operand]) -> str:
    return "".join(f"{x}, " for x in operands)


def bind_steps(
    steps: Sequence[Sequence[Sequence[Sequence[Part]]]], x: Any, rows: Sequence[Any], y: Any, least: Any, pad: Any
) -> list[list[list[tuple[Any, ...]]]]:
    """Views for the steps of each block of each worker, which has a row buffer of its own."""
    bound = []
    for worker, blocks in enumerate(steps):
        arrays: tuple[Any, ...] = (x, rows[worker] if rows else None, y, least, pad)
        bound.append([[tuple(arrays[i][at] for i, at in step) for step in block] for block in blocks])
    return bound


def _emit_index(
    k: Emitter, index: Operand, work: Sequence[Sequence[Block]], rows: Axis, cols: Axis, names: list[str],
    lists: list[str], body: list[str],
) -> None:  # fmt: skip
    """The code of the winner: how many taps, from the first on, are not the maximum. If none is, padding won."""
    (x,), (y, _), last = k.ins, k.outs, channels_last(k.ins[0])
    size = _largest([b for mine in work for b in mine])
    bool_ = np.dtype(bool)
    shape = (*size, cols.count)
    alive = [image_scratch(k, shape, bool_, last, "alive") for _ in work]
    mask = [image_scratch(k, shape, bool_, last, "differs") for _ in work]
    lists.append(bind(
        k, "tap_views", f"{k.use(bind_taps)}({k.use([list(map(tuple, m)) for m in work], k.name + '_blocks')}, "
        f"{k.use((rows, cols), k.name + '_axes')}, {x}, {y}, {index}, ({_listed(alive)}), ({_listed(mask)}))",
        x, y, index, *alive,
    ))  # fmt: skip
    block = k.names.fresh("block")
    names.append(block)
    taps, code, yb, live, ones, differs = (
        k.names.fresh(n) for n in ("taps", "code", "y_block", "alive", "count", "differs")
    )
    xt, yt, mt, lt, ct = (k.names.fresh(n) for n in ("x_tap", "y_tap", "differs_tap", "alive_tap", "code_tap"))
    body += [
        f"{code}, {yb}, {live}, {ones}, {differs}, {taps} = {block}",
        f"{live}.fill(True)",
        f"{code}.fill(0)",
        f"for {xt}, {yt}, {mt}, {lt}, {ct} in {taps}:",
        f"    np.not_equal({xt}, {yt}, out={mt})",
        f"    np.logical_and({lt}, {mt}, out={lt})",
        f"    np.add({code}, {ones}, out={code})",
    ]
    if is_float(x.dtype):
        body += [
            f"np.not_equal({yb}, {yb}, out={differs})",
            f"if {differs}.any():",
            f"    {k.use(mark_nan)}({taps})",
        ]


def bind_taps(
    work: Sequence[Sequence[tuple[int, ...]]], axes: tuple[Axis, Axis], x: Any, y: Any, index: Any,
    alive: Sequence[Any], mask: Sequence[Any],
) -> list[list[Any]]:  # fmt: skip
    """For each block: its index, output and masks, and for each tap in row-major order the views it compares."""
    rows, cols = axes
    bound: list[list[Any]] = []
    for worker, blocks in enumerate(work):
        entries = []
        for n0, n1, c0, c1, r0, r1 in blocks:
            inner = (slice(0, n1 - n0), slice(0, c1 - c0), slice(0, r1 - r0))
            live, differs = alive[worker][inner], mask[worker][inner]
            outer, here = (slice(n0, n1), slice(c0, c1), slice(r0, r1)), (slice(n0, n1), slice(c0, c1))
            yb, code = y[outer], index[outer]
            taps = []
            for down in rows.taps(r0, r1):
                for right in cols.taps():
                    at = (..., slice(down.first - r0, down.last - r0), slice(right.first, right.last))
                    source = x[(*here, rows.source(down), cols.source(right))]
                    taps.append((source, yb[at], differs[at], live[at], code[at]))
            entries.append((code, yb, live, live.view(np.uint8), differs, taps))
        bound.append(entries)
    return bound


def mark_nan(taps: Sequence[tuple[Any, ...]]) -> None:
    """NaN equals nothing: point the index of each window that holds one to its first."""
    for number in reversed(range(len(taps))):
        source, *_, code = taps[number]
        np.copyto(code, code.dtype.type(number), where=np.isnan(source))


def _scatter_work(k: Emitter, image: Operand, windows: Operand) -> tuple[list[Any], tuple[int, int, int, int]]:
    """For each worker and block of planes: its images and channels, and for each tap its code and slices.

    Windows may overlap, so a block holds whole planes. Also returns the largest shape of a block's windows.
    """
    rows, cols = pooling_axes(k.attrs.pool, image.shape, windows.shape[2:])
    entries = [
        (
            i * cols.kernel + j,
            (..., rows.source(down), cols.source(right)),
            (..., slice(down.first, down.last), slice(right.first, right.last)),
        )
        for i, down in enumerate(rows.taps())
        for j, right in enumerate(cols.taps())
        if down.last > down.first and right.last > right.first
    ]
    n, c, h, w = image.shape
    channels = 1 if channels_last(image) else c  # innermost channels stay together
    planes = image_blocks(n, channels, 1, c // max(channels, 1) * h * w * image.dtype.itemsize, BLOCK_BYTES, False)
    work = [
        [((slice(b.n0, b.n1), slice(b.c0, b.c1) if channels == c else slice(None)), entries) for b in mine]
        for mine in deal(planes, k.threads)
    ]
    size = _largest(planes) if planes else (0, 0, 0)
    return work, (size[0], size[1] if channels == c else c, rows.count, cols.count)


def bind_grad(
    work: Sequence[Any], image: Any, windows: Any, index: Any, masks: Sequence[Any], taken: Sequence[Any]
) -> list[list[tuple[Any, list[Any]]]]:
    """Views for each tap of each block; floats are seen as integers of their size, so that a mask selects bits."""
    bits = np.dtype(f"i{image.dtype.itemsize}")
    bound = []
    for mine, mask, share in zip(work, masks, taken, strict=True):
        blocks = []
        for where, entries in mine:
            x, d, i = image[where], windows[where].view(bits), index[where]
            m, t = mask[: d.shape[0], : d.shape[1]], share[: d.shape[0], : d.shape[1]]
            blocks.append((x, [
                (code, x[source], d[at], i[at], m[at], m[at].view(np.int8), t[at], t[at].view(bits))
                for code, source, at in entries
            ]))  # fmt: skip
        bound.append(blocks)
    return bound


@kernel(MAX_POOL_GRAD)
def max_pool_grad(k: Emitter) -> None:
    recheck(k)
    (dy, index), (dx,) = k.ins, k.outs
    work, shape = _scatter_work(k, dx, dy)
    last = channels_last(dx)
    masks = [image_scratch(k, shape, np.dtype(bool), last, "mask") for _ in work]
    taken = [image_scratch(k, shape, dy.dtype, last, "taken") for _ in work]
    if not work:
        return
    views = bind(
        k, "taps", f"{k.use(bind_grad)}({k.use(work, k.name + '_slices')}, {dx}, {dy}, {index}, ({_listed(masks)}), "
        f"({_listed(taken)}))", dx, dy, index, *masks,
    )  # fmt: skip
    block, taps, code, x, d, i, m, m8, t, tb = (
        k.names.fresh(n)
        for n in (
            "dx_block", "taps", "code", "dx_tap", "dy_bits", "index_tap", "won", "won8", "share", "share_bits"
        )
    )  # fmt: skip
    body = [
        f"{block}.fill(0)",
        f"for {code}, {x}, {d}, {i}, {m}, {m8}, {t}, {tb} in {taps}:",
        f"    np.equal({i}, {code}, out={m})",
        f"    np.negative({m8}, out={m8})",
        f"    np.bitwise_and({d}, {m8}, out={tb})",
        f"    np.add({x}, {t}, out={x})",
    ]
    over_blocks(k, len(work), [f"({block}, {taps})"], [views], body)


def bind_gather(work: Sequence[Any], image: Any, windows: Any, index: Any, masks: Sequence[Any]) -> list[Any]:
    """Views for each tap of each block."""
    bound = []
    for mine, mask in zip(work, masks, strict=True):
        blocks = []
        for where, entries in mine:
            x, y, i = image[where], windows[where], index[where]
            m = mask[: y.shape[0], : y.shape[1]]
            blocks.append((y, [(code, x[source], y[at], i[at], m[at]) for code, source, at in entries]))
        bound.append(blocks)
    return bound


@kernel(MAX_POOL_GATHER)
def max_pool_gather(k: Emitter) -> None:
    recheck(k)
    (x, index), (y,) = k.ins, k.outs
    work, shape = _scatter_work(k, x, y)
    masks = [image_scratch(k, shape, np.dtype(bool), channels_last(y), "mask") for _ in work]
    if not work:
        return
    views = bind(
        k, "taps", f"{k.use(bind_gather)}({k.use(work, k.name + '_slices')}, {x}, {y}, {index}, ({_listed(masks)}))",
        x, y, index, *masks,
    )  # fmt: skip
    block, taps, code, s, t, i, m = (
        k.names.fresh(n) for n in ("y_block", "taps", "code", "x_tap", "y_tap", "index_tap", "won")
    )
    body = [
        f"{block}.fill(0)",
        f"for {code}, {s}, {t}, {i}, {m} in {taps}:",
        f"    np.equal({i}, {code}, out={m})",
        f"    np.copyto({t}, {s}, where={m})",
    ]
    over_blocks(k, len(work), [f"({block}, {taps})"], [views], body)


@kernel(MAX_POOL_POSITIONS)
def max_pool_positions(k: Emitter) -> None:
    """Row and column of the window's corner, plus an offset for each code."""
    recheck(k)
    (index,), (y,), a = k.ins, k.outs, k.attrs
    pool, width = a.pool, a.width
    corner = np.add.outer(
        (np.arange(y.shape[2]) * pool.stride[0] - pool.padding[0]) * width,
        np.arange(y.shape[3]) * pool.stride[1] - pool.padding[1],
    )
    offsets = np.add.outer(
        np.arange(pool.kernel[0]) * pool.dilation[0] * width, np.arange(pool.kernel[1]) * pool.dilation[1]
    )
    table = k.use(np.append(offsets.ravel(), 0), f"{k.name}_offsets")
    won = k.scratch(y.shape, np.dtype(bool), "padding")
    k.line(f"np.take({table}, {index}, out={y}, mode='clip')")
    k.line(f"np.add({y}, {k.use(corner, k.name + '_corners')}, out={y})")
    k.line(f"np.equal({index}, {offsets.size}, out={won})")
    k.line(f"np.copyto({y}, -1, where={won})")
