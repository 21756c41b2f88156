"""Gradients of max pooling: each element of the upstream gradient goes where the code says; and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from ....graph.ir import Node
from ....graph.ops.pool import MAX_POOL_GATHER, MAX_POOL_GRAD, MAX_POOL_POSITIONS, MaxPoolGradAttrs
from ....graph.types import TensorType
from ....graph.windows import Axis
from ...planning.registry import kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter
from ..shared.cut import Block, deal, even_pieces, image_blocks, largest
from ..shared.loop import BlockLoop, channels_last, laid_out, recheck
from ..shared.pooling import pooling_axes
from ..shared.pooling_views import tap_parts
from .max import BLOCK_BYTES, in_runs
from .max_grad_views import Spread, Winners, bind_grad, bind_index_taps, look_up, scatter
from .max_runs import LEAST_BYTES, block_bytes

TAPS = 40
"""Taps for each window, or room for it, from which on the windows' winners are looked up one by one."""


def _axes(attrs: MaxPoolGradAttrs, counts: Sequence[int]) -> tuple[Axis, Axis]:
    """The axes of the image that was pooled."""
    return pooling_axes(attrs.pool, (1, 1, *map(int, attrs.size)), counts)  # type: ignore[arg-type]  # it is concrete


def _is_sparse(axes: Sequence[Axis]) -> bool:
    """Whether windows are so large that of their taps nearly all have won nothing."""
    room = math.prod(Spread(axis).pitch for axis in axes)
    return math.prod(axis.kernel for axis in axes) * room > TAPS * math.prod(axis.count for axis in axes)


def _planes(dx: TensorType, threads: int) -> tuple[list[tuple[int, int]], int]:
    """Ranges of the planes of an image, each a block; and how many numbers lie innermost."""
    n, c, h, w = dx.concrete
    planes, step = (n * c, 1) if dx.order is None else (n, c)
    plane = h * w * step * dx.dtype.itemsize
    return even_pieces(planes, block_bytes() // plane, -(-LEAST_BYTES // plane), threads), step


def _work(node: Node[MaxPoolGradAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (dy, _), dx = inputs, node.outputs[0]
    if 0 in (*dx.concrete, *dy.concrete):
        return NOTHING
    axes, windows = _axes(node.attrs, dy.concrete[2:]), math.prod(dy.concrete)
    if _is_sparse(axes):
        return Work(scattered=3 * windows, near=2 * dx.nbytes)
    cut, step = _planes(dx, threads)
    rows, cols = map(Spread, axes)
    room = math.prod(dy.concrete[:2]) * rows.pitch * cols.pitch
    taps = math.prod(axis.kernel for axis in axes)
    places = len(set(product(*([residue for residue, _ in axis.places] for axis in (rows, cols)))))
    shares = in_runs(dx, room * (3 * taps - places + 1))  # masks are made and taken, and what they leave is added up
    spread = Work(turned=room) if step == 1 else Work(pixels=room // step) + in_runs(dx, room)
    return (shares + spread * places + Work(calls=len(cut) * (5 * taps + 2))) * (1 / min(threads, len(cut)))


@kernel(MAX_POOL_GRAD, cost=_work)
def max_pool_grad(k: Emitter) -> None:
    """Collects what the windows send to elements of the image that lie a stride apart, then puts it there.

    Windows, shifted by whole windows, are runs of memory; only the last step knows of strides.
    """
    recheck(k)
    (dx,), last = k.outs, channels_last(k.outs[0])
    dy, index = (laid_out(k, x, last, "packed") for x in k.ins)
    axes = _axes(k.attrs, dy.shape[2:])
    if 0 in dx.shape:
        return
    if 0 in dy.shape:
        k.line(f"{dx}.fill(0)")
        return
    if _is_sparse(axes):
        winners = k.use(Winners.of(*axes), f"{k.name}_winners")
        k.line(f"{k.use(scatter)}({dx}, {dy}, {index}, {winners})")
        return
    cut, step = _planes(dx.type, k.threads)
    loop = BlockLoop(k, deal([Block(a, b, 0, dx.shape[2], 0, step) for a, b in cut], k.threads))
    rows, cols = map(Spread, axes)
    size = (max(b - a for a, b in cut) * rows.pitch * cols.pitch * step,)
    mask = np.dtype(f"i{dy.dtype.itemsize}")
    kinds = {"codes": index.dtype, "won": np.dtype(bool), "mask": mask, "taken": dy.dtype, "sum": dy.dtype}
    room = tuple(zip(
        loop.zeroed(size, dy.dtype, "shares"), *(loop.scratch(size, kind, name) for name, kind in kinds.items()),
        strict=True,
    ))  # fmt: skip
    (calls,) = loop.over(loop.bind("calls", bind_grad, (rows, cols), loop.blocks, last, dx, dy, index, room), "calls")
    (call,) = loop.fresh("call")
    loop.for_each((call,), calls, f"{call}()")
    loop.emit()


@kernel(MAX_POOL_GATHER)
def max_pool_gather(k: Emitter) -> None:
    recheck(k)
    (x, index), (y,) = k.ins, k.outs
    axes = _axes(k.attrs, y.shape[2:])
    if 0 not in y.shape and _is_sparse(axes):
        winners = k.use(Winners.of(*axes), f"{k.name}_winners")
        k.line(f"{k.use(look_up)}({x}, {y}, {index}, {winners})")
        return
    n, c, h, w = x.shape
    # windows may overlap, so a block holds whole planes
    blocks = image_blocks(n, c, 1, h * w * x.dtype.itemsize, BLOCK_BYTES, channels_last(x))
    if not blocks:
        return
    loop = BlockLoop(k, deal(blocks, k.threads))
    masks = loop.scratch((*largest(blocks)[:2], *y.shape[2:]), np.dtype(bool), "mask", y.type.order)
    entries = k.use(tap_parts(*axes), f"{k.name}_slices")
    windows, taps = loop.over(
        loop.bind("taps", bind_index_taps, entries, loop.blocks, x, y, index, masks), "windows", "taps"
    )
    code, source, target, codes, won = loop.fresh("code", "x_tap", "y_tap", "index_tap", "won")
    loop.line(f"{windows}.fill(0)")
    loop.for_each(
        (code, source, target, codes, won), taps,
        f"np.equal({codes}, {code}, out={won})", f"np.copyto({target}, {source}, where={won})",
    )  # fmt: skip
    loop.emit()


@kernel(MAX_POOL_POSITIONS)
def max_pool_positions(k: Emitter) -> None:
    """Row and column of the window's corner, plus an offset for each code."""
    recheck(k)
    (index,), (y,) = k.ins, k.outs
    winners = Winners.of(*_axes(k.attrs, y.shape[2:]))
    table = k.use(np.append(winners.offsets, 0), f"{k.name}_offsets")
    won = k.scratch(y.shape, np.dtype(bool), "padding")
    k.line(f"np.take({table}, {index}, out={y}, mode='clip')")
    k.line(f"np.add({y}, {k.use(winners.corners, k.name + '_corners')}, out={y})")
    k.line(f"np.equal({index}, {winners.offsets.size}, out={won})")
    k.line(f"np.copyto({y}, -1, where={won})")
