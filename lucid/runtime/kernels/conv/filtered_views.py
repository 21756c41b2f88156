"""Convolution filtered along its rows: its sizes, weights, and the views of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....base.structs import struct
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, bands, per_block
from ..shared.panels_views import in_ranges, small_products
from .filtering import Filter
from .geometry import Conv
from .im2col_views import whole_runs


@struct(frozen=True)
class Filtered:
    """The sizes of a convolution by tiles of some rows each.

    Attributes
    ----------
    conv
        The convolution; along its columns, windows are gathered directly.
    filter
        The filter along the rows.
    parts
        The number of parts, of as many taps as the filter has, of the kernel's rows; the last ends in zeros.
    biased
        Whether the last transform adds a bias, as one more line of each tile.
    """

    conv: Conv
    filter: Filter
    parts: int
    biased: bool

    @property
    def apart(self) -> int:
        """The distance, in rows, from one row of a tile to the next; as many tiles are interleaved."""
        return self.conv.rows.dilation

    @property
    def down(self) -> int:
        """The number of consecutive (groups of interleaved) tiles that cover the rows."""
        return -(-self.conv.rows.count // (self.filter.m * self.apart))

    @property
    def depth(self) -> int:
        """The depth of a product: how many numbers of each line of a tile a window covers."""
        return self.parts * self.conv.cols.kernel * self.conv.channels

    @property
    def lines(self) -> int:
        """The number of lines from which the last transform computes the rows of a tile."""
        return self.filter.products + self.biased

    @property
    def width(self) -> int:
        """The number of columns of the padded rows."""
        return self.conv.cols.held(self.conv.cols.count)

    @property
    def direct(self) -> bool:
        """Whether windows are a plain view of the padded rows."""
        cols = self.conv.cols
        return self.apart > 1 and self.parts == 1 and cols.kernel == 1 and self.width == cols.count

    def padded(self, s: Block) -> tuple[int, ...]:
        """The shape of a block's padded rows: (images, rows of tiles, interleaved tiles, columns, channels)."""
        down, within = self.tiles(s)
        rows = self.filter.held(down) + (self.parts - 1) * self.filter.taps
        return s.n1 - s.n0, rows, within, self.width, self.conv.channels

    def tiles(self, s: Block) -> tuple[int, int]:
        """The number of consecutive tiles of a block, and of interleaved ones."""
        return (s.r1 - s.r0, 1) if self.apart == 1 else (1, s.r1 - s.r0)

    def first(self, s: Block) -> int:
        """The first row of a block."""
        after, within = divmod(s.r0, self.apart)
        return after * self.filter.m * self.apart + within


class Buffers(NamedTuple):
    """Sizes (elements) of a worker's scratch buffers: for the padded rows, and two that are used in turn."""

    slab: int
    ping: int
    pong: int


def buffer_sizes(t: Filtered, work: Sequence[Block]) -> Buffers:
    count, n, m = max(s.image_rows for s in work) * t.conv.cols.count, t.filter.products, t.filter.m
    slab, windows, outputs = max(math.prod(t.padded(s)) for s in work), n * count * t.depth, t.conv.outputs
    ping = max(0 if t.direct else windows, t.lines * count * outputs)
    return Buffers(slab, ping, max(windows, m * count * outputs))


class FilteredViews(NamedTuple):
    """The views that the steps of a block work on; the names are those of the loop's variables."""

    edges: Sequence[Array]
    copies: Steps
    seen: Array
    windows: Array
    lines: Array
    by_lines: Array
    products: Steps
    biases: Array
    sums: Array
    made: Array


Memory: TypeAlias = "tuple[Array, Array, Array]"
"""The scratch buffers of a worker: for the padded rows, and two that are used in turn."""


def bind_filtered(
    t: Filtered, work: Deal[Block], memory: Sequence[Memory], x: Array, packed: Array, rows: int, unpacked: int
) -> list[list[FilteredViews]]:  # fmt: skip
    """The views of every block of every worker; ``rows`` is the number of rows of a block of products.

    ``unpacked`` as for :func:`in_ranges`.
    """
    nhwc = x.transpose(0, 2, 3, 1)
    return per_block(lambda s, own: _views(t, s, own, nhwc, packed, rows, unpacked), work, memory)


def _views(
    t: Filtered, s: Block, memory: Memory, nhwc: Array, packed: Array, rows: int, unpacked: int
) -> FilteredViews:  # fmt: skip
    slab, ping, pong = memory
    conv, h, n, m, (down, within) = t.conv, t.conv.cols, t.filter.products, t.filter.m, t.tiles(s)
    count, size, outputs = s.image_rows * h.count, n * s.image_rows * h.count * t.depth, conv.outputs
    padded = as_view(slab[: math.prod(t.padded(s))], t.padded(s))
    edges, copies = _sources(t, s, padded, nhwc)
    seen, windows = padded, padded
    if not t.direct:
        s0, s1, s2, s3, s4 = padded.strides
        shape = n, s.n1 - s.n0, down, within, h.count, t.parts, h.kernel, conv.channels
        strides = (s1, s0, m * s1, s2, h.stride * s3, t.filter.taps * s1, h.dilation * s3, s4)
        seen, windows = whole_runs(padded, as_view(ping[:size], shape), strides)
    lines = as_view(padded if t.direct else ping[:size], n, -1)
    sums = as_view(ping[: t.lines * count * outputs], t.lines, count * outputs)
    product = as_view(sums[:n], n, count, outputs)
    return FilteredViews(
        edges, copies, seen, windows, *in_ranges(n, lines, as_view(pong[:size], n, -1), unpacked),
        list(small_products(as_view(pong[:size], n, count, t.depth), packed, product, rows)),
        as_view(sums[n:], -1, outputs),
        *in_ranges(m, sums, as_view(pong[: m * count * outputs], m, count * outputs), unpacked),
    )  # fmt: skip


def _sources(t: Filtered, s: Block, padded: Array, nhwc: Array) -> tuple[Sequence[Array], Steps]:
    """The parts of a block's padded rows to clear, and the pairs (target, source) to copy."""
    _, held, within, *_ = padded.shape
    step, size, first, across = t.apart, t.conv.rows.size, t.first(s) - t.conv.rows.before, t.conv.across
    low = min(held, max(0, -(first // step)))
    high = max(low, min(held, (size - within - first) // step + 1))
    middle, runs = padded[:, low:high], [(low, high, 0, within)]
    if within > 1:  # some rows of interleaved tiles may be padding
        places = ((row, first + row * step) for row in (*range(low), *range(high, held)))
        runs += [(row, row + 1, max(0, -place), min(within, size - place)) for row, place in places]
    copies = []
    for a, b, left, right in runs:
        target = padded[:, a:b, left : max(left, right), across.places]
        if target.size:
            source = nhwc[s.images, first + a * step + left :, across.source]
            o0, o1, o2, o3 = source.strides
            copies.append((target, as_strided(source, target.shape, (o0, step * o1, o1, o2, o3))))
    edges = padded[:, :low], padded[:, high:], middle[..., : across.low, :], middle[..., across.high :, :]
    return [edge for edge in edges if edge.size], copies


class Results(NamedTuple):
    """A block's results as a matrix, and the triples (target, results, residual or None) to copy."""

    final: Array
    copies: Sequence[tuple[Array, Array, Array | None]]


def bind_rows(
    t: Filtered, work: Deal[Block], memory: Sequence[Memory], y: Array, residual: Array | None
) -> list[list[Results]]:
    """Views of what follows the last transform."""
    nhwc, added = y.transpose(0, 2, 3, 1), None if residual is None else residual.transpose(0, 2, 3, 1)
    return per_block(lambda s, own: _results(t, s, own[2], nhwc, added), work, memory)


def _results(t: Filtered, s: Block, pong: Array, nhwc: Array, added: Array | None) -> Results:
    m, cols, outputs = t.filter.m, t.conv.cols.count, t.conv.outputs
    shape = m, s.n1 - s.n0, *t.tiles(s), cols, outputs
    final = as_view(pong[: m * s.image_rows * cols * outputs], -1, outputs)
    return Results(final, list(_copies(t, s, as_view(final, shape), nhwc, added)))


def _copies(
    t: Filtered, s: Block, tiles: Array, nhwc: Array, added: Array | None
) -> Iterator[tuple[Array, Array, Array | None]]:
    first = t.first(s)
    for rows, down, within in _bands(t, s, nhwc.shape[1]):
        part = tiles[rows, :, down, within]
        at = s.images, slice(first + (down.start * t.filter.m + rows.start) * t.apart, None)
        yield _tiled(t, nhwc[at], part.shape), part, None if added is None else _tiled(t, added[at], part.shape)


def _bands(t: Filtered, s: Block, height: int) -> Iterator[tuple[slice, slice, slice]]:
    """The rows of the result that tiles hold, in up to two parts, as the border cuts some tiles short."""
    m, (_, within), first = t.filter.m, t.tiles(s), t.first(s)
    if t.apart == 1:
        for r0, r1, rows in bands(height, m, s.r0, s.r1):
            yield slice(0, rows), slice(r0 - s.r0, r1 - s.r0), slice(0, 1)
        return
    whole = max(0, min(m, (height - within - first) // t.apart + 1))
    rest = min(within, height - first - whole * t.apart)
    if whole:
        yield slice(0, whole), slice(0, 1), slice(0, within)
    if whole < m and rest > 0:
        yield slice(whole, whole + 1), slice(0, 1), slice(0, rest)


def _tiled(t: Filtered, place: Array, shape: Sequence[int]) -> Array:
    """A view, as tiles, of the image from the first row of ``place`` on."""
    o0, o1, o2, o3 = place.strides
    return as_strided(place, shape, (t.apart * o1, o0, t.filter.m * t.apart * o1, o1, o2, o3))
