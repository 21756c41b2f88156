"""Gradients of max pooling: each element of the upstream gradient goes where the code says; and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph.ops.pool import MAX_POOL_GATHER, MAX_POOL_GRAD, MAX_POOL_POSITIONS
from ..emitter import Emitter, Operand
from ..registry import kernel
from .pool import BLOCK_BYTES, largest, pooling_axes
from .windows import bind, channels_last, deal, image_blocks, image_scratch, over_blocks, recheck, tuple_of


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
    size = largest(planes) if planes else (0, 0, 0)
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
        k, "taps", f"{k.use(bind_grad)}({k.use(work, k.name + '_slices')}, {dx}, {dy}, {index}, {tuple_of(masks)}, "
        f"{tuple_of(taken)})", dx, dy, index, *masks,
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
        k, "taps", f"{k.use(bind_gather)}({k.use(work, k.name + '_slices')}, {x}, {y}, {index}, {tuple_of(masks)})",
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
