"""What a Winograd convolution reads and writes, block by block: its numbers, its weights, and the views of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....graph.windows import Real, real
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, bands, per_block
from ..shared.panels_views import small_products
from .filtering import Filter


@dataclass(frozen=True)
class Winograd:
    """The numbers of a convolution by tiles.

    Attributes
    ----------
    filter
        What is done along either axis of a tile.
    q
        Pixels of a tile after pooling: ``m``, or half of it.
    down, right
        Tiles that cover the output.
    top, left
        Padding before the first row and column.
    """

    filter: Filter
    q: int
    images: int
    rows: int
    cols: int
    channels: int
    outputs: int
    down: int
    right: int
    top: int
    left: int

    @property
    def m(self) -> int:
        """Output pixels of a tile, each way."""
        return self.filter.m

    @property
    def n(self) -> int:
        """Input pixels of a tile, each way."""
        return self.filter.products

    @property
    def width(self) -> int:
        """Columns of the padded rows."""
        return self.filter.held(self.right)


class Buffers(NamedTuple):
    """Numbers of elements of a worker's memory: the padded rows, and two buffers used in turn."""

    slab: int
    ping: int
    pong: int


def buffer_sizes(t: Winograd, work: Sequence[Block]) -> Buffers:
    tile_rows = max(s.image_rows for s in work)
    tiles = tile_rows * t.right
    outputs = max(s.c1 - s.c0 for s in work)
    slab = max((s.n1 - s.n0) * t.filter.held(s.r1 - s.r0) for s in work) * t.width * t.channels
    ping = max(tile_rows * t.n * t.width * t.channels, t.n * t.n * tiles * t.channels, t.m * t.n * tiles * outputs)
    pong = max(t.n * t.n * tiles * t.channels, t.n * t.n * tiles * outputs)
    return Buffers(slab, ping, pong)


PART = 1 << 15
"""Transformed weights that are made at a time, in double precision: a quarter of a common second-level cache."""


def transform_weights(g: Array, w: Array, out: Array) -> None:
    """G w G^T for every pair of channels, in double precision, by parts that stay in the cache."""
    both = np.kron(g, g)
    _, panels, channels, width = out.shape
    taps, step = w.reshape(panels, width, channels, math.prod(w.shape[2:])), max(1, PART // (width * len(both)))
    for panel, c in product(range(panels), range(0, channels, step)):
        part = taps[panel, :, c : c + step].transpose(2, 1, 0).astype(np.float64)
        out[:, panel, c : c + step] = (both @ part.reshape(len(part), -1)).reshape(len(both), -1, width)


Memory: TypeAlias = "tuple[Array, Array, Array]"
"""That of a worker: as :class:`Buffers` says how much."""


class TileViews(NamedTuple):
    """What one block reads and writes, step by step; the names are those of the loop's variables."""

    edges: Sequence[Array]
    inside: Array
    rows: Array
    by_rows: Array
    seen: Array
    tiles: Array
    lines: Array
    by_both: Array
    products: Steps
    sums: Array
    by_lines: Array
    thin: Array
    made: Array


def _real(t: Winograd, s: Block, size: Sequence[int]) -> tuple[Real, Real]:
    """The rows and columns of a block's padded memory that are no padding; ``size`` is that of an input image."""
    height, width = size
    rows = real(t.filter.step * s.r0 - t.top, t.filter.held(s.r1 - s.r0), height)
    return rows, real(-t.left, t.width, width)


def bind_tile_sources(t: Winograd, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The part of the input that each block reads."""
    nhwc = x.transpose(0, 2, 3, 1)

    def source(s: Block) -> Array:
        rows, cols = _real(t, s, nhwc.shape[1:3])
        return nhwc[s.images, rows.source, cols.source]

    return per_block(source, work)


def bind_tiles(
    t: Winograd,
    work: Deal[Block],
    memory: Sequence[Memory],
    size: tuple[int, int],
    packed: Array,
    rows: int,
) -> list[list[TileViews]]:
    """The views of every block of every worker; ``size`` is that of an input image, ``rows`` of a block of products."""
    return per_block(lambda s, own: _bind_block(t, s, own, size, packed, rows), work, memory)


def _bind_block(
    t: Winograd, s: Block, memory: Memory, size: tuple[int, int], packed: Array, block_rows: int
) -> TileViews:  # fmt: skip
    slab, ping, pong = memory
    images, down, outputs = s.n1 - s.n0, s.r1 - s.r0, s.c1 - s.c0
    n, m, c, count = t.n, t.m, t.channels, s.image_rows * t.right
    height, step = t.filter.held(down), t.filter.step
    padded = as_view(slab[: images * height * t.width * c], images, height, t.width, c)
    real_rows, real_cols = _real(t, s, size)
    middle = padded[:, real_rows.places]
    edges = [padded[:, : real_rows.low], padded[:, real_rows.high :]]
    edges += [middle[:, :, : real_cols.low], middle[:, :, real_cols.high :]]
    s0, s1, _, item = padded.strides
    rows = as_strided(padded, (images, down, n, t.width * c), (s0, step * s1, s1, item))
    by_rows = as_view(ping[: images * down * n * t.width * c], images, down, n, t.width * c)
    e0, e1, e2, item = by_rows.strides
    seen = as_strided(by_rows, (n, n, images, down, t.right, c), (e2, c * item, e0, e1, step * c * item, item))
    tiles = as_view(pong[: n * n * count * c], n, n, images, down, t.right, c)
    by_both = as_view(ping[: n * n * count * c], n, n, count * c)
    product = as_view(pong[: n * n * count * outputs], n * n, count, outputs)
    panels = packed[:, s.c0 // packed.shape[3] : s.c1 // packed.shape[3]]
    products = list(small_products(as_view(by_both, n * n, count, c), panels, product, block_rows))
    by_lines = as_view(ping[: m * n * count * outputs], m, n * count * outputs)
    made = as_view(pong[: m * m * count * outputs], m, m, count * outputs)
    return TileViews(
        [edge for edge in edges if edge.size], middle[:, :, real_cols.places],
        rows, by_rows, seen, tiles, as_view(tiles, n, n, count * c), by_both,
        products, as_view(product, n, n * count * outputs), by_lines,
        as_view(by_lines, m, n, count * outputs), made,
    )  # fmt: skip


Copy: TypeAlias = "tuple[Array, Array, Array | None]"
"""Where tiles go, they, and the residual there, if any."""


class Destinations(NamedTuple):
    """Where a block's tiles go: the two maxima of the pooling (if any), all pixels as a matrix, and the copies."""

    halves: tuple[Array, ...]
    quarters: tuple[Array, ...]
    final: Array
    copies: Sequence[Copy]


def bind_destinations(
    t: Winograd, work: Deal[Block], memory: Sequence[Memory], y: Array, residual: Array | None
) -> list[list[Destinations]]:
    """Views of what follows the last transform."""
    nhwc, added = y.transpose(0, 2, 3, 1), None if residual is None else residual.transpose(0, 2, 3, 1)
    return per_block(lambda s, own: _bind_result(t, s, own, nhwc, added), work, memory)


def _bind_result(t: Winograd, s: Block, memory: Memory, nhwc: Array, added: Array | None) -> Destinations:
    _, ping, pong = memory
    m, q, outputs = t.m, t.q, s.c1 - s.c0
    nhwc, added = nhwc[..., s.channels], None if added is None else added[..., s.channels]
    images, down = s.n1 - s.n0, s.r1 - s.r0
    size = s.image_rows * t.right * outputs
    planes = pong[: m * m * size]
    final, halves, quarters = planes, (planes,) * 3, (planes,) * 3
    if q < m:
        pairs = as_view(planes, q, 2, q, 2, size)
        first = as_view(ping[: q * m * size], q, q, 2, size)
        final = planes[: q * q * size]
        halves = (pairs[:, 0], pairs[:, 1], first)
        quarters = (first[:, :, 0], first[:, :, 1], as_view(final, q, q, size))
    tiles = as_view(final, q, q, images, down, t.right, outputs)
    return Destinations(halves, quarters, as_view(final, -1, outputs), list(_copies(q, s, tiles, nhwc, added)))


def _copies(q: int, s: Block, tiles: Array, nhwc: Array, added: Array | None) -> Iterator[Copy]:
    """Whole tiles in one copy; those that the border cuts in up to three more. With each the residual, if any."""
    _, height, width, _ = nhwc.shape
    for (r0, r1, rows), (c0, c1, cols) in product(bands(height, q, s.r0, s.r1), bands(width, q, 0, tiles.shape[4])):
        part = tiles[:rows, :cols, :, r0 - s.r0 : r1 - s.r0, c0:c1]
        at = s.images, slice(r0 * q, None), slice(c0 * q, None)
        yield _tiled(q, nhwc[at], part.shape), part, None if added is None else _tiled(q, added[at], part.shape)


def _tiled(q: int, place: Array, shape: Sequence[int]) -> Array:
    """The tiles that begin with the first pixel of ``place``, where they lie in the image."""
    o0, o1, o2, o3 = place.strides
    return as_strided(place, shape, (o1, o2, o0, q * o1, q * o2, o3))
