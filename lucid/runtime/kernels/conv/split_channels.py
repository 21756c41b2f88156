"""Convolution of few pixels with many channels: each thread multiplies a share of the input channels.

If a layer has few pixels, its time is that of streaming the weights, and cutting the pixels (or outputs) into blocks
would stream or pack them several times. Cut by input channels, every weight is read once, by one thread; the partial
sums are added at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import Work, shared_by
from ...program.emitter import Emitter, Operand
from ..shared.cut import pieces
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, recheck
from ..shared.panels import cut_for, multiply_lines, product_of
from .geometry import Conv
from .im2col_views import Gather
from .numbers import attrs_of, conv_of, convolved
from .split_channels_views import ChannelShare, bind_channels, bind_partial, bind_share_windows
from .weights import make_weights, packing
from .weights_views import pack_weights

MOST_PIXELS = 512
"""The most pixels: with more, blocks of pixels keep all threads busy without streaming the weights too often."""


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    n, _, rows, cols = convolved(node, inputs)
    epilogue = Epilogue.of(node, inputs)
    fits = attrs_of(node).groups == 1 and inputs[0].concrete[1] > 0 and 0 < n * rows * cols <= MOST_PIXELS
    return fits and epilogue.pool is None and epilogue.anywhere


def _work(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    machine, (_, channels, *kernel_) = this_machine(), inputs[1].concrete
    n, outputs, rows, cols = convolved(node, inputs)
    itemsize, pixels, workers = inputs[0].dtype.itemsize, n * rows * cols, min(threads, channels)
    taps = channels * math.prod(kernel_) // workers
    resident = outputs * taps * itemsize <= machine.l2 // 2
    done = Work(
        (product_of(machine, pixels, taps, outputs, itemsize, resident),),
        near=(3 * taps + (threads + 2) * outputs) * pixels * itemsize,
        turned=0 if inputs[0].order == CHANNELS_LAST else math.prod(inputs[0].concrete) / workers,
        loops=pixels * kernel_[0] * (kernel_[1] if attrs_of(node).dilation[1] > 1 else 1),
        calls=12,
        forks=1,
    )
    return done if workers > 1 else done * 1.5  # a single worker gains nothing by splitting


def _ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    once, _ = shared_by(packing(inputs[1].concrete), threads, this_machine())
    return [Way(_work(node, inputs, threads), once=once)]


@kernel(CONV, CONV_POOL, lowering="split_channels", accepts=_accepts, ways=_ways, staged=True)
def split_channels(k: Emitter) -> None:
    """Gather and multiply by shares of the channels, add up the products, add the bias, activate."""
    recheck(k)
    x, w = k.ins[:2]
    (y,) = k.outs
    conv = conv_of(attrs_of(k.node), x.shape, w.shape, y.shape)
    work = [[ChannelShare(*cut)] for cut in pieces(conv.channels, -(-conv.channels // min(k.threads, conv.channels)))]
    loop, most = BlockLoop(k, work), max(share.channels for (share,) in work)
    held = conv.images * conv.rows.held(conv.rows.count) * conv.cols.held(conv.cols.count)
    taps = conv.rows.kernel * conv.cols.kernel
    matrices = loop.scratch((conv.pixels * taps * most,), x.dtype, "windows")
    images = loop.scratch((held * most,), x.dtype, "padded")
    sums = loop.scratch((conv.pixels, conv.outputs), x.dtype, "part")
    gathered = loop.bind("gather", bind_share_windows, conv, loop.blocks, matrices, images)
    g, (edge,) = loop.parts(gathered, Gather), loop.fresh("edge")
    loop.line(f"for {edge} in {g.edges}:\n    {edge}.fill(0)")
    loop.line(f"{g.inside}[...] = {loop.each('source', bind_channels, conv, loop.blocks, x)}")
    loop.line(f"{g.windows}[...] = {g.seen}")
    cut = cut_for(k, conv.pixels, taps * most, conv.outputs)
    packed = _pack(k, w, work, cut.width)
    products = loop.over(loop.bind("products", bind_partial, gathered, packed, sums, cut.rows), "products")
    loop.line(multiply_lines(k, *products))
    loop.emit()
    _finish(k, conv, sums)


def _pack(k: Emitter, w: Operand, work: Sequence[Sequence[ChannelShare]], width: int) -> list[Operand]:
    """The weights of each share's channels, as panels."""
    packed, (outputs, _, *kernel_) = [], w.shape
    with k.once(w):
        for (share,) in work:
            shape = 1, outputs // width, math.prod(kernel_) * share.channels, width
            packed.append(k.scratch(shape, w.dtype, "packed"))
            part, done = f"{w}[:, {share.c0}:{share.c1}]", packing((outputs, share.channels, *kernel_))
            make_weights(k, packed[-1], done, pack_weights, 1, part, packed[-1], False)
    return packed


def _finish(k: Emitter, conv: Conv, sums: Sequence[Operand]) -> None:
    (y,), (total, *others), epilogue = k.outs, sums, Epilogue.of(k.node, k.ins)
    bias, residual = bias_and_residual(k.attrs, k.ins)
    image = k.seen(total, (conv.images, conv.rows.count, conv.cols.count, conv.outputs))
    for part in others:
        k.line(f"np.add({total}, {part}, out={total})")
    added = None if residual is None else f"{residual}.transpose(0, 2, 3, 1)"
    for line in (*epilogue.terms(str(total), bias), *epilogue.terms(image, None, added)):
        k.line(line)
    activated = epilogue.activate(k, y.dtype, total.shape, str(total), str(total))
    if activated is not None:
        activated.write(k)
    k.line(f"{y}.transpose(0, 2, 3, 1)[...] = {image}")
