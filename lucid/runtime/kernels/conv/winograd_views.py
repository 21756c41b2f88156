"""Winograd convolution: its sizes, its weights, and the views of a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....base.structs import struct
from ...program.views import as_view
from ..shared.cache_lines import apart_row
from ..shared.cut import Block, Deal, Steps, bands, per_block, pieces
from ..shared.panels_views import in_ranges, small_products
from .filtering import Filter
from .tiles_views import Memory, Tiles, Transform
from .weights_views import READ_PART


@struct(frozen=True)
class Winograd:
    """The sizes of a convolution by tiles.

    Attributes
    ----------
    filter
        The filter along either axis of a tile.
    q
        The pixels of a tile after pooling, in each direction: ``m``, or half of it.
    down, right
        The numbers of tiles that cover the output.
    top, left
        Padding before the first row and column.
    biased
        Whether the last transform adds a bias, as one more line of each tile.
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
    biased: bool = False

    @property
    def m(self) -> int:
        """The output pixels of a tile in each direction."""
        return self.filter.m

    @property
    def n(self) -> int:
        """The input pixels of a tile in each direction."""
        return self.filter.products

    @property
    def lines(self) -> int:
        """The number of lines from which the last transform computes the columns of a tile."""
        return self.n + self.biased

    @property
    def inputs(self) -> Tiles:
        """How the tiles of the input are read."""
        return Tiles(self.n, self.n, self.filter.step, self.right, self.channels, self.top, self.left)


class Buffers(NamedTuple):
    """Sizes (elements) of a worker's scratch buffers: for the padded rows, and two that are used in turn."""

    slab: int
    ping: int
    pong: int


def buffer_sizes(t: Winograd, work: Sequence[Block]) -> Buffers:
    tile_rows, x = max(s.image_rows for s in work), t.inputs
    results = tile_rows * t.right * max(s.c1 - s.c0 for s in work)
    ping = max(x.by_rows(tile_rows), x.numbers(tile_rows), t.m * t.lines * results)
    return Buffers(x.slab(work), ping, max(x.gathered(tile_rows), t.n**2 * results))


class TileViews(NamedTuple):
    """The views for what follows the transform of one block; the names are those of the loop's variables."""

    products: Steps
    sums: Array
    by_lines: Array
    biases: Array
    thin: Array
    made: Array


def bind_tiles(
    t: Winograd, work: Deal[Block], memory: Sequence[Memory], transformed: Deal[Transform], packed: Array, rows: int,
    unpacked: int,
) -> list[list[TileViews]]:  # fmt: skip
    """The views of every block of every worker; ``rows`` is the number of rows of a block of products.

    ``unpacked`` as for :func:`in_ranges`.
    """
    return [
        [
            _bind_block(t, s, own, one.by_both, _panels(packed, s), rows, unpacked)
            for s, one in zip(mine, made, strict=True)
        ]
        for mine, own, made in zip(work, memory, transformed, strict=True)
    ]


def _panels(packed: Array, s: Block) -> Array:
    """The weights of a block's outputs."""
    width = packed.shape[3]
    return packed[:, s.c0 // width : s.c1 // width]


def bind_streamed(
    t: Winograd, work: Deal[Block], memory: Sequence[Memory], tiles: Deal[Block], transformed: Deal[Transform],
    made: Sequence[Array], width: int, rows: int, unpacked: int,
) -> list[list[TileViews]]:  # fmt: skip
    """:func:`bind_tiles` for workers that compute the weights of one range of outputs at a time, for all tiles.

    ``tiles`` are the blocks of which ``transformed`` holds the transformed tiles.
    """
    by_both = {
        (s.n0, s.r0): one.by_both
        for mine, found in zip(tiles, transformed, strict=True) for s, one in zip(mine, found, strict=True)
    }  # fmt: skip

    def views(s: Block, own: Memory, packed: Array) -> TileViews:
        lines = _by_channel(t, s, packed)
        panels = as_view(lines, *lines.shape[:2], -1, width).swapaxes(1, 2)
        return _bind_block(t, s, own, by_both[s.n0, s.r0], panels, rows, unpacked)

    return per_block(views, work, memory, made)


WeightStep: TypeAlias = "tuple[Steps, Array, Array]"
"""Copies, as (target, source), and both operands of a product with the transform's matrix."""


def bind_ranges(
    t: Winograd, work: Deal[Block], w: Array, memory: Sequence[tuple[Array, Array, Array]], unpacked: int
) -> list[list[list[WeightStep]]]:
    """For each block, how the weights of its range are transformed, some at a time; empty if that is done already.

    ``memory`` is that of a worker for weights as they are read, for those of one product, and for the transformed ones;
    ``unpacked`` as for :func:`in_ranges`.
    """

    def steps(mine: Sequence[Block], own: tuple[Array, Array, Array]) -> list[list[WeightStep]]:
        before = [None, *(s.c0 for s in mine)]
        return [
            [] if s.c0 == last else list(_transform_range(t, s, w, *own, unpacked))
            for s, last in zip(mine, before, strict=False)
        ]

    return [steps(*each) for each in zip(work, memory, strict=True)]


def _transform_range(
    t: Winograd, s: Block, w: Array, near: Array, taps: Array, made: Array, unpacked: int
) -> Iterator[WeightStep]:
    """The steps for one block's range of outputs.

    Where the weights of an output lie side by side, they are read in long runs first: the copy has rows that do not
    compete for the same cache sets.
    """
    weights, lines, outputs = w[s.channels].transpose(2, 3, 1, 0), _by_channel(t, s, made), s.c1 - s.c0
    each = t.filter.taps**2 * outputs
    in_runs = abs(w.strides[0]) > abs(w.strides[1])
    for start, stop in pieces(t.channels, near_channels(t, outputs) if in_runs else t.channels):
        source, copies = weights[:, :, start:stop], []
        if in_runs:
            row = apart_row((stop - start) * t.filter.taps**2, near.itemsize)
            runs = as_view(near[: outputs * row], outputs, row)[:, : (stop - start) * t.filter.taps**2]
            copied = as_view(runs, outputs, stop - start, *w.shape[2:]).transpose(2, 3, 1, 0)
            copies, source = [(copied, source)], copied
        for first, last in pieces(stop - start, taps.size // each):
            part = taps[: (last - first) * each]
            copies.append((as_view(part, *w.shape[2:], last - first, outputs), source[:, :, first:last]))
            place = as_view(lines[:, start + first : start + last], len(lines), -1)
            yield copies, *in_ranges(len(lines), as_view(part, t.filter.taps**2, -1), place, unpacked)
            copies = []


def near_channels(t: Winograd, outputs: int) -> int:
    """How many channels of a range of outputs are read at a time."""
    return min(t.channels, max(1, READ_PART // (t.filter.taps**2 * outputs)))


def _by_channel(t: Winograd, s: Block, made: Array) -> Array:
    """The memory of a block's transformed weights as (products, channels, outputs)."""
    return as_view(made[: t.n**2 * t.channels * (s.c1 - s.c0)], t.n**2, t.channels, s.c1 - s.c0)


def _bind_block(
    t: Winograd, s: Block, memory: Memory, by_both: Array, panels: Array, block_rows: int, unpacked: int
) -> TileViews:  # fmt: skip
    _, ping, pong = memory
    n, m, outputs, count = t.n, t.m, s.c1 - s.c0, s.image_rows * t.right
    product = as_view(pong[: n * n * count * outputs], n * n, count, outputs)
    lines = as_view(ping[: m * t.lines * count * outputs], m, t.lines * count * outputs)
    by_lines, biases = lines[:, : n * count * outputs], lines[:, n * count * outputs :]
    made = as_view(pong[: m * m * count * outputs], m, m, count * outputs)
    return TileViews(
        list(small_products(as_view(by_both, n * n, count, t.channels), panels, product, block_rows)),
        *in_ranges(m, as_view(product, n, n * count * outputs), by_lines, unpacked), as_view(biases, m, -1, outputs),
        *in_ranges(m, as_view(lines, m, t.lines, count * outputs), made, unpacked),
    )  # fmt: skip


Copy: TypeAlias = "tuple[Array, Array, Array | None]"
"""The part of the output, the tiles to copy to it, and the residual, if any."""


class Destinations(NamedTuple):
    """The output of a block's tiles: all pixels, the two maxima of the pooling (if any), results, and copies."""

    whole: Array
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
    whole, left = (as_view(pixels, -1, outputs) for pixels in (planes, final))
    return Destinations(whole, halves, quarters, left, list(_copies(q, s, tiles, nhwc, added)))


def _copies(q: int, s: Block, tiles: Array, nhwc: Array, added: Array | None) -> Iterator[Copy]:
    """One copy for whole tiles, and up to three for those that the border cuts; each with its residual, if any."""
    _, height, width, _ = nhwc.shape
    for (r0, r1, rows), (c0, c1, cols) in product(bands(height, q, s.r0, s.r1), bands(width, q, 0, tiles.shape[4])):
        part = tiles[:rows, :cols, :, r0 - s.r0 : r1 - s.r0, c0:c1]
        at = s.images, slice(r0 * q, None), slice(c0 * q, None)
        yield _tiled(q, nhwc[at], part.shape), part, None if added is None else _tiled(q, added[at], part.shape)


def _tiled(q: int, place: Array, shape: Sequence[int]) -> Array:
    """A view, as tiles, of the image from the first pixel of ``place`` on."""
    o0, o1, o2, o3 = place.strides
    return as_strided(place, shape, (o1, o2, o0, q * o1, q * o2, o3))
