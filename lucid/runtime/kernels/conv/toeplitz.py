"""Convolution of few channels: all outputs of a tile at once, by one product with a block-Toeplitz matrix.

The pixels under a tile of outputs (its *patch*) are one row of a matrix. The columns of the weight matrix are
the outputs of the tile, with a zero wherever an output does not depend on a pixel: more multiplications than
necessary, but one large product instead of many thin ones, and little to gather. The columns are grouped by their
place in the pooling window, so the pooling is a maximum over groups of columns.

An infinity or NaN of the input spreads over its tile, because zero times infinity is NaN; ``exact=True`` excludes
this lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused
from ....graph.types import CHANNELS_LAST, TensorType, is_float
from ....graph.windows import Window, side_by_side, windows_of
from ...planning.machine import Machine, kept_for_machine, this_machine
from ...planning.phase import Phase
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, Grid, deal, largest
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, channels_last, recheck
from ..shared.panels import cut_for, multiply_lines, product_of
from ..shared.panels_views import panels_of
from .numbers import attrs_of, convolved, pool_axes
from .toeplitz_views import (
    Padded,
    Pooling,
    Side,
    TileResults,
    Toeplitz,
    Windows,
    bind_batches,
    bind_moves,
    bind_outputs,
    bind_padded_patches,
    bind_patch_sources,
    bind_patches,
    bind_tile_pooling,
    bind_tile_results,
    bind_windows,
    spread,
)

KEPT_NODES = 256
"""The number of nodes whose ways are cached; they take 30 KB each, and are used several times while planning."""


# ---------------------------------------------------------------- choosing the tile and the block

MOST_CHANNELS = 32
"""The most channels: with more, the zeros in the matrix cost more than gathering windows."""
TILES = (64, 128, 256, 512, 1024, 2048)
"""Numbers of tiles of a block that are considered."""
POOLED, ALONE = (1, 2, 3, 4), (1, 2, 4, 8)
"""Outputs of a tile in each direction that are considered, with pooling and without."""
OVERLAP = 1.25
"""By this factor the sum of the parts is too low, on average over many shapes: patches overlap in the cache."""
VECTOR_COLUMNS = 16
"""Columns of a product that are computed at once: fewer take as long."""


class ToeplitzCut(NamedTuple):
    """How the work is cut: the tiles, about how many of them a block has, and how many workers share the blocks."""

    toeplitz: Toeplitz
    tiles: int
    workers: int

    def __str__(self) -> str:
        return f"{self.toeplitz.rows.tile}x{self.toeplitz.cols.tile} tiles, {self.tiles} a strip"


def toeplitz_tilings(node: Node, inputs: tuple[TensorType, ...]) -> list[Toeplitz]:
    """The sizes of a node's convolution for all tiles that are considered."""
    x, w, a, pool = inputs[0].concrete, inputs[1].concrete, attrs_of(node), as_fused(node.attrs).pool
    windows, taps = windows_of(w[2:], a.stride, a.padding, a.dilation), (1, 1) if pool is None else pool.kernel

    def sides(window: Window, size: int, pool: int, convolved: int) -> dict[Side, None]:
        count = convolved // pool
        found = (min(tile, max(1, count)) for tile in (POOLED if pool > 1 else ALONE))
        return dict.fromkeys(Side(window, size, pool, count, tile) for tile in found)

    rows, cols = map(sides, windows, x[2:], taps, convolved(node, inputs)[2:])
    return [Toeplitz(x[0], x[1], w[0], *pair, inputs[0].order is not None) for pair in product(rows, cols)]


def best_ways(
    node: Node, inputs: tuple[TensorType, ...], threads: int, work_of: Callable[[Toeplitz, Block], Work]
) -> list[Way]:
    """For each tiling, the best way to share it, given the work of a block."""

    def all_of(t: Toeplitz) -> Iterator[Way]:
        met = dict[Grid, int]()  # with few rows, many sizes lead to the same blocks
        for tiles in TILES:
            met.setdefault(t.blocks(tiles), tiles)
        for blocks, tiles in met.items():
            one = work_of(t, blocks.most) * OVERLAP if len(blocks) else NOTHING
            for workers in sorted({1, threads}):
                yield Way(one.shared(len(blocks), workers), ToeplitzCut(t, tiles, workers))

    return [min(all_of(t), key=lambda way: way.seconds) for t in toeplitz_tilings(node, inputs)]


def _work(t: Toeplitz, b: Block, itemsize: int, machine: Machine) -> Work:
    tiles, width = t.tiles(b), t.taps * t.made
    rows, cols = t.rows.patches, t.cols.patches
    resident = t.depth * width * itemsize <= machine.l2 // 2
    runs = tiles * rows.kernel * (1 if t.last else t.channels)
    moved = 2 * tiles * t.depth + 3 * tiles * t.made
    if not t.inside:
        moved += tiles * rows.stride * cols.stride * t.channels
    if not t.whole:
        runs += tiles * t.rows.tile
        moved += 2 * tiles * t.made
    inside = tiles * (t.depth + 2 * width) * itemsize <= machine.l2
    return Work(
        products=(
            product_of(machine, tiles, t.depth, -(-width // VECTOR_COLUMNS) * VECTOR_COLUMNS, itemsize, resident),
        ),
        near=moved * itemsize if inside else 0.0,
        far=0.0 if inside else moved * itemsize,
        loops=runs,
        numbers=tiles * t.made * (t.taps - 1) * itemsize / 4,
        pixels=tiles * (t.taps - 1).bit_length(),
        calls=(6 + t.taps // 2) / 2,  # of so small arrays
    )


@kept_for_machine(KEPT_NODES)
def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    machine, itemsize = this_machine(), inputs[0].dtype.itemsize
    return best_ways(node, inputs, threads, lambda t, b: _work(t, b, itemsize, machine))


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether there are few channels, no groups, and no pooling or one whose windows do not overlap."""
    x, epilogue = inputs[0], Epilogue.of(node, inputs)
    if attrs_of(node).groups != 1 or x.concrete[1] > MOST_CHANNELS or not is_float(x.dtype):
        return False
    if x.order not in (None, CHANNELS_LAST) or epilogue.residual or not epilogue.anywhere:
        return False
    return side_by_side(pool_axes(node, inputs))


# ---------------------------------------------------------------- the parts of the kernel


def room_of(loop: BlockLoop[Block], t: Toeplitz) -> tuple[int, int, bool]:
    """The most images and rows of tiles of a block; and whether blocks are whole images, with the same padding."""
    images, _, rows = largest(loop.every)
    return images, rows, rows == t.rows.patches.count


def gather_patches(loop: BlockLoop[Block], t: Toeplitz) -> str:
    """Let the loop copy the patches to padded rows, unless they can be viewed in the input; returns their variable."""
    x = loop.k.ins[0]
    if t.inside and x.phase is not Phase.CALL:
        return loop.each("patches", bind_patches, t, loop.blocks, x)
    (images, rows, whole), down, right = room_of(loop, t), t.rows.patches, t.cols.patches
    room = loop.zeroed if whole and not t.inside else loop.scratch
    memory = room((images * t.channels * down.held(rows) * right.held(right.count),), x.dtype, "padded")
    p = loop.parts(loop.bind("padded", bind_padded_patches, t, loop.blocks, memory), Padded)
    if not whole and not t.inside:
        (edge,) = loop.fresh("edge")
        loop.for_each([edge], p.edges, f"{edge}.fill(0)")
    as_it_is = loop.single and not t.last and t.sees_all
    source = x if as_it_is else loop.each("source", bind_patch_sources, t, loop.blocks, x)
    loop.line(f"{p.inside}[...] = {source}")
    return str(p.patches)


def pack(k: Emitter, t: Toeplitz, width: int) -> tuple[Operand, Operand]:
    """The block-Toeplitz matrix (pixels of a patch, outputs of a tile), and its panels of ``width`` columns."""
    w, columns = k.ins[1], t.taps * t.made
    with k.once(w):
        packed = k.scratch((t.depth, columns), w.dtype, "toeplitz")
        k.line(f"{k.use(spread)}({k.use(t.weights, f'{k.name}_weights')}, {w}, {packed})")
        if width == columns:
            return packed, packed
        panels = k.scratch((columns // width, t.depth, width), w.dtype, "panels")
        k.line(f"{panels}[...] = {k.use(panels_of)}({packed}, {width})")
    return packed, panels


def bias_of(k: Emitter, t: Toeplitz, count: int, turned: bool = False) -> Operand | None:
    """The bias, repeated for all results of ``count`` tiles: adding equal shapes takes a third of the time."""
    if len(k.ins) < 3:
        return None
    bias, cells = k.ins[2], (t.made // t.outputs, t.outputs)
    with k.once(bias):
        shift = k.scratch((t.made, count) if turned else (count, t.made), bias.dtype, "shift")
        seen = k.seen(shift, (*cells, count) if turned else (count, *cells))
        k.line(f"{seen}[...] = {bias}{f'.reshape({t.outputs}, 1)' if turned else ''}")
    return shift


# ---------------------------------------------------------------- the kernel


@kernel(CONV, CONV_POOL, lowering="toeplitz", accepts=accepts, exact=False, ways=ways, staged=True)
def toeplitz(k: Emitter) -> None:
    """For each block: gather patches, multiply by the block-Toeplitz matrix, pool, add the bias, activate."""
    recheck(k)
    (t, most, workers), y = k.way, k.outs[0]
    work = deal(list(t.blocks(most)), workers)
    if not work:
        return
    loop, epilogue = BlockLoop(k, work), Epilogue.of(k.node, k.ins)
    seen, tiles = gather_patches(loop, t), max(map(t.tiles, loop.every))
    windows = loop.bind("matrices", bind_windows, t, loop.blocks, loop.scratch((tiles * t.depth,), y.dtype, "windows"))
    w = loop.parts(windows, Windows)
    shift = bias_of(k, t, tiles)
    if t.whole and channels_last(y) and y.contiguous:
        memory, results = None, loop.bind("outputs", bind_outputs, t, loop.blocks, y, shift)
    else:
        memory = loop.scratch((tiles, t.made), y.dtype, "results")
        results = loop.bind("results", bind_tile_results, t, loop.blocks, memory, shift)
    r, pooling, p = loop.parts(results, TileResults), None, None
    if t.taps > 1:
        pooling = loop.bind("pooling", bind_tile_pooling, t, loop.blocks, _pooling_memory(loop, t, tiles))
        p = loop.parts(pooling, Pooling)
    loop.line(f"{w.cells}[...] = {seen}")
    cut = cut_for(k, tiles, t.depth, t.taps * t.made)
    packed, panels = pack(k, t, cut.width)
    if panels is packed:
        loop.line(f"{w.matrix}.dot({packed}, out={r.out if p is None else p.product})")
    else:
        loop.line(multiply_lines(k, loop.each("batch", bind_batches, windows, pooling or results, panels, cut.rows)))
    if p is not None:
        a, b, c = loop.fresh("a", "b", "c")
        if t.taps > 2:
            loop.for_each([a, b, c], p.steps, f"np.maximum({a}, {b}, out={c})")
        loop.line(f"np.maximum({p.first}, {p.second}, out={r.out})")
    loop.line(*epilogue.terms(r.out, None if shift is None else r.bias))
    loop.line(*epilogue.activation_lines(loop, r.out, (tiles, t.made)))
    if memory is not None:
        target, value = loop.fresh("target", "value")
        moves = loop.each("move", bind_moves, t, loop.blocks, memory, y)
        loop.for_each([target, value], moves, f"{target}[...] = {value}")
    loop.emit()


def _pooling_memory(loop: BlockLoop[Block], t: Toeplitz, tiles: int) -> tuple[tuple[Operand, Operand], ...]:
    """For each worker, scratch for the product, and for half of it."""
    dtype, one = loop.k.outs[0].dtype, tiles * t.made
    products = loop.scratch((one * t.taps,), dtype, "products")
    halves = loop.scratch((one * (t.taps // 2),), dtype, "maxima") if t.taps > 3 else products
    return tuple(zip(products, halves, strict=True))
