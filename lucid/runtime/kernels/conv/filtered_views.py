"""What a convolution filtered along its rows reads and writes, block by block: its numbers, weights, and views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....graph.windows import Real, real
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, bands, per_block
from ..shared.panels_views import in_ranges, small_products
from .filtering import Filter
from .geometry import Conv
from .im2col_views import whole_runs


@dataclass(frozen=True)
class Filtered:
    """The numbers of a convolution by tiles of some rows each.

    Attributes
    ----------
    conv
        Its columns are gathered as they are.
    filter
        What is done along the rows.
    parts
        In how many parts of so many taps the rows of the kernel are: the last one ends in zeros.
    biased
        Whether the last transform brings in a bias, as one more line of each tile.
    """

    conv: Conv
    filter: Filter
    parts: int
    biased: bool

    @property
    def down(self) -> int:
        """Tiles that cover the rows."""
        return -(-self.conv.rows.count // self.filter.m)

    @property
    def depth(self) -> int:
        """Numbers of a window, by which there is one of each line of a tile."""
        return self.parts * self.conv.cols.kernel * self.conv.channels

    @property
    def lines(self) -> int:
        """What the rows of a tile are made from."""
        return self.filter.products + self.biased

    @property
    def width(self) -> int:
        """Columns of the padded rows."""
        return self.conv.cols.held(self.conv.cols.count)

    def held(self, down: int) -> int:
        """Padded rows under so many tiles."""
        return self.filter.held(down) + (self.parts - 1) * self.filter.taps

    def real_rows(self, s: Block) -> Real:
        """The rows of a block's padded memory that are no padding."""
        v = self.conv.rows
        return real(self.filter.m * s.r0 - v.before, self.held(s.r1 - s.r0), v.size)


class Buffers(NamedTuple):
    """Numbers of elements of a worker's memory: the padded rows, and two buffers used in turn."""

    slab: int
    ping: int
    pong: int


def buffer_sizes(t: Filtered, work: Sequence[Block]) -> Buffers:
    count, n, m = max(s.image_rows for s in work) * t.conv.cols.count, t.filter.products, t.filter.m
    slab = max((s.n1 - s.n0) * t.held(s.r1 - s.r0) for s in work) * t.width * t.conv.channels
    windows = n * count * t.depth
    return Buffers(slab, max(windows, t.lines * count * t.conv.outputs), max(windows, m * count * t.conv.outputs))


class FilteredViews(NamedTuple):
    """What the steps of a block read and write; the names are those of the loop's variables."""

    edges: Sequence[Array]
    inside: Array
    source: Array
    seen: Array
    windows: Array
    lines: Array
    by_lines: Array
    products: Steps
    biases: Array
    sums: Array
    made: Array


Memory: TypeAlias = "tuple[Array, Array, Array]"
"""That of a worker: for the padded rows, and two buffers used in turn."""


def bind_filtered(
    t: Filtered, work: Deal[Block], memory: Sequence[Memory], x: Array, packed: Array, rows: int, unpacked: int
) -> list[list[FilteredViews]]:  # fmt: skip
    """The views of every block of every worker; ``rows`` are those of a block of products.

    ``unpacked`` as for :func:`in_ranges`.
    """
    nhwc = x.transpose(0, 2, 3, 1)
    return per_block(lambda s, own: _views(t, s, own, nhwc, packed, rows, unpacked), work, memory)


def _views(
    t: Filtered, s: Block, memory: Memory, nhwc: Array, packed: Array, rows: int, unpacked: int
) -> FilteredViews:  # fmt: skip
    slab, ping, pong = memory
    (images, down), n, m = (s.n1 - s.n0, s.r1 - s.r0), t.filter.products, t.filter.m
    conv, count, height = t.conv, s.image_rows * t.conv.cols.count, t.held(s.r1 - s.r0)
    padded = as_view(slab[: images * height * t.width * conv.channels], images, height, t.width, conv.channels)
    up, across = t.real_rows(s), conv.across
    middle = padded[:, up.places]
    edges = padded[:, : up.low], padded[:, up.high :], middle[:, :, : across.low], middle[:, :, across.high :]
    size = n * count * t.depth
    s0, s1, s2, s3 = padded.strides
    h, shape = conv.cols, (n, images, down, conv.cols.count, t.parts, conv.cols.kernel, conv.channels)
    strides = (s1, s0, m * s1, h.stride * s2, t.filter.taps * s1, h.dilation * s2, s3)
    seen, windows = whole_runs(padded, as_view(ping[:size], shape), strides)
    outputs = conv.outputs
    sums = as_view(ping[: t.lines * count * outputs], t.lines, count * outputs)
    product = as_view(sums[:n], n, count, outputs)
    return FilteredViews(
        [edge for edge in edges if edge.size], middle[:, :, across.places],
        nhwc[s.images, up.source, across.source], seen, windows,
        *in_ranges(n, as_view(ping[:size], n, -1), as_view(pong[:size], n, -1), unpacked),
        list(small_products(as_view(pong[:size], n, count, t.depth), packed, product, rows)),
        as_view(sums[n:], -1, outputs),
        *in_ranges(m, sums, as_view(pong[: m * count * outputs], m, count * outputs), unpacked),
    )  # fmt: skip


class Results(NamedTuple):
    """A block's results as a matrix, and where they go, they, and the residual there, if any."""

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
    shape = m, s.n1 - s.n0, s.r1 - s.r0, cols, outputs
    final = as_view(pong[: m * s.image_rows * cols * outputs], -1, outputs)
    return Results(final, list(_copies(m, s, as_view(final, shape), nhwc, added)))


def _copies(
    m: int, s: Block, tiles: Array, nhwc: Array, added: Array | None
) -> Iterator[tuple[Array, Array, Array | None]]:
    for r0, r1, rows in bands(nhwc.shape[1], m, s.r0, s.r1):
        part = tiles[:rows, :, r0 - s.r0 : r1 - s.r0]
        at = s.images, slice(r0 * m, None)
        yield _tiled(m, nhwc[at], part.shape), part, None if added is None else _tiled(m, added[at], part.shape)


def _tiled(m: int, place: Array, shape: Sequence[int]) -> Array:
    """The tiles that begin with the first row of ``place``, where they lie in the image."""
    o0, o1, o2, o3 = place.strides
    return as_strided(place, shape, (o1, o0, m * o1, o2, o3))
