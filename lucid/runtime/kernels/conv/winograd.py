"""Convolution by Winograd's minimal filtering, F(2x2) and F(4x4), with bias, activation and 2x2 max pooling.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015): of a 3x3 kernel, an output tile of m x m
pixels takes (m + 2)^2 products for each pair of channels instead of 9 m^2; other square kernels and a stride of two
work the same way (:mod:`.filtering`). Both transforms are separable and computed as matrix products: rows first,
directly from the padded rows (n rows of W x C numbers are a matrix for BLAS), then one gather, then columns.

The rounding error is some ten times that of a direct sum, and an infinity or NaN of the input spreads over
its tile; ``exact=True`` excludes these lowerings.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ....base.arrays import Array
from ....graph.ir import Node
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.ops.conv_pool import CONV_POOL, bias_and_residual
from ....graph.types import TensorType, is_float
from ....graph.windows import side_by_side
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Work, shared_by
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, Grid, deal
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, Bound, recheck
from ..shared.panels import Blocking, blocking, multiply_lines, product_of, unpacked
from .filtering import ALONG_BOTH, Filter, transforms
from .finish_views import bind_biases
from .numbers import attrs_of, pool_axes
from .tiles import CANDIDATES, tile_blocks, transform, transform_work
from .tiles_views import bind_tile_sources
from .weights import make_weights, transforming
from .weights_views import transform_weights
from .winograd_views import (
    Destinations,
    TileViews,
    Winograd,
    bind_destinations,
    bind_tiles,
    buffer_sizes,
)

BATCHED = 0.2
"""The time to start one more product of a batch, in calls."""


class WinogradCut(NamedTuple):
    """How the work is cut: about how many tiles a block has, the number of ranges of outputs, and the products."""

    tiles: int
    ranges: int
    product: Blocking

    def __str__(self) -> str:
        return f"{self.tiles} tiles" + (f", outputs in {self.ranges}" if self.ranges > 1 else "")


def blocks(t: Winograd, cut: WinogradCut, workers: int) -> Grid:
    """All tiles in blocks, range by range of the outputs, so that each worker reads the weights of few ranges."""
    return tile_blocks(t.images, t.down, t.right, t.outputs, cut.tiles, cut.ranges, workers)


def pack(k: Emitter, w: Operand, f: Filter, panel: int) -> Operand:
    """The transformed weights (n * n, panels, channels, outputs of a panel).

    If they are computed only once, it is in double precision.
    """
    outputs, channels, n = w.shape[0], w.shape[1], f.products
    with k.once(w):
        packed = k.scratch((n * n, outputs // panel, channels, panel), w.dtype, "transformed")
        one = transforms(f).weights
        both = np.kron(one, one).astype(np.float64 if packed.phase is Phase.STATE else w.dtype)
        work = transforming(w.shape, n * n, w.dtype.itemsize)
        make_weights(k, packed, work, transform_weights, k.use(both, "weight_transform"), w, packed)
    return packed


def tiled(m: int, a: ConvAttrs, x: Sequence[int], w: Sequence[int], pooled: bool, biased: bool = False) -> Winograd:
    """The sizes of a convolution by tiles of m x m outputs."""
    top, left, bottom, right = a.padding
    f = Filter(m, w[2], a.stride[0])
    rows, cols = ((size - f.taps) // f.stride + 1 for size in (x[2] + top + bottom, x[3] + left + right))
    return Winograd(
        f, m // 2 if pooled else m, x[0], rows, cols, x[1], w[0], -(-rows // m), -(-cols // m), top, left, biased
    )  # fmt: skip


def _with_bias(t: Winograd) -> Array:
    """The output transform, extended by a column for the bias."""
    outputs = transforms(t.filter).outputs
    return np.concatenate([outputs, np.ones((t.m, 1))], axis=1)


def fits(m: int, a: ConvAttrs, w: Sequence[int]) -> bool:
    """Whether the kernel is square and larger than the stride, without dilation or groups, and rounds well enough."""
    (_, channels, height, width), (down, right) = w, a.stride
    plain = height == width and down == right < height and a.dilation == (1, 1) and a.groups == 1
    return plain and channels > 0 and Filter(m, height, down).points <= ALONG_BOTH


def accepts(m: int, node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether the convolution :func:`fits`, and the pooling, if any, has 2x2 windows that do not overlap."""
    if not fits(m, attrs_of(node), inputs[1].concrete) or not is_float(inputs[0].dtype):
        return False
    epilogue = Epilogue.of(node, inputs)
    halves = epilogue.pool is None or epilogue.pool.kernel == (2, 2)
    return epilogue.in_place and halves and side_by_side(pool_axes(node, inputs))


def emit(k: Emitter, m: int, cut: WinogradCut) -> None:
    """Write the loop: each worker takes blocks of tiles, which stay in its cache, through all steps."""
    recheck(k)
    x, w = k.ins[:2]
    t = numbers_of(k.node, tuple(x.type for x in k.ins), m)
    packed = pack(k, w, t.filter, cut.product.width)
    work = deal(list(blocks(t, cut, k.threads)), k.threads)
    if not work:
        return
    loop = BlockLoop(k, work)
    memory = buffers(loop, t, x)
    transformed = transform_tiles(loop, t, x, memory)
    bound = t, loop.blocks, memory, transformed, packed, cut.product.rows, unpacked(x.dtype)
    multiply_and_finish(loop, t, memory, loop.bind("views", bind_tiles, *bound))
    loop.emit()


def buffers(loop: BlockLoop[Block], t: Winograd, x: Operand) -> Sequence[Sequence[Operand]]:
    """Scratch for the padded rows of each worker, and two buffers used in turn."""
    sizes = buffer_sizes(t, loop.every)
    return tuple(zip(*(loop.scratch((n,), x.dtype, name) for name, n in sizes._asdict().items()), strict=True))


def transform_tiles(loop: BlockLoop[Block], t: Winograd, x: Operand, memory: Sequence[Sequence[Operand]]) -> Bound:
    """Let the loop transform the tiles of each block."""
    matrix = loop.k.use(transforms(t.filter).inputs.astype(x.dtype), "input_transform")
    source = loop.each("source", bind_tile_sources, t.inputs, loop.blocks, x)
    return transform(loop, t.inputs, x, memory, matrix, source)


def multiply_and_finish(loop: BlockLoop[Block], t: Winograd, memory: Sequence[Sequence[Operand]], views: Bound) -> None:
    """Let the loop multiply each block's tiles, transform the products, finish them and copy them to the output."""
    k = loop.k
    bias, residual = bias_and_residual(k.attrs, k.ins)
    (y,), epilogue = k.outs, Epilogue.of(k.node, k.ins)
    after = k.use(transforms(t.filter).outputs.astype(y.dtype), "output_transform")
    last = k.use(_with_bias(t).astype(y.dtype), "last_transform") if t.biased else after
    v = loop.parts(views, TileViews)
    results = loop.bind("results", bind_destinations, t, loop.blocks, memory, y, residual)
    r = loop.parts(results, Destinations)
    target, value, added = loop.fresh("target", "value", "added")
    shift = None if bias is None else loop.each("bias", bind_biases, loop.blocks, bias, True)
    loop.line(multiply_lines(k, v.products), f"np.matmul({after}, {v.sums}, out={v.by_lines})")
    loop.line(*([f"{v.biases}[...] = {shift}"] if t.biased else []), f"np.matmul({last}, {v.thin}, out={v.made})")
    if not epilogue.anywhere:  # the activation is not monotone, so it does not commute with the maximum
        loop.line(*epilogue.activation_lines(loop, r.whole, y.shape))
    if epilogue.pool is not None:
        loop.line(*(f"np.maximum({x}[0], {x}[1], out={x}[2])" for x in (r.halves, r.quarters)))
    loop.line(*epilogue.terms(r.final, None if t.biased else shift))
    if residual is not None:
        loop.line(f"for _, {value}, {added} in {r.copies}:\n    np.add({value}, {added}, out={value})")
    if epilogue.anywhere:
        loop.line(*epilogue.activation_lines(loop, r.final, y.shape))
    loop.line(f"for {target}, {value}, _ in {r.copies}:\n    {target}[...] = {value}")


# ---------------------------------------------------------------- choosing the tile and the block


def _work(t: Winograd, work: Grid, count: int, itemsize: int, threads: int) -> Work:
    """The work of the busiest thread, for blocks of up to ``count`` tiles."""
    if not work:
        return NOTHING
    largest = work.most
    c, k, square, machine = t.channels, largest.c1 - largest.c0, t.n**2, this_machine()
    sizes = buffer_sizes(t, [largest])
    # weights that do not fit the second-level cache are read from beyond it for every block
    resident = square * c * k * itemsize <= machine.l2 // 2
    product = product_of(machine, count, c, k, itemsize, resident)._replace(times=square)
    numbers = transform_work(t.inputs, [largest], largest.image_rows)
    numbers += (2 * square + 2 * t.m * t.n + 3 * t.m**2) * count * k
    inside, moved = (sizes.ping + sizes.pong) * itemsize <= machine.l2, numbers * itemsize
    around = Work(pixels=square * count, calls=14 + square * BATCHED)  # a run of channels for each point of a tile
    # within the cache, transforms of whole rows are twice as fast as strided copies
    block = around + Work((product,), near=moved / 2 if inside else 0.0, far=0.0 if inside else moved)
    return block.shared(len(work), threads)


def ways(t: Winograd, itemsize: int, threads: int) -> list[Way]:
    """The distinct ways to cut the work."""
    found: dict[Grid, Way] = {}
    weights = t.outputs, t.channels, t.filter.taps, t.filter.taps
    once, _ = shared_by(transforming(weights, t.n**2, itemsize), threads, this_machine())
    for ranges in {1, threads} if t.outputs % threads == 0 else {1}:
        outputs = t.outputs // ranges
        for tiles in CANDIDATES:
            work = blocks(t, WinogradCut(tiles, ranges, Blocking(1, outputs)), threads)
            if work not in found:
                count = work.most.image_rows * t.right
                cut = WinogradCut(tiles, ranges, blocking(this_machine(), count, t.channels, outputs, itemsize))
                found[work] = Way(_work(t, work, count, itemsize, threads), cut, once)
    return list(found.values())


def numbers_of(node: Node, inputs: tuple[TensorType, ...], m: int) -> Winograd:
    (x, w, *_), epilogue = inputs, Epilogue.of(node, inputs)
    biased = epilogue.shift and not epilogue.floor
    return tiled(m, attrs_of(node), x.concrete, w.concrete, epilogue.pool is not None, biased)


def _register(m: int) -> None:
    def cuts(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
        return ways(numbers_of(node, inputs, m), inputs[0].dtype.itemsize, threads)

    @kernel(CONV, CONV_POOL, lowering=f"winograd{m}", accepts=partial(accepts, m), ways=cuts, exact=False, staged=True)
    def lower(k: Emitter) -> None:
        emit(k, m, k.way)


for _m in (2, 4):
    _register(_m)
