"""Gradient of the weight: for a block of pixels, the product of the upstream gradient with their windows.

A product is fast if it is deep, since its result is written, or added to a sum, once per block of pixels. To have many
pixels in a block whose windows still fit the cache, the channels of a group are cut into ranges, as if these were
groups of their own with the same outputs. Workers take ranges, each of which is a part of the result; if there are too
few, they share the pixels of a range, and their sums are added at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ....base.structs import struct
from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_WEIGHT, ConvWeightAttrs
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Product, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal
from ..shared.loop import BlockLoop, Bound, bind, channels_last, laid_out, recheck
from ..shared.panels import multiply_lines
from .geometry import FEW_CHANNELS, Conv, unpooled
from .grad_weight_views import (
    Share,
    bind_gradients,
    bind_joins,
    bind_pixels,
    bind_shares,
    bind_turned,
    groups_of,
    joined_groups,
)
from .im2col import gather, gathering, in_planes, most_pixels, pixel_blocks, plain_blocks, reorder_by_channel, turning
from .im2col_views import Turned, matrices_of
from .numbers import conv_of

LEAST_CHANNELS = 32
"""The least channels of a range: with fewer, windows are copied in short runs."""
LEAST_PIXELS = 1024
"""The least pixels of a block: with fewer, adding up the products takes longer than BLAS saves by not packing."""


@struct(frozen=True)
class WeightCut:
    """How the work is cut: the number of ranges of a group's channels, and the most pixels of a block.

    ``by_channel`` says that windows are reordered such that the taps of each channel are adjacent, as in the weights;
    sums are then computed directly in the result.
    """

    ranges: int
    pixels: int
    by_channel: bool

    def __str__(self) -> str:
        ranges = f", channels in {self.ranges}" if self.ranges > 1 else ""
        return f"{self.pixels} pixels{ranges}{', by channel' if self.by_channel else ''}"


def ranged(conv: Conv, ranges: int) -> Conv:
    """The convolution with ranges of channels as groups, each of which has all outputs of the original group."""
    return replace(conv, outputs=conv.outputs * ranges, groups=conv.groups * ranges)


def _is_direct(conv: Conv, x: TensorType) -> bool:
    """Whether windows are a plain view of the pixels."""
    return conv.single and conv.rows.stride == conv.cols.stride == 1 and not conv.padded and x.order == CHANNELS_LAST


def _deal(conv: Conv, x: TensorType, workers: int) -> list[list[Block]]:
    """The blocks of each worker, range by range; if nothing is gathered, as few as keep all workers busy."""
    if not _is_direct(conv, x):
        small = this_machine().unpacked // max(1, conv.group_out * conv.taps) if x.dtype.itemsize == 4 else 0
        blocks = plain_blocks(conv, x.dtype.itemsize)
        if LEAST_PIXELS <= small < max((block.image_rows for block in blocks), default=0) * conv.cols.count:
            blocks = pixel_blocks(conv, small)
        return deal(blocks, workers)
    return deal(pixel_blocks(conv, -(-conv.pixels // (workers if conv.groups % workers else 1))), workers)


# ---------------------------------------------------------------- choosing the ranges


def ranges_of(conv: Conv) -> list[int]:
    """The numbers of ranges that the channels of a group may be cut into."""
    found = [1]
    while conv.group_in % (2 * found[-1]) == 0 and conv.group_in // (2 * found[-1]) >= LEAST_CHANNELS:
        found.append(2 * found[-1])
    return found


def _work(conv: Conv, x: TensorType, work: Sequence[Sequence[Block]], by_channel: bool) -> Work:
    """The work of the busiest worker, and that of adding up the sums of all workers."""
    numbers, rows, itemsize = conv.group_out * conv.taps, conv.images * conv.rows.count, x.dtype.itemsize
    gathered = NOTHING if _is_direct(conv, x) else _gathering(conv, x) * (1 / (conv.groups * rows))
    if by_channel:
        gathered += turning(conv) * (1 / (conv.groups * rows))

    def one(block_rows: int) -> Work:
        product = Product(conv.group_out, block_rows * conv.cols.count, conv.taps, itemsize, True, True)
        return Work((product,), near=3 * numbers * itemsize, calls=6) + gathered * block_rows

    done = Work.of_busiest([[b.image_rows for b in mine] for mine in work], one, lambda block_rows: block_rows)
    joined = len(joined_groups(conv, work))
    placed = 0 if by_channel or conv.single else joined + max(len(groups_of(conv, mine)) for mine in work)
    return done + Work(straight=placed * numbers, far=3 * joined * (len(work) - 1) * numbers * itemsize)


def _reorderable(conv: Conv, x: TensorType, dw: TensorType) -> bool:
    """Whether windows may be put in the order of the weights: they neither have it already, nor are gathered by tap."""
    return not conv.single and not _in_planes(conv, x) and dw.order is None


def _in_planes(conv: Conv, x: TensorType) -> bool:
    return in_planes(conv, x, FEW_CHANNELS)


def _gathering(conv: Conv, x: TensorType) -> Work:
    """The work of gathering all windows; for a range, the channels of each pixel are a copy of their own."""
    pixels = math.prod(x.concrete) // max(1, conv.channels) * conv.groups
    planes = _in_planes(conv, x)
    return gathering(conv, x, planes) + Work(pixels=0 if conv.groups == 1 or planes else pixels)


def _ways(node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    x, dy = inputs
    whole, found = conv_of(node.attrs.conv, x.concrete, node.outputs[0].concrete, dy.concrete), []
    for ranges in ranges_of(whole):
        conv = ranged(whole, ranges)
        work = _deal(conv, x, threads)
        pixels = max((b.image_rows for mine in work for b in mine), default=0) * conv.cols.count
        found += [
            Way(_work(conv, x, work, by_channel) if work else NOTHING, WeightCut(ranges, pixels, by_channel))
            for by_channel in ([False, True] if _reorderable(conv, x, node.outputs[0]) else [False])
        ]
    return found


# ---------------------------------------------------------------- the kernel


@kernel(CONV_GRAD_WEIGHT, lowering="im2col", ways=_ways, staged=True)
def grad_weight(k: Emitter) -> None:
    """Multiply blocks of windows, gathered unless they can be viewed in place, by the upstream gradient."""
    recheck(k)
    (x, dy), (dw,), ranges, by_channel = k.ins, k.outs, k.way.ranges, k.way.by_channel
    conv = ranged(conv_of(k.attrs.conv, x.shape, dw.shape, dy.shape), ranges)
    work = _deal(conv, x.type, k.threads)
    if not work:
        k.line(f"{dw}.fill(0)")
        return
    loop = BlockLoop(k, work)
    gradients = _gradients(loop, conv, ranges, dy)
    if _is_direct(conv, x.type):
        windows = loop.bind("pixels", bind_pixels, conv, loop.blocks, laid_out(k, x, True, "pixels"))
    else:
        gathered, _ = gather(loop, unpooled(conv), x, turned=_in_planes(conv, x.type))
        if by_channel:
            windows = reorder_by_channel(loop, unpooled(conv), gathered)
        else:
            windows = loop.bind("matrices", matrices_of, gathered)
    held, again = sums_of(conv, work)
    in_place = by_channel or conv.single
    size = 0 if in_place and not joined_groups(conv, work) else held
    totals = loop.scratch((size, conv.group_out, conv.taps), x.dtype, "total")
    spare = loop.scratch((conv.group_out * again, conv.taps), x.dtype, "spare")
    shares = loop.bind(
        "shares", bind_shares, conv, ranges, in_place, loop.blocks, gradients, windows, totals, spare, dw
    )
    v = loop.parts(shares, Share)
    loop.line(multiply_lines(k, v.products), *add_and_place(k, v.sums, v.places))
    loop.emit()
    if joined_groups(conv, work):
        join(k, bind(k, "joins", bind_joins, conv, ranges, in_place, loop.blocks, totals, dw))


def _gradients(loop: BlockLoop[Block], conv: Conv, ranges: int, dy: Operand) -> Bound:
    """The upstream gradient of each block as a matrix (pixels, outputs); transposed by the loop if necessary."""
    last = channels_last(dy)
    dy = laid_out(loop.k, dy, last, "gradient")
    sources = loop.bind("gradients", bind_gradients, conv, ranges, loop.blocks, dy, last)
    if last:
        return sources
    memory = loop.scratch((most_pixels(loop, unpooled(conv)), conv.group_out), dy.dtype, "gradient")
    turned = loop.bind("turned", bind_turned, sources, memory)
    t = loop.parts(turned, Turned)
    loop.line(f"{t.target}[...] = {t.source}")
    return loop.bind("factors", matrices_of, turned)


def sums_of(conv: Conv, work: Sequence[Sequence[Block]]) -> tuple[int, bool]:
    """The most groups that a worker has sums of, and whether any block adds to the sum of another."""
    groups = [len(groups_of(conv, mine)) for mine in work]
    return max(groups), any(count < len(mine) for count, mine in zip(groups, work, strict=True))


def add_and_place(k: Emitter, sums: object, places: object, place: str = "{0}[...] = {1}") -> tuple[str, str]:
    """Lines that add products to ``sums``, and lines that copy these to their ``places`` (loops over either)."""
    total, more, target, value = (k.names.fresh(name) for name in ("total", "more", "place", "value"))
    return (
        f"for {total}, {more} in {sums}:\n    np.add({total}, {more}, out={total})",
        f"for {target}, {value} in {places}:\n    {place.format(target, value)}",
    )


def join(k: Emitter, joins: Bound) -> None:
    """After the loop, add up the sums of groups that several workers share."""
    for line in add_and_place(k, f"{joins}.sums", f"{joins}.places"):
        k.line(line)
