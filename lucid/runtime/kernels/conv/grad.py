"""Gradient of a convolution's input: by products scattered over windows, or as a convolution.

A transposed convolution is an input gradient with a bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_INPUT, CONV_TRANSPOSE, ConvAttrs
from ....graph.types import TensorType
from ....graph.windows import Window, windows_of
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Product, Work, shared_by
from ...program.emitter import Emitter
from ..shared.cut import Block, deal
from ..shared.loop import BlockLoop, channels_last, laid_out, recheck
from .geometry import Conv, unpooled
from .grad_views import bind_by_taps, bind_factors, bind_gradients, bind_scatter, bind_weights
from .im2col import emit, most_pixels, pixel_blocks, plain_blocks, turning
from .numbers import conv_of
from .weights import make_weights, packing
from .weights_views import pack_weights


def _scatter_deal(conv: Conv, itemsize: int, workers: int) -> list[list[Block]]:
    """The blocks of each worker; one worker gets all blocks of an image and group, as they add to the same elements."""
    blocks = plain_blocks(conv, itemsize)
    if len(blocks) < workers:
        blocks = pixel_blocks(conv, -(-conv.images // workers) * conv.rows.count * conv.cols.count)
    together = [list(found) for _, found in groupby(blocks, lambda block: (block.n0, block.c0))]
    return [[block for found in mine for block in found] for mine in deal(together, workers)]


def _several_taps(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    return math.prod(inputs[1].concrete[2:]) > 1


def _scatter_ways(node: Node[Any], inputs: tuple[TensorType, ...], threads: int, *, stored: bool = False) -> list[Way]:
    dy, w, *_ = inputs
    conv = conv_of(node.attrs.conv, node.outputs[0].concrete, w.concrete, dy.concrete)
    done = _work(
        conv.pixels, conv.group_out * conv.groups, conv.taps, 3 * conv.taps * conv.groups, dy, 10 * conv.groups
    )
    if stored:
        done += turning(conv)
    sizes = [sum(b.image_rows for b in mine) for mine in _scatter_deal(conv, dy.dtype.itemsize, threads)]
    share = Work.of_busiest([[size] for size in sizes], lambda size: done * (size / sum(sizes)), int)
    return [Way(share, once=NOTHING if stored else shared_by(packing(w.concrete), threads, this_machine())[0])]


def _turned_work(node: Node[Any], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (n, _, *size), outputs = node.outputs[0].concrete, inputs[0].concrete[1]
    columns, depth = inputs[1].concrete[1], outputs * math.prod(inputs[1].concrete[2:])
    return _work(n * math.prod(size), depth, columns, depth, inputs[0], 5 * node.attrs.conv.groups)


def _work(pixels: int, depth: int, columns: int, copied: int, x: TensorType, calls: int) -> Work:
    """The work of a product and, for each of its pixels, of copying ``copied`` numbers window by window."""
    product = Product(pixels, depth, columns, x.dtype.itemsize, packed=False, resident=True)
    return Work((product,), tapwise=pixels * copied * x.dtype.itemsize, calls=calls)


def _turned(node: Node[Any], inputs: tuple[TensorType, ...]) -> bool:
    windows = _windows(node.attrs.conv, inputs[1].concrete)
    return all(w.stride == 1 and min(w.transposed.before, w.transposed.after) >= 0 for w in windows)


def _windows(a: ConvAttrs, w: Sequence[int]) -> tuple[Window, ...]:
    """The windows of a convolution with weights of this shape."""
    return windows_of(w[2:], a.stride, a.padding, a.dilation)


@kernel(CONV_GRAD_INPUT, CONV_TRANSPOSE, lowering="turned", accepts=_turned, cost=_turned_work)
def grad_input_turned(k: Emitter) -> None:
    """At stride 1, the input gradient is a convolution of ``dy`` with the kernel rotated by 180 degrees."""
    recheck(k)
    dy, w, dx, a = *k.ins[:2], k.outs[0], k.attrs.conv
    along = zip(_windows(a, w.shape), dy.shape[2:], dx.shape[2:], strict=True)
    rows, cols = (window.transposed.along(size, count) for window, size, count in along)
    emit(k, unpooled(Conv(dy.shape[0], dy.shape[1], dx.shape[1], a.groups, rows, cols)), flipped=True)


@kernel(CONV_GRAD_INPUT, CONV_TRANSPOSE, lowering="col2im", ways=_scatter_ways)
def grad_input_scattered(k: Emitter) -> None:
    """Multiply ``dy`` by the weight, which gives the gradient of every window, and add each tap to its input."""
    _scatter(k, stored=False)


@kernel(
    CONV_GRAD_INPUT, CONV_TRANSPOSE, lowering="col2im_by_channel", accepts=_several_taps,
    ways=partial(_scatter_ways, stored=True), reads_stored_weights=True,
)  # fmt: skip
def grad_input_by_channel(k: Emitter) -> None:
    """The same with the weight in place, in which the taps of a channel are adjacent."""
    _scatter(k, stored=True)


def _scatter(k: Emitter, *, stored: bool) -> None:
    recheck(k)
    (dy, w, *bias), (dx,) = k.ins, k.outs
    last = channels_last(dy)
    dy = laid_out(k, dy, last, "gradient")
    conv = conv_of(k.attrs.conv, dx.shape, w.shape, dy.shape)
    k.line(f"{dx}[...] = {bias[0]}[:, None, None]" if bias else f"{dx}.fill(0)")
    work = _scatter_deal(conv, dy.dtype.itemsize, k.threads)
    if not work or not conv.channels:
        return
    loop = BlockLoop(k, work)
    if stored:
        matrix = k.reshaped(w, (conv.groups, conv.group_out, conv.taps), "matrix")
    else:
        with k.once(w):
            matrix = k.scratch((conv.groups, conv.group_out, conv.taps), w.dtype, "packed")
            make_weights(k, matrix, packing(w.shape), pack_weights, conv.groups, w, matrix, False)
    numbers = most_pixels(loop, unpooled(conv)) * conv.taps
    memory = loop.scratch((numbers,), dy.dtype, "windows")
    made = loop.scratch((numbers,), dy.dtype, "by_channel") if stored else memory
    gradient = loop.each("gradient", bind_gradients, loop.blocks, dy, last)
    weight = loop.each("weight", bind_weights, conv, loop.blocks, matrix)
    product = loop.each("product", bind_factors, conv, loop.blocks, made, last)
    taps = loop.each("tap", bind_scatter, conv, loop.blocks, memory, dx)
    target, source = loop.fresh("target", "source")
    loop.line(f"np.matmul({gradient}, {weight}, out={product})")
    if stored:
        place, value = loop.over(loop.bind("turned", bind_by_taps, conv, loop.blocks, made, memory), "place", "value")
        loop.line(f"{place}[...] = {value}")
    loop.for_each((target, source), taps, f"np.add({target}, {source}, out={target})")
    loop.emit()
