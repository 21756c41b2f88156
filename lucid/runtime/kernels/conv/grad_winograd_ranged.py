"""Gradient of the weight by minimal filtering of few tiles, range by range of the weights.

The sums that :mod:`.grad_winograd` accumulates have the size of the transformed weights, two to four times that of the
weights; in layers with many channels they do not fit the cache. Here all tiles are transformed first. Then each worker
takes some outputs and some channels at a time, whose sums stay in its cache until they are transformed to weights.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_WEIGHT, ConvWeightAttrs
from ....graph.types import TensorType
from ...planning.machine import Machine, this_machine
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Product, Work
from ...program.emitter import Emitter
from ..shared.cache_lines import LINE
from ..shared.cut import deal, even_pieces
from ..shared.loop import BlockLoop, recheck
from .filtering import transforms
from .grad_weight import ranged
from .grad_winograd import TilesCut, accepts, deal_tiles, numbers_of, tilings, transform_both
from .grad_winograd_views import Part, bind_weight_parts
from .tiles import CANDIDATES, transform_work
from .winograd import BATCHED
from .winograd_views import Winograd

SHAPES = ((128, 128), (64, 128), (64, 64), (32, 64), (32, 32), (16, 32))
"""Sizes of a range (outputs, channels) that are considered."""
LEAST = 16
"""The least outputs, or channels, of a range when it is made smaller so that all workers get equally many."""
MOST_TILES = 128
"""The most tiles: transforms of more take too much memory, and longer sums round too coarsely."""


class RangesCut(NamedTuple):
    """How the work is cut: about how many tiles are transformed at a time, and the outputs and channels of a range."""

    tiles: int
    outputs: int
    channels: int

    def __str__(self) -> str:
        return f"{self.outputs} x {self.channels} weights"


def _parts(t: Winograd, cut: RangesCut, workers: int) -> list[Part]:
    """All ranges, equally many for each worker."""
    channels = even_pieces(t.channels, cut.channels, LEAST, 1)
    outputs = even_pieces(t.outputs, cut.outputs, LEAST, workers // math.gcd(workers, len(channels)))
    return [Part(*pair) for pair in product(outputs, channels)]


def _tiles(t: Winograd) -> int:
    """The number of tiles."""
    return t.images * t.down * t.right


# ---------------------------------------------------------------- choosing the ranges


def _cut(t: Winograd, machine: Machine, itemsize: int) -> RangesCut:
    """The largest ranges whose sums stay in the second-level cache, and whose products BLAS need not pack."""
    square = t.n**2

    def fits(shape: tuple[int, int]) -> bool:
        numbers = shape[0] * shape[1]
        unpacked = machine.unpacked == 0 or itemsize != 4 or numbers * _tiles(t) <= machine.unpacked
        return square * numbers * itemsize <= machine.l2 // 2 and unpacked

    outputs, channels = next(filter(fits, SHAPES), SHAPES[-1])
    held = [sum(2 * tiles.numbers(1) for tiles in tilings(t, 1)) * itemsize // t.right * n for n in CANDIDATES]
    near = [n for n, bytes_ in zip(CANDIDATES, held, strict=True) if bytes_ <= machine.l2]
    return RangesCut(max(near, default=CANDIDATES[0]), min(outputs, t.outputs), min(channels, t.channels))


def _work(t: Winograd, cut: RangesCut, machine: Machine, itemsize: int, threads: int) -> Work:
    """The work of the busiest thread."""
    tiles = deal_tiles(t, TilesCut(cut.tiles, 1), threads)
    if not tiles:
        return NOTHING
    both, square, count = tilings(t, 1), t.n**2, _tiles(t)
    made = sum(a.channels for a in both) * square * itemsize

    def transformed(tile_rows: int) -> Work:
        block = max((s for mine in tiles for s in mine), key=lambda s: s.image_rows)
        passed = sum(transform_work(a, [block], block.image_rows) for a in both) * tile_rows / block.image_rows
        return Work(near=passed * itemsize, far=made * tile_rows * t.right, calls=10)

    def one(part: Part) -> Work:
        outputs, channels = part.sizes
        numbers = outputs * channels
        packed = itemsize != 4 or numbers * count > machine.unpacked
        products = (
            Product(outputs, count, channels, itemsize, packed, True, square),
            Product(numbers, square, t.filter.taps**2, itemsize, False, True),
        )
        moved = 2 * square * numbers + square * count * (outputs + channels)
        return Work(products, near=moved * itemsize, calls=2 + BATCHED * (square + outputs))

    first = Work.of_busiest([[s.image_rows for s in mine] for mine in tiles], transformed, int)
    return first + Work.of_busiest(deal(_parts(t, cut, threads), threads), one, lambda part: part.numbers)


def _numbers(m: int, node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...]) -> Winograd:
    t, _ = numbers_of(m, node, *(type_.concrete for type_ in inputs))
    return t


def _accepts(m: int, node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return accepts(m, node, inputs) and _tiles(_numbers(m, node, inputs)) <= MOST_TILES


def _ways(m: int, node: Node[ConvWeightAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    t = _numbers(m, node, inputs)
    machine, itemsize = this_machine(), inputs[0].dtype.itemsize
    cut = _cut(t, machine, itemsize)
    return [Way(_work(t, cut, machine, itemsize, threads), cut)]


# ---------------------------------------------------------------- the kernel


def _emit(m: int, k: Emitter[ConvWeightAttrs]) -> None:
    """Write a loop over blocks of tiles, and one over ranges of the weights."""
    recheck(k)
    (x, dy), (dw,), cut = k.ins, k.outs, k.way
    t, conv = numbers_of(m, k.node, x.shape, dy.shape)
    work = deal_tiles(t, TilesCut(cut.tiles, 1), k.threads)
    if not work:
        k.line(f"{dw}.fill(0)")
        return
    both, square = tilings(t, 1), t.n**2
    seen, back = (k.scratch((square, t.images, t.down, t.right * a.channels), x.dtype, "tiles") for a in both)
    first = BlockLoop(k, work)
    transform_both(first, ranged(conv, 1), both, transforms(t.filter), (seen, back))
    first.emit()
    loop = BlockLoop(k, deal(_parts(t, cut, k.threads), k.threads))
    # rows are padded: if their stride were a power of two, reading across them would hit only a few cache sets
    row = max(part.numbers for part in loop.every) + LINE // x.dtype.itemsize
    sums = loop.scratch((square, row), x.dtype, "sums")
    one = transforms(t.filter).weights
    weights = k.use(np.kron(one, one).astype(x.dtype), "weight_transform")
    gradients, tiles, total, values, place = loop.over(
        loop.bind("parts", bind_weight_parts, loop.blocks, seen, back, sums, dw),
        "gradients", "tiles", "total", "values", "place",
    )  # fmt: skip
    loop.line(f"np.matmul({gradients}, {tiles}, out={total})", f"np.matmul({values}, {weights}, out={place})")
    loop.emit()


def _register(m: int) -> None:
    @kernel(
        CONV_GRAD_WEIGHT, lowering=f"winograd{m}_ranged", accepts=partial(_accepts, m), ways=partial(_ways, m),
        exact=False, staged=True,
    )  # fmt: skip
    def lower(k: Emitter[ConvWeightAttrs]) -> None:
        _emit(m, k)


for _m in (2, 4):
    _register(_m)
