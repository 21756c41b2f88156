"""Gradient of the weight by minimal filtering, F(2x2) and F(4x4).

Two of the convolution's three transforms (:mod:`.filtering`) are transposed. The upstream gradient of the m x m outputs
of a tile is transformed by that of the outputs, the tile's inputs as in the convolution, and the products are added up
over all tiles, separately for each of the (m + 2)^2 places of a tile. Once, at the end, the transform of the weights
reduces these sums to 3x3. (Lavin and Gray 2015, section 4; a 3x3 kernel takes (m + 2)^2 products a tile, instead of
9 m^2 by windows.)

Rounding errors are like those of :mod:`.winograd`, and ``exact=True`` excludes these lowerings too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ....base.structs import struct
from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_WEIGHT, ConvWeightAttrs
from ....graph.types import TensorType
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Product, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal
from ..shared.loop import BlockLoop, Bound, bind, recheck
from ..shared.panels import multiply_lines
from .filtering import Transforms, transforms
from .geometry import Conv
from .grad_weight import add_and_place, join, ranged, ranges_of, sums_of
from .grad_weight_views import Share, groups_of, joined_groups
from .grad_winograd_views import bind_range_sources, bind_tile_joins, bind_tile_shares
from .numbers import conv_of
from .tiles import CANDIDATES, tile_blocks, transform, transform_work
from .tiles_views import Tiles, bind_tile_sources
from .winograd import fits, tiled
from .winograd_views import Winograd


@struct(frozen=True)
class TilesCut:
    """How the work is cut: about how many tiles a block has, and the number of ranges of channels."""

    tiles: int
    ranges: int

    def __str__(self) -> str:
        return f"{self.tiles} tiles" + (f", channels in {self.ranges}" if self.ranges > 1 else "")


def tilings(t: Winograd, ranges: int) -> tuple[Tiles, Tiles]:
    """How the tiles of the inputs are read, a range of channels at a time, and those of the upstream gradient."""
    return t.inputs._replace(channels=t.channels // ranges), Tiles(t.m, t.n, t.m, t.right, t.outputs)


def deal_tiles(t: Winograd, cut: TilesCut, workers: int) -> list[list[Block]]:
    outputs = t.outputs * cut.ranges
    return deal(list(tile_blocks(t.images, t.down, t.right, outputs, cut.tiles, cut.ranges, workers)), workers)


# ---------------------------------------------------------------- choosing the tile, the block and the ranges

MOST_RANGES = 4
"""The most ranges of channels: the upstream gradient is transformed once for each."""


def _work(t: Winograd, conv: Conv, cut: TilesCut, work: Sequence[Sequence[Block]], itemsize: int) -> Work:
    """The work of the busiest worker, and that of adding up the sums of all workers."""
    x, dy = tilings(t, cut.ranges)
    l2, square, numbers = this_machine().l2, t.n**2, t.outputs * x.channels
    largest = max((block for mine in work for block in mine), key=lambda s: s.image_rows)

    def moved(count: float, held: int) -> Work:
        """The work of reading and writing ``count`` numbers, in memory of ``held`` numbers."""
        return Work(near=count * itemsize) if held * itemsize <= l2 else Work(far=count * itemsize)

    def one(tile_rows: int) -> Work:
        product = Product(t.outputs, tile_rows * t.right, x.channels, itemsize, True, True, square)
        passed = sum(transform_work(tiles, [largest], largest.image_rows) for tiles in (x, dy))
        held = sum(2 * tiles.numbers(tile_rows) for tiles in (x, dy))
        added = moved(3 * square * numbers, 2 * square * numbers)
        return Work((product,), calls=18 + square) + moved(passed * tile_rows / largest.image_rows, held) + added

    done = Work.of_busiest([[b.image_rows for b in mine] for mine in work], one, lambda tile_rows: tile_rows)
    joined = len(joined_groups(conv, work))
    last = Work((Product(numbers, square, t.filter.taps**2, itemsize, True, True),), far=square * numbers * itemsize)
    parts = 3 * (len(work) - 1) * joined * numbers * t.filter.taps**2
    return done + last * max(len(groups_of(conv, mine)) for mine in work) + Work(far=parts * itemsize)


def numbers_of(m: int, node: Node[ConvWeightAttrs], x: Sequence[int], dy: Sequence[int]) -> tuple[Winograd, Conv]:
    w = node.outputs[0].concrete
    return tiled(m, node.attrs.conv, x, w, False), conv_of(node.attrs.conv, x, w, dy)


def _ways(m: int, node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    t, whole = numbers_of(m, node, *(type_.concrete for type_ in inputs))
    found: dict[tuple[tuple[Block, ...], ...], Way] = {}
    for ranges in (ranges for ranges in ranges_of(whole) if ranges <= max(threads, MOST_RANGES)):
        for tiles in CANDIDATES:
            work = deal_tiles(t, cut := TilesCut(tiles, ranges), threads)
            if (key := tuple(map(tuple, work))) not in found:
                done = _work(t, ranged(whole, ranges), cut, work, inputs[0].dtype.itemsize) if work else NOTHING
                found[key] = Way(done, cut)
    return list(found.values())


# ---------------------------------------------------------------- the kernel


def accepts(m: int, node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return node.outputs[0].order is None and fits(m, node.attrs.conv, node.outputs[0].concrete)


def _emit(m: int, k: Emitter[ConvWeightAttrs]) -> None:
    """Transform both operands of each block of tiles, add up the products, and transform the sums to weights."""
    recheck(k)
    (x, dy), (dw,), cut = k.ins, k.outs, k.way
    t, whole = numbers_of(m, k.node, x.shape, dy.shape)
    conv, work = ranged(whole, cut.ranges), deal_tiles(t, cut, k.threads)
    if not work:
        k.line(f"{dw}.fill(0)")
        return
    loop = BlockLoop(k, work)
    factors = transform_both(loop, conv, tilings(t, cut.ranges), transforms(t.filter))
    held, again = sums_of(conv, work)
    numbers, joined = (t.outputs, conv.group_in), bool(joined_groups(conv, work))
    totals = loop.scratch((held, t.n**2, *numbers), x.dtype, "total")
    spare = loop.scratch((t.n**2 * again, *numbers), x.dtype, "spare")
    parts = loop.scratch((held * joined, *numbers, t.filter.taps**2), x.dtype, "part")
    memory = tuple(zip(totals, spare, parts, strict=True))
    shares = loop.bind("shares", bind_tile_shares, conv, cut.ranges, loop.blocks, *factors, memory, dw)
    v = loop.parts(shares, Share)
    one = transforms(t.filter).weights
    weights = k.use(np.kron(one, one).astype(x.dtype), "weight_transform")
    place = f"np.matmul({{1}}, {weights}, out={{0}})"
    loop.line(multiply_lines(k, v.products), *add_and_place(k, v.sums, v.places, place))
    loop.emit()
    if joined:
        join(k, bind(k, "joins", bind_tile_joins, conv, cut.ranges, loop.blocks, parts, dw))


def transform_both(
    loop: BlockLoop[Block], conv: Conv, both: tuple[Tiles, Tiles], matrices: Transforms,
    whole: tuple[Operand, Operand] | None = None,
) -> list[Bound]:  # fmt: skip
    """Let the loop transform each block's tiles of the input and of the upstream gradient; into ``whole`` if given."""
    k, (x, dy) = loop.k, loop.k.ins
    rows = max(block.image_rows for block in loop.every)
    slab = loop.scratch((max(tiles.slab(loop.every) for tiles in both),), x.dtype, "slab")
    gathered = loop.scratch((max(tiles.gathered(rows) for tiles in both),), x.dtype, "gathered")
    sources = (
        loop.each("source", bind_range_sources, both[0], conv, loop.blocks, x),
        loop.each("source", bind_tile_sources, both[1], loop.blocks, dy),
    )
    found, turned = [], (matrices.inputs, matrices.outputs.T)
    for tiles, a, matrix, source, one in zip(both, (x, dy), turned, sources, whole or (None, None), strict=True):
        held = tiles.by_rows(rows) if one else max(tiles.by_rows(rows), tiles.numbers(rows))
        made = loop.scratch((held,), x.dtype, "transformed")
        memory = tuple(zip(slab, made, gathered, strict=True))
        found.append(transform(loop, tiles, a, memory, k.use(matrix.astype(x.dtype), "transform"), source, one))
    return found


def _register(m: int) -> None:
    @kernel(
        CONV_GRAD_WEIGHT, lowering=f"winograd{m}", accepts=partial(accepts, m), ways=partial(_ways, m), exact=False,
        staged=True,
    )  # fmt: skip
    def lower(k: Emitter[ConvWeightAttrs]) -> None:
        _emit(m, k)


for _m in (2, 4):
    _register(_m)
