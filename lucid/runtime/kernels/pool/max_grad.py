"""Gradients of max pooling: each upstream gradient is added to the element whose code it has; also the reverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....graph.ir import Node
from ....graph.ops.pool import MAX_POOL_GATHER, MAX_POOL_GRAD, MAX_POOL_POSITIONS, MaxPoolGradAttrs
from ....graph.types import TensorType
from ...planning.registry import kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, even_pieces
from ..shared.loop import BlockLoop, channels_last, laid_out, recheck
from ..shared.pooling import pooling_axes
from .max import in_runs
from .max_grad_views import Winners, bind_gather, bind_grad
from .max_runs import LEAST_BYTES, THREAD_BYTES

BLOCK_BYTES = THREAD_BYTES
"""Bytes of the images of a block: large, for long calls, as data need not stay in the cache."""
CORNERS = 1 << 21
"""The most bytes of the positions of windows' first taps, unless those of a single row of windows take more."""
PASSES, CALLS = 6, 12
"""The passes over numbers that finding the winners takes, and the calls."""


def _winners(attrs: MaxPoolGradAttrs, windows: TensorType, image: TensorType) -> Winners:
    """The geometry of the windows' winners in images of this memory order."""
    rows, cols = pooling_axes(attrs.pool, image.concrete, windows.concrete[2:])
    return Winners(rows, cols, 1 if image.order is None else image.concrete[1])


def _planes(image: TensorType, threads: int) -> list[tuple[int, int]]:
    """Ranges of the planes of an image, each a block."""
    n, c, h, w = image.concrete
    planes, step = (n * c, 1) if image.order is None else (n, c)
    plane = h * w * step * image.dtype.itemsize
    return even_pieces(planes, BLOCK_BYTES // plane, -(-LEAST_BYTES // plane), threads)


def _work(node: Node[MaxPoolGradAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (dy, _), dx = inputs, node.outputs[0]
    if 0 in (*dx.concrete, *dy.concrete):
        return NOTHING
    cut, windows = _planes(dx, threads), math.prod(dy.concrete)
    found = in_runs(dx, math.prod(dx.concrete)) + Work(numbers=PASSES * windows, turned=windows)
    return (found + Work(calls=len(cut) * CALLS)) * (1 / min(threads, len(cut)))


@kernel(MAX_POOL_GRAD, cost=_work)
def max_pool_grad(k: Emitter) -> None:
    """Find the position of each window's winner, and add the window's gradient there."""
    recheck(k)
    (dx,), last = k.outs, channels_last(k.outs[0])
    dy, index = (laid_out(k, x, last, "packed") for x in k.ins)
    if 0 in dx.shape:
        return
    if 0 in dy.shape:
        k.line(f"{dx}.fill(0)")
        return
    _go_over(k, bind_grad, dx, dy, index)


@kernel(MAX_POOL_GATHER)
def max_pool_gather(k: Emitter) -> None:
    """Find the position of each window's winner, and take the element there."""
    recheck(k)
    (y,), last = k.outs, channels_last(k.outs[0])
    x, index = (laid_out(k, x, last, "packed") for x in k.ins)
    if 0 not in (*x.shape, *y.shape):
        _go_over(k, bind_gather, x, y, index)


def _go_over(k: Emitter, function: Callable[..., Any], image: Operand, windows: Operand, index: Operand) -> None:
    """Write a loop over blocks of planes, whose calls ``function`` binds."""
    winners = _winners(k.attrs, windows.type, image.type)
    cut = _planes(image.type, k.threads)
    loop = BlockLoop(k, deal([Block(a, b, 0, windows.shape[2], 0, winners.step) for a, b in cut], k.threads))
    planes = max(b - a for a, b in cut)
    lines = windows.shape[2] if planes > 1 else max(1, CORNERS // (np.dtype(np.intp).itemsize * winners.windows))
    corners = winners.corners(planes, min(lines, windows.shape[2]))
    offset = winners.offset(index.dtype)
    kinds = {"rows": index.dtype, "down": offset, "right": offset, "places": corners.dtype}
    room = tuple(zip(*(loop.scratch((corners.size,), kind, name) for name, kind in kinds.items()), strict=True))
    table = k.use(corners, f"{k.name}_corners")
    bound = loop.bind("calls", function, winners, corners.shape[1], loop.blocks, image, windows, index, table, room)
    (calls,) = loop.over(bound, "calls")
    (call,) = loop.fresh("call")
    loop.for_each((call,), calls, f"{call}()")
    loop.emit()


@kernel(MAX_POOL_POSITIONS)
def max_pool_positions(k: Emitter) -> None:
    """The position of the window's corner, plus an offset for each code."""
    recheck(k)
    (index,), (y,) = k.ins, k.outs
    size = tuple(map(int, k.attrs.size))
    winners = Winners(*pooling_axes(k.attrs.pool, (1, 1, *size), y.shape[2:]))
    table = k.use(np.append(winners.offsets(), 0), f"{k.name}_offsets")
    corners = k.use(winners.corners(1, y.shape[2])[0, :, :, 0], f"{k.name}_corners")
    won = k.scratch(y.shape, np.dtype(bool), "padding")
    k.line(f"np.take({table}, {index}, out={y}, mode='clip')")
    k.line(f"np.add({y}, {corners}, out={y})")
    k.line(f"np.equal({index}, {winners.taps}, out={won})")
    k.line(f"np.copyto({y}, -1, where={won})")
