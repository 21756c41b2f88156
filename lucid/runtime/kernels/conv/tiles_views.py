"""Views for tiles of images, and for their transform along both axes: rows, then one gather, then columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....graph.windows import Real, real
from ...program.views import as_view
from ..shared.cut import Block, Deal, per_block
from ..shared.panels_views import in_ranges


class Tiles(NamedTuple):
    """How tiles are read and transformed.

    Attributes
    ----------
    pixels, products
        The pixels of a tile in each direction, and the transformed values in each direction.
    step
        The distance of tiles in pixels.
    right
        The number of tiles in a row.
    channels
        The channels of a pixel.
    top, left
        Padding before the first row and column.
    """

    pixels: int
    products: int
    step: int
    right: int
    channels: int
    top: int = 0
    left: int = 0

    def held(self, tiles: int) -> int:
        """The number of pixels in a row that ``tiles`` tiles cover."""
        return self.step * (tiles - 1) + self.pixels

    @property
    def width(self) -> int:
        """The number of columns of the padded rows."""
        return self.held(self.right)

    def slab(self, work: Sequence[Block]) -> int:
        """The size (elements) of the padded rows of the largest block."""
        return max((s.n1 - s.n0) * self.held(s.r1 - s.r0) for s in work) * self.width * self.channels

    def by_rows(self, tile_rows: int) -> int:
        """The number of values after the transform of rows of tiles along one axis."""
        return tile_rows * self.products * self.width * self.channels

    def numbers(self, tile_rows: int) -> int:
        """The number of values after the transform along both axes."""
        return self.products**2 * tile_rows * self.right * self.channels

    def gathered(self, tile_rows: int) -> int:
        """The number of values gathered between the two transforms."""
        return self.products * self.pixels * tile_rows * self.right * self.channels


Memory: TypeAlias = "tuple[Array, Array, Array]"
"""The scratch buffers of a worker: for the padded rows, and two that are used in turn."""


class Transform(NamedTuple):
    """The views for the transform of one block, step by step; the names are those of the loop's variables.

    ``by_both`` is the whole result.
    """

    edges: Sequence[Array]
    inside: Array
    rows: Array
    by_rows: Array
    seen: Array
    tiles: Array
    lines: Array
    by_lines: Array
    by_both: Array


def _real(t: Tiles, s: Block, size: Sequence[int]) -> tuple[Real, Real]:
    """The rows and columns of a block's padded memory that are in the image, whose size is ``size``."""
    height, width = size
    rows = real(t.step * s.r0 - t.top, t.held(s.r1 - s.r0), height)
    return rows, real(-t.left, t.width, width)


def tile_source(t: Tiles, s: Block, nhwc: Array) -> Array:
    """The part of an image (images, rows, columns, channels) that a block reads."""
    rows, cols = _real(t, s, nhwc.shape[1:3])
    return nhwc[s.images, rows.source, cols.source]


def bind_tile_sources(t: Tiles, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The part of ``x`` that each block reads."""
    nhwc = x.transpose(0, 2, 3, 1)
    return per_block(lambda s: tile_source(t, s, nhwc), work)


def bind_transforms(
    t: Tiles, work: Deal[Block], memory: Sequence[Memory], size: tuple[int, int], unpacked: int, whole: Array | None
) -> list[list[Transform]]:
    """The views of every block of every worker; ``size`` is that of an image, ``unpacked`` as for :func:`in_ranges`.

    If ``whole`` is given, results go there: (products * products, images, rows of tiles, numbers of a row of tiles).
    """
    return per_block(lambda s, own: _transform(t, s, own, size, unpacked, whole), work, memory)


def _transform(
    t: Tiles, s: Block, memory: Memory, size: tuple[int, int], unpacked: int, whole: Array | None
) -> Transform:
    slab, ping, pong = memory
    images, down = s.n1 - s.n0, s.r1 - s.r0
    n, pixels, c, count = t.products, t.pixels, t.channels, s.image_rows * t.right
    height, step = t.held(down), t.step
    padded = as_view(slab[: images * height * t.width * c], images, height, t.width, c)
    real_rows, real_cols = _real(t, s, size)
    middle = padded[:, real_rows.places]
    edges = [padded[:, : real_rows.low], padded[:, real_rows.high :]]
    edges += [middle[:, :, : real_cols.low], middle[:, :, real_cols.high :]]
    s0, s1, _, item = padded.strides
    rows = as_strided(padded, (images, down, pixels, t.width * c), (s0, step * s1, s1, item))
    by_rows = as_view(ping[: images * down * n * t.width * c], images, down, n, t.width * c)
    e0, e1, e2, item = by_rows.strides
    seen = as_strided(by_rows, (n, pixels, images, down, t.right, c), (e2, c * item, e0, e1, step * c * item, item))
    tiles = as_view(pong[: n * pixels * count * c], n, pixels, images, down, t.right, c)
    made = ping[: n * n * count * c] if whole is None else whole[:, s.images, s.rows]
    by_both = as_view(made, n, n, count * c)
    return Transform(
        [edge for edge in edges if edge.size], middle[:, :, real_cols.places], *in_ranges(n, rows, by_rows, unpacked),
        seen, tiles, *in_ranges(n, as_view(tiles, n, pixels, count * c), by_both, unpacked), by_both,
    )  # fmt: skip
