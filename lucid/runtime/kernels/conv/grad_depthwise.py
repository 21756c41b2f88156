"""Gradient of a depthwise convolution's weight: upstream gradient times windows, by runs of columns x channels.

``np.einsum`` multiplies and adds in one loop, as in :mod:`.depthwise_rows`. Here it adds to one run per tap; runs are
short, so that all of them stay in the first-level cache.
"""

from __future__ import annotations

import math

from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_WEIGHT, ConvWeightAttrs
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter
from ..shared.loop import BlockLoop, channels_last, laid_out, recheck
from .depthwise_rows import WorkerCut, begun, block_work, blocks, padded
from .depthwise_rows_views import SHORT_RUN, Depthwise, bind_weight_sums
from .numbers import conv_of

RUN = 512
"""The length of a run if pixels have few channels; otherwise a run is one pixel."""


def _accepts(node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether each channel is a group."""
    return inputs[0].shape[1] == node.attrs.conv.groups


def _numbers(node: Node[ConvWeightAttrs], x: TensorType, dy: TensorType, in_place: bool) -> Depthwise:
    conv = conv_of(node.attrs.conv, x.concrete, node.outputs[0].concrete, dy.concrete)
    return Depthwise.of(conv, in_place, begun(x.dtype.itemsize), RUN if conv.outputs < SHORT_RUN else 1)


def _work(d: Depthwise, x: TensorType, dy: TensorType, workers: int) -> Work:
    """The work of the busiest worker, and that of adding up the sums of all workers."""
    itemsize, totals = x.dtype.itemsize, d.conv.rows.kernel * d.conv.cols.kernel * d.columns * d.conv.outputs
    work = blocks(d, itemsize, workers)
    sizes = [[(b.n1 - b.n0, b.r1 - b.r0) for b in mine] for mine in work]
    done = Work.of_busiest(sizes, lambda size: block_work(d, *size, itemsize, dy.order != CHANNELS_LAST))
    return done + Work(near=(2 * len(work) + 1) * totals * itemsize, calls=4)


def _ways(node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    x, dy = inputs
    d = _numbers(node, x, dy, x.order == CHANNELS_LAST)
    return [Way(_work(d, x, dy, workers), WorkerCut(workers)) for workers in sorted({1, threads})]


@kernel(CONV_GRAD_WEIGHT, lowering="depthwise_rows", accepts=_accepts, ways=_ways, staged=True)
def grad_weight(k: Emitter[ConvWeightAttrs]) -> None:
    """For each block, while it is in the cache: pad, and add up the products for each tap."""
    recheck(k)
    (x, dy), (dw,) = k.ins, k.outs
    d = _numbers(k.node, x.type, dy.type, channels_last(x) and x.contiguous)
    work = blocks(d, x.dtype.itemsize, k.way.workers)
    if not work or not dw.type.size:
        k.line(f"{dw}.fill(0)")
        return
    dy, rows, cols = laid_out(k, dy, True, "gradient"), d.conv.rows, d.conv.cols
    loop = BlockLoop(k, work)
    shape = rows.kernel, cols.kernel, d.columns * d.conv.outputs
    totals, spare = loop.scratch(shape, x.dtype, "total"), loop.scratch((math.prod(shape),), x.dtype, "spare")
    for total in totals:
        k.line(f"{total}.fill(0)")
    sources = (x,) * len(work) if d.direct else padded(loop, d, False)
    steps = loop.each("step", bind_weight_sums, d, loop.blocks, sources, totals, spare, dy)
    window, gradient, sums, more = names = loop.fresh("window", "gradient", "sums", "more")
    multiply = f"np.einsum('nrcijk,nrck->ijk', {window}, {gradient}, out={more})"
    loop.for_each(names, steps, multiply, f"np.add({sums}, {more}, out={sums})")
    loop.emit()
    first, *others = totals
    for other in others:
        k.line(f"np.add({first}, {other}, out={first})")
    parts = k.seen(first, (rows.kernel, cols.kernel, d.columns, d.conv.outputs))
    place = k.target(dw, (d.conv.outputs, rows.kernel, cols.kernel))
    k.line(f"np.add.reduce({parts}.transpose(3, 0, 1, 2), axis=3, out={place})")
