"""Convolution of few tiles by Winograd's minimal filtering, for weights that change from run to run.

The transformed weights, which are two to four times as large as the weights, would have to be written to memory and
read back at each run. Here all tiles are transformed first. Then each worker transforms the weights of some outputs in
a buffer that stays in its cache, and multiplies all tiles by them as in :mod:`.winograd`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL
from ....graph.types import TensorType
from ...planning.machine import Machine, this_machine
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter, Operand
from ..shared.cache_lines import apart_row
from ..shared.cut import Block, Grid, deal, even_runs
from ..shared.loop import BlockLoop, recheck
from ..shared.panels import Blocking, blocking, product_of, unpacked
from .filtering import transforms
from .tiles import transform_work
from .weights import transforming
from .winograd import accepts, buffers, multiply_and_finish, numbers_of, transform_tiles
from .winograd_views import Winograd, bind_ranges, bind_streamed, buffer_sizes, near_channels

WIDTHS = (128, 64, 32)
"""Numbers of outputs of a range that are considered: large ones are copied in long runs."""
NEAR_CACHES = 2
"""Weights of a range may take this many times the second-level cache: beyond it, the next level is still near."""


PAIRS_AT_ONCE = 1 << 11
"""Pairs of an output and a channel whose weights are transformed at a time."""


class StreamedCut(NamedTuple):
    """How the work is cut: the number of ranges of outputs, and how products are cut."""

    ranges: int
    product: Blocking

    def __str__(self) -> str:
        return f"outputs in {self.ranges}"


def _tiles(t: Winograd, workers: int) -> Grid:
    """All tiles, as one block of whole images for each worker."""
    return Grid(even_runs(t.images, -(-t.images // workers), 1, 1), (t.down, 1), (t.outputs, 1))


def _results(t: Winograd, ranges: int, workers: int) -> Grid:
    """The blocks of results: those of all tiles, range by range of the outputs."""
    tiles = _tiles(t, workers)
    return Grid(tiles.images, tiles.rows, (t.outputs, ranges))


def emit(k: Emitter, m: int, cut: StreamedCut) -> None:
    """Write a loop over tiles, and one over ranges of the outputs."""
    recheck(k)
    x, w = k.ins[:2]
    t = numbers_of(k.node, tuple(x.type for x in k.ins), m)
    tiles, results = (list(grid) for grid in (_tiles(t, k.threads), _results(t, cut.ranges, k.threads)))
    if not results:
        return
    first = BlockLoop(k, deal(tiles, k.threads))
    transformed = transform_tiles(first, t, x, buffers(first, t, x))
    first.emit()
    loop = BlockLoop(k, deal(results, k.threads))
    outputs, width = t.outputs // cut.ranges, cut.product.width
    count = max(s.image_rows for s in loop.every) * t.right * outputs
    ping, pong = (loop.scratch((n * count,), x.dtype, name) for n, name in ((t.m * t.lines, "ping"), (t.n**2, "pong")))
    memory = tuple(zip(ping, ping, pong, strict=True))  # no buffer for padding is needed any more
    made = loop.scratch((t.n**2 * outputs * t.channels,), w.dtype, "transformed")
    _transform_weights(loop, t, w, made, outputs)
    bound = t, loop.blocks, memory, first.blocks, transformed, made, width, cut.product.rows, unpacked(x.dtype)
    multiply_and_finish(loop, t, memory, loop.bind("views", bind_streamed, *bound))
    loop.emit()


def _transform_weights(
    loop: BlockLoop[Block], t: Winograd, w: Operand, made: tuple[Operand, ...], outputs: int
) -> None:  # fmt: skip
    """Let the loop transform the weights of each range where it begins, some at a time."""
    one, each = transforms(t.filter).weights, t.filter.taps**2
    both = loop.k.use(np.kron(one, one).astype(w.dtype), "weight_transform")
    row = apart_row(near_channels(t, outputs) * each, w.dtype.itemsize)
    near, taps = (
        loop.scratch((numbers,), w.dtype, name)
        for numbers, name in ((outputs * row, "near"), (each * max(PAIRS_AT_ONCE, outputs), "taps"))
    )
    memory = tuple(zip(near, taps, made, strict=True))
    ranges = loop.each("range", bind_ranges, t, loop.blocks, w, memory, unpacked(w.dtype))
    copies, target, source, left, place = loop.fresh("copies", "target", "source", "left", "made")
    loop.for_each(
        (copies, left, place), ranges,
        f"for {target}, {source} in {copies}:\n    {target}[...] = {source}", f"np.matmul({both}, {left}, out={place})",
    )  # fmt: skip


def _work(t: Winograd, cut: StreamedCut, machine: Machine, itemsize: int, threads: int) -> Work:
    """The work of the busiest thread."""
    tiles, results = _tiles(t, threads), _results(t, cut.ranges, threads)
    if not results:
        return NOTHING
    largest, width = tiles.most, t.outputs // cut.ranges
    count, square, sizes = largest.image_rows * t.right, t.n**2, buffer_sizes(t, [largest])
    before = transform_work(t.inputs, [largest], largest.image_rows) * itemsize
    near = sum(sizes) * itemsize <= machine.l2
    transformed = Work(near=before / 2 if near else 0.0, far=0.0 if near else before, calls=5)
    product = product_of(machine, count, t.channels, width, itemsize, True)._replace(times=square)
    after = (2 * square + 2 * t.m * t.n + 3 * t.m**2) * count * width * itemsize
    block = Work((product,), near=after / 2, pixels=square * count, calls=14)
    weights = transforming((width, t.channels, t.filter.taps, t.filter.taps), square, itemsize)
    made = Work(weights.products, near=weights.near + 2 * weights.far, straight=weights.straight, calls=weights.calls)
    each = -(-len(results) // threads)
    mine = transformed * -(-len(tiles) // threads) + block * each + made * -(-each // len(tiles))
    return mine + Work(forks=2) if threads > 1 else mine


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int, *, m: int) -> list[Way]:
    """Ways with ranges whose weights stay near the core."""
    machine, itemsize, t = this_machine(), inputs[0].dtype.itemsize, numbers_of(node, inputs, m)
    count = _tiles(t, threads).most.image_rows * t.right
    widths = [width for width in WIDTHS if t.outputs % width == 0] or [max(1, t.outputs)]
    near = [width for width in widths if t.n**2 * t.channels * width * itemsize <= NEAR_CACHES * machine.l2]
    width = near[0] if near else widths[-1]
    cut = StreamedCut(t.outputs // width, blocking(machine, count, t.channels, width, itemsize))
    return [Way(_work(t, cut, machine, itemsize, threads), cut)]


def _register(m: int) -> None:
    @kernel(
        CONV, CONV_POOL, lowering=f"winograd{m}_streamed", accepts=partial(accepts, m), ways=partial(ways, m=m),
        exact=False, staged=True, transforms_weights=True,
    )  # fmt: skip
    def lower(k: Emitter) -> None:
        emit(k, m, k.way)


for _m in (2, 4):
    _register(_m)
