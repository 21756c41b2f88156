"""Gradients of max pooling: each element of the upstream gradient goes where the code says; and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from ....graph.ops.pool import MAX_POOL_GATHER, MAX_POOL_GRAD, MAX_POOL_POSITIONS
from ....graph.windows import Axis, real
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.cut import deal, image_blocks, pieces
from ..shared.pooling_views import tap_parts
from ..shared.windows import bind, channels_last, image_scratch, laid_out, over_blocks, recheck, tuple_of
from .max import BLOCK_BYTES, largest, pooling_axes
from .max_runs import BLOCK_BYTES as LONG_BLOCK_BYTES
from .max_runs_views import Call


def _gather_work(k: Emitter, image: Operand, windows: Operand) -> tuple[list[Any], tuple[int, int, int, int]]:
    """For each worker and block of planes: its images and channels, and for each tap its code and slices.

    Windows may overlap, so a block holds whole planes. Also returns the largest shape of a block's windows.
    """
    rows, cols = pooling_axes(k.attrs.pool, image.shape, windows.shape[2:])
    entries = tap_parts(rows, cols)
    n, c, h, w = image.shape
    channels = 1 if channels_last(image) else c  # innermost channels stay together
    planes = image_blocks(n, channels, 1, c // max(channels, 1) * h * w * image.dtype.itemsize, BLOCK_BYTES, False)
    work = [
        [((slice(b.n0, b.n1), slice(b.c0, b.c1) if channels == c else slice(None)), entries) for b in mine]
        for mine in deal(planes, k.threads)
    ]
    size = largest(planes) if planes else (0, 0, 0)
    return work, (size[0], size[1] if channels == c else c, rows.count, cols.count)


@dataclass(frozen=True)
class Spread:
    """Where the taps of windows along an axis lie in the image: ``tap = stride * (window + shift) + residue``.

    ``low`` and ``high`` are the least and the greatest shift.
    """

    axis: Axis
    low: int
    high: int

    @property
    def pitch(self) -> int:
        """Room for the windows, shifted by as much as any tap asks for."""
        return self.axis.count + self.high - self.low

    @property
    def places(self) -> list[tuple[int, int]]:
        """Residue and shift of each tap."""
        return _places(self.axis)

    def lines(self, residue: int) -> tuple[slice, slice]:
        """The elements of the image at a residue that shifted windows can reach, and those windows in their room."""
        step = self.axis.stride
        found = real(residue + self.low * step, self.pitch, self.axis.size, step)
        return found.source, found.places

    @property
    def complete(self) -> bool:
        """Whether every element of the image is reached."""
        residues = {residue for residue, _ in self.places}
        reached = sum(len(range(self.axis.size)[self.lines(residue)[0]]) for residue in residues)
        return reached == self.axis.size


def _places(axis: Axis) -> list[tuple[int, int]]:
    offsets = (i * axis.dilation - axis.before for i in range(axis.kernel))
    return [(offset % axis.stride, offset // axis.stride) for offset in offsets]


def spread(axis: Axis) -> Spread:
    shifts = [shift for _, shift in _places(axis)]
    return Spread(axis, min(shifts), max(shifts))


TAPS = 40
"""Taps for each window, or room for it, from which on the windows' winners are looked up one by one."""


def _is_sparse(axes: Sequence[Axis]) -> bool:
    """Whether windows are so large that of their taps nearly all have won nothing."""
    room = math.prod(spread(axis).pitch for axis in axes)
    return math.prod(axis.kernel for axis in axes) * room > TAPS * math.prod(axis.count for axis in axes)


@dataclass(frozen=True)
class Winners:
    """Where in a plane of ``width`` columns the winner of each window lies.

    ``corners`` are the windows' own places, ``offsets`` those of the codes from there.
    """

    corners: Any
    offsets: Any
    width: int

    def find(self, index: Any) -> tuple[Any, Any]:
        """For an image's codes, the windows that have a winner and no padding, and the places among all planes."""
        taken = index != self.offsets.size
        planes = np.arange(len(index)).reshape(-1, 1, 1) * self.width
        return taken, (np.take(self.offsets, index, mode="clip") + self.corners + planes)[taken]


def _winners(k: Emitter) -> Winners:
    pool, (height, width) = k.attrs.pool, k.attrs.size
    index = k.ins[1].shape
    return Winners(*corners_and_offsets(pool, index[2:], width), height * width)


def corners_and_offsets(pool: Any, counts: Sequence[int], width: int) -> tuple[Any, Any]:
    """Places of windows' first taps in a plane of so many columns, and of all taps from there."""
    corners = np.add.outer(
        (np.arange(counts[0]) * pool.stride[0] - pool.padding[0]) * width,
        np.arange(counts[1]) * pool.stride[1] - pool.padding[1],
    )
    rows, cols = (np.arange(size) * by for size, by in zip(pool.kernel, pool.dilation, strict=True))
    return corners, np.add.outer(rows * width, cols).ravel()


def scatter(dx: Any, dy: Any, index: Any, winners: Winners) -> None:
    """Adds each element of ``dy`` to that of ``dx`` that has won its window."""
    whole = dx if dx.flags.c_contiguous else np.empty(dx.shape, dx.dtype)
    whole.fill(0)
    for image, share, codes in zip(whole, dy, index, strict=True):
        taken, places = winners.find(codes)
        np.add.at(as_view(image, -1), places, share[taken])
    if whole is not dx:
        np.copyto(dx, whole)


def look_up(x: Any, y: Any, index: Any, winners: Winners) -> None:
    """Takes the winner of each window; 0 for padding."""
    y.fill(0)
    for image, windows, codes in zip(x, y, index, strict=True):
        taken, places = winners.find(codes)
        windows[taken] = image.reshape(-1)[places]


@kernel(MAX_POOL_GRAD)
def max_pool_grad(k: Emitter) -> None:
    """Collects what the windows send to elements of the image that lie a stride apart, then puts it there.

    Windows, shifted by whole windows, are runs of memory; only the last step knows of strides.
    """
    recheck(k)
    (dx,), last = k.outs, channels_last(k.outs[0])
    dy, index = (laid_out(k, x, last, "packed") for x in k.ins)
    axes = pooling_axes(k.attrs.pool, dx.shape, dy.shape[2:])
    rows, cols = map(spread, axes)
    n, c, h, w = dx.shape
    planes, step = (n, c) if last else (n * c, 1)
    blocks = pieces(planes, LONG_BLOCK_BYTES // max(1, h * w * step * dx.dtype.itemsize))
    if 0 in dx.shape:
        return
    if 0 in dy.shape:
        k.line(f"{dx}.fill(0)")
        return
    if _is_sparse(axes):
        k.line(f"{k.use(scatter)}({dx}, {dy}, {index}, {k.use(_winners(k), k.name + '_winners')})")
        return
    work = deal(blocks, k.threads)
    size = max(b - a for a, b in blocks) * rows.pitch * cols.pitch * step
    room = [
        (
            k.zeroed((size,), dy.dtype, "shares"), *(k.scratch((size,), t, label) for t, label in (
                (index.dtype, "codes"), (np.dtype(bool), "won"), (np.dtype(f"i{dy.dtype.itemsize}"), "mask"),
                (dy.dtype, "taken"), (dy.dtype, "sum"),
            )),
        ) for _ in work
    ]  # fmt: skip
    geometry = f"{k.use((rows, cols), k.name + '_axes')}, {k.use(work, k.name + '_planes')}, {last}"
    calls = bind(
        k, "calls", f"{k.use(bind_grad)}({geometry}, {dx}, {dy}, {index}, {tuple_of(map(tuple_of, room))})",
        dx, dy, index, *room[0],
    )  # fmt: skip
    call = k.names.fresh("call")
    over_blocks(k, len(work), [call], [calls], [f"{call}()"])


def bind_grad(
    axes: tuple[Spread, Spread], work: Sequence[Sequence[tuple[int, int]]], last: bool, dx: Any, dy: Any, index: Any,
    room: Sequence[Sequence[Any]],
) -> list[list[Call]]:  # fmt: skip
    """The calls of each worker."""
    dx, dy, index = (_planes(x, last) for x in (dx, dy, index))
    complete = all(axis.complete for axis in axes)
    bound = []
    for mine, memory in zip(work, room, strict=True):
        calls: list[Call] = []
        known: dict[int, _Sums] = {}
        for a, b in mine:
            if b - a not in known:
                known[b - a] = _Sums(axes, b - a, dx.shape[3], memory)
            sums, image = known[b - a], dx[a:b]
            calls += [partial(np.copyto, sums.shares, dy[a:b]), partial(np.copyto, sums.codes, index[a:b])]
            if not complete:
                calls.append(partial(image.fill, 0))
            for collect, at, part in sums.found:
                calls += [*collect, partial(np.copyto, image[at], part)]
        bound.append(calls)
    return bound


def _planes(x: Any, last: bool) -> Any:
    """An array as (planes, rows, columns, innermost channels)."""
    return x.transpose(0, 2, 3, 1) if last else as_view(x, x.shape[0] * x.shape[1], *x.shape[2:], 1)


class _Sums:
    """The sums of one worker over so many planes, by where in a stride they go.

    Attributes
    ----------
    shares, codes
        Where the upstream gradient and the index of the windows go.
    found
        Calls, the elements of the image that they compute, and the result.
    """

    def __init__(self, axes: tuple[Spread, Spread], planes: int, step: int, memory: Sequence[Any]) -> None:
        rows, cols = axes
        room = (planes, rows.pitch, cols.pitch, step)
        shares, codes, won, mask, taken, total = (x[: math.prod(room)] for x in memory)
        inner = (slice(None), slice(rows.axis.count), slice(cols.axis.count))
        self.shares, self.codes = as_view(shares, room)[inner], as_view(codes, room)[inner]
        bits, taken_bits = shares.view(mask.dtype), taken.view(mask.dtype)
        classes: dict[tuple[int, int], list[tuple[int, int]]] = {}
        taps = product(rows.places, cols.places)
        for number, ((down, low), (right, left)) in enumerate(taps):
            offset = ((low - rows.low) * cols.pitch + left - cols.low) * step
            classes.setdefault((down, right), []).append((number, offset))
        self.found: list[tuple[list[Call], Any, Any]] = []
        for (down, right), members in classes.items():
            calls: list[Call] = []
            for number, offset in members:
                end = total.size - offset
                calls += [
                    partial(np.equal, codes, codes.dtype.type(number), won),
                    partial(np.negative, won.view(np.int8), won.view(np.int8)),
                    partial(np.copyto, mask, won.view(np.int8)),
                ]
                if number == members[0][0]:
                    calls.append(partial(total[:offset].fill, 0))
                    calls.append(partial(np.bitwise_and, bits[:end], mask[:end], total.view(mask.dtype)[offset:]))
                else:
                    calls.append(partial(np.bitwise_and, bits, mask, taken_bits))
                    calls.append(partial(np.add, total[offset:], taken[:end], total[offset:]))
            (image_rows, room_rows), (image_cols, room_cols) = rows.lines(down), cols.lines(right)
            part = as_view(total, room)[:, room_rows, room_cols]
            self.found.append((calls, (slice(None), image_rows, image_cols), part))


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
    if 0 not in y.shape and _is_sparse(pooling_axes(k.attrs.pool, x.shape, y.shape[2:])):
        k.line(f"{k.use(look_up)}({x}, {y}, {index}, {k.use(_winners(k), k.name + '_winners')})")
        return
    work, shape = _gather_work(k, x, y)
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
    corners, offsets = corners_and_offsets(a.pool, y.shape[2:], a.size[1])
    table = k.use(np.append(offsets, 0), f"{k.name}_offsets")
    won = k.scratch(y.shape, np.dtype(bool), "padding")
    k.line(f"np.take({table}, {index}, out={y}, mode='clip')")
    k.line(f"np.add({y}, {k.use(corners, k.name + '_corners')}, out={y})")
    k.line(f"np.equal({index}, {offsets.size}, out={won})")
    k.line(f"np.copyto({y}, -1, where={won})")
