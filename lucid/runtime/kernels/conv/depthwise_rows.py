"""Depthwise convolution of channels-last images by multiply-adds over runs of columns x channels.

``np.einsum`` multiplies and adds in one loop, whereas separate calls would write the products and read them again. It
is fast if that loop is long, so several columns form one run, with the weights repeated for each of them. What else was
tried is in ``docs/decisions/0011-depthwise-by-einsum.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ....base.structs import struct
from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, evenly, largest
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, channels_last, laid_out, recheck
from .depthwise_rows_views import (
    Depthwise,
    Sums,
    Turned,
    bind_copies_in,
    bind_edges,
    bind_sums,
    bind_turned,
    bind_whole_rows,
)
from .geometry import Conv
from .numbers import attrs_of, conv_of

EINSUM = 2
"""The time to start ``np.einsum``, in calls of an ordinary function."""


@struct(frozen=True)
class WorkerCut:
    """How the work is cut: into equal blocks for a number of workers."""

    workers: int

    def __str__(self) -> str:
        return f"for {self.workers}"


def blocks(d: Depthwise, itemsize: int, workers: int) -> list[list[Block]]:
    """Blocks of output rows, equally many for each worker.

    The input and output of a block may take twice the second-level cache: computing the sums takes longer than loading
    either from beyond it, and fewer calls matter more.
    """
    conv, fits = d.conv, 2 * this_machine().l2
    if not conv.pixels:
        return []
    images, rows, channels = conv.images, conv.rows.count, conv.outputs
    image = (math.prod(d.shape(1, rows)) + rows * conv.cols.count * channels) * itemsize
    if images >= workers and image <= fits:
        count = min(images, _multiple(-(-images // max(1, fits // image)), workers))
        return deal([Block(a, b, 0, rows, 0, channels) for a, b in evenly(images, count)], workers)
    parts = evenly(rows, min(rows, _multiple(-(-image // fits), workers // math.gcd(workers, images))))
    return deal([Block(n, n + 1, a, b, 0, channels) for n in range(images) for a, b in parts], workers)


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of


def _work(d: Depthwise, itemsize: int, workers: int, turned: bool) -> Work:
    """The work of the busiest worker; ``turned`` says that the output is not channels last."""
    work = blocks(d, itemsize, workers)
    sizes = [[(b.n1 - b.n0, b.r1 - b.r0) for b in mine] for mine in work]
    done = Work.of_busiest(sizes, lambda size: block_work(d, *size, itemsize, turned))
    return done + Work(handovers=done.calls) if len(work) > 1 else done


def block_work(d: Depthwise, images: int, rows: int, itemsize: int, turned: bool) -> Work:
    """The work of computing some rows of some images."""
    conv = d.conv
    made, parts = images * rows * conv.cols.count * conv.outputs, d.row_parts(images, 0, conv.rows.count)
    taps = conv.cols.kernel * sum(part.taken for part in parts) / conv.rows.count
    copied = 0 if d.direct else math.prod(d.shape(images, rows))
    by_pixels = d.planes or conv.outputs > conv.channels
    return Work(
        runs=images * rows * -(-conv.cols.count // d.columns) * taps,
        multiply_adds=made * taps * itemsize / 4,
        pixels=copied / conv.outputs if by_pixels else 0.0,
        near=(2 * copied + 4 * made) * itemsize,
        turned=made if turned else 0.0,
        calls=6 + EINSUM * (len(parts) - 1),
    )


def begun(itemsize: int) -> float:
    """The time to start ``np.einsum``, in multiply-adds."""
    return EINSUM * this_machine().multiply_adds_of_call * 4 / itemsize


def numbers(node: Node, inputs: Sequence[TensorType], in_place: bool) -> Depthwise:
    """The sizes and choices for a node; ``in_place`` as for :meth:`Depthwise.of`."""
    x, w, y = inputs[0], inputs[1], node.outputs[0]
    apart = None if Epilogue.of(node, inputs).filled else begun(x.dtype.itemsize)
    return Depthwise.of(conv_of(attrs_of(node), x.concrete, w.concrete, y.concrete), in_place, apart)


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether each channel is a group, and there is no pooling."""
    attrs = as_fused(node.attrs)
    return attrs.conv.groups == inputs[0].shape[1] and attrs.pool is None and Epilogue.of(node, inputs).anywhere


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """On all threads, or on one if more do not pay."""
    d = numbers(node, inputs, inputs[0].order == CHANNELS_LAST)
    itemsize, turned = inputs[0].dtype.itemsize, node.outputs[0].order != CHANNELS_LAST
    return [Way(_work(d, itemsize, n, turned), WorkerCut(n)) for n in sorted({1, threads})]


# ---------------------------------------------------------------- the kernel


def repeated_weights(k: Emitter, w: Operand, conv: Conv, columns: int) -> Operand:
    """Weights (kernel rows, kernel columns, columns of a run x channels), the same for each of the columns."""
    kernel = (conv.rows.kernel, conv.cols.kernel)
    with k.once(w):
        packed = k.scratch((*kernel, columns * conv.outputs), w.dtype, "packed")
        target = k.seen(packed, (*kernel, columns, conv.outputs))
        source = f"{w}.reshape({(conv.outputs, *kernel)}).transpose(1, 2, 0)[:, :, None]"
        k.line(f"{target}[...] = {source}")
    return packed


def _row_bias(k: Emitter, conv: Conv, bias: Operand) -> Operand:
    """The bias, repeated for all columns so that it is added to whole rows at once."""
    with k.once(bias):
        row = k.scratch((conv.cols.count, conv.outputs), bias.dtype, "row_bias")
        k.line(f"{row}[...] = {bias}")
    return k.reshaped(row, (conv.cols.count * conv.outputs,), "row_bias")


def padded(loop: BlockLoop[Block], d: Depthwise, filled: bool) -> tuple[Operand, ...]:
    """Scratch buffers of each worker, to which the loop's first lines copy the padded input of a block."""
    k, x = loop.k, loop.k.ins[0]
    fill = f"{k.ins[-1]}.reshape({d.conv.channels}, 1)" if filled else "0"
    images, _, rows = largest(loop.every)
    memory = loop.scratch(d.shape(images, rows), x.dtype, "padded")
    for slab in memory:
        for plane, inside, _ in d.column_parts():
            for start, stop in ((0, inside.start), (inside.stop, d.width)):
                if stop > start:
                    k.line(f"{slab}[:, :, {plane}, {start}:{stop}] = {fill}")
    (edges,) = loop.over(loop.bind("edges", bind_edges, d, loop.blocks, memory), "edges")
    (copies,) = loop.over(loop.bind("copies", bind_copies_in, d, loop.blocks, memory, x), "copies")
    edge, target, source = loop.fresh("edge", "target", "source")
    loop.for_each((edge,), edges, f"{edge}[...] = {fill}")
    loop.for_each((target, source), copies, f"{target}[...] = {source}")
    return memory


def _turned(loop: BlockLoop[Block], conv: Conv) -> tuple[Operand, ...]:
    """Scratch buffers for the channels-last output of any block."""
    images, _, rows = largest(loop.every)
    return loop.scratch((images, rows, conv.cols.count, conv.outputs), loop.k.ins[0].dtype, "made")


@kernel(CONV, CONV_POOL, lowering="depthwise_rows", accepts=accepts, ways=ways, staged=True, ordered=True)
def depthwise_rows(k: Emitter) -> None:
    """For each block, while it is in the cache: pad, sum the taps, add the bias, activate."""
    recheck(k)
    x, (y,), epilogue = k.ins[0], k.outs, Epilogue.of(k.node, k.ins)
    bias, residual = bias_and_residual(k.attrs, k.ins)
    d = numbers(k.node, [t.type for t in k.ins], channels_last(x) and x.contiguous)
    work = blocks(d, x.dtype.itemsize, k.way.workers)
    if not work:
        return
    loop = BlockLoop(k, work)
    packed = repeated_weights(k, k.ins[1], d.conv, d.columns)
    sources = (x,) * len(work) if d.direct else padded(loop, d, epilogue.filled)
    made = () if channels_last(y) else _turned(loop, d.conv)
    places = made or (y,) * len(work)
    weights = (packed,) * len(work)
    v = loop.parts(loop.bind("sums", bind_sums, d, loop.blocks, sources, weights, places, bool(made)), Sums)
    window, weight, total = names = loop.fresh("window", "weight", "sums")
    loop.for_each(names, v.products, f"np.einsum('nrcijk,ijk->nrck', {window}, {weight}, out={total})")
    shift = None if bias is None else _row_bias(k, d.conv, bias)
    added = None
    if residual is not None:
        added = loop.each("residual", bind_whole_rows, loop.blocks, laid_out(k, residual, True, "residual"))
    loop.line(*epilogue.terms(v.out, shift, added), *epilogue.activation_lines(loop, v.out, y.shape))
    if made:
        t = loop.parts(loop.bind("turned", bind_turned, loop.blocks, made, y), Turned)
        loop.line(f"{t.place}[...] = {t.value}")
    loop.emit()
