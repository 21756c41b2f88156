"""Convolution with strides as channels: its sizes, its weights, and the views of a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....base.structs import struct
from ....graph.windows import real
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from ..shared.panels_views import small_products
from .filtering import Filter, transforms
from .geometry import FEW_CHANNELS, Layer


@struct(frozen=True)
class SpaceToDepth:
    """The sizes of a convolution whose strides have become channels.

    Attributes
    ----------
    layer
        The original layer. Its rows are stored as the filter computes them, padded to a multiple of ``across`` pixels.
    filter
        The filter along the rows.
    across
        The columns of a window, and the number of matrices that contain the windows of a row.
    channels
        The channels of a pixel, strides included.
    """

    layer: Layer
    filter: Filter
    across: int
    channels: int

    @property
    def depth(self) -> int:
        """The length of a window's row."""
        return self.across * self.channels

    @property
    def row(self) -> int:
        """The length of a row of pixels."""
        return self.layer.pitch * self.channels

    def tiles(self, block: Block) -> int:
        """The number of applications of the filter for a block."""
        inner = self.layer.convolved(block)
        return -(-(inner.r1 - inner.r0) // self.filter.m)


def transform_strided_weights(f: Filter, stride: tuple[int, int], w: Array, out: Array) -> None:
    """The weights (products, panels, depth, outputs of a panel), transformed in double precision."""
    (rows, cols), (down, right) = w.shape[2:], stride
    g, across = transforms(f).weights, -(-cols // right)
    taps = np.zeros((f.taps * down, across * right, *w.shape[1::-1]))
    taps[:rows, :cols] = w.transpose(2, 3, 1, 0)
    parted = taps.reshape(f.taps, down, across, right, *taps.shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    made = (g @ parted.reshape(f.taps, -1)).reshape(len(g), out.shape[2], -1, out.shape[3])
    out[...] = made.transpose(0, 2, 1, 3)


def bind_pixels(
    d: SpaceToDepth, work: Deal[Block], memory: Sequence[Array], x: Array
) -> list[list[tuple[Sequence[Array], Steps]]]:
    """For each block, the rows to clear, and the pairs (target, source) that copy pixels of ``x`` to channels."""
    v, h, nhwc = d.layer.conv.rows, d.layer.conv.cols, x.transpose(0, 2, 3, 1)

    def pixels(block: Block, own: Array) -> tuple[Sequence[Array], Steps]:
        held, start = d.filter.held(d.tiles(block)), v.start(d.layer.convolved(block).r0)
        made = as_view(own[: held * d.row], held, d.layer.pitch, v.stride, h.stride, nhwc.shape[3])
        edges, pairs = [], []
        for down in range(v.stride):
            rows = real(start + down, held, v.size, v.stride)
            edges += [e for e in (made[: rows.low, :, down], made[rows.high :, :, down]) if e.size]
            for right in range(h.stride):
                cols = real(right - h.before, d.layer.pitch, h.size, h.stride)
                target = made[rows.places, cols.places, down, right]
                pairs += _planes(target, nhwc[block.n0, rows.source, cols.source])
        return edges, pairs

    return per_block(pixels, work, memory)


def _planes(target: Array, source: Array) -> list[tuple[Array, Array]]:
    """The pair as several copies along rows, one per channel, if channels are few and not adjacent."""
    if not target.size:
        return []
    if source.strides[-1] == source.itemsize or source.shape[-1] > FEW_CHANNELS:
        return [(target, source)]
    return [(target[..., c], source[..., c]) for c in range(source.shape[-1])]


class StridedViews(NamedTuple):
    """The views that the steps of a block work on; the names are those of the loop's variables."""

    pixels: Array
    filtered: Array
    products: Steps
    sums: Array
    made: Array


def bind_strided(
    d: SpaceToDepth, work: Deal[Block], memory: Sequence[tuple[Array, Array, Array, Array]], packed: Array, rows: int
) -> list[list[StridedViews]]:
    """The views of every block, on scratch for pixels, for both transforms of the filter, and for the results.

    ``rows`` is the number of rows of a block of products.
    """
    return per_block(lambda block, own: _views(d, d.tiles(block), own, packed, rows), work, memory)


def _views(
    d: SpaceToDepth, tiles: int, memory: tuple[Array, Array, Array, Array], packed: Array, rows: int
) -> StridedViews:
    pixels, filtered, sums, made = memory
    n, m, item = d.filter.products, d.filter.m, pixels.itemsize
    columns, outputs = d.layer.pitch, d.layer.conv.outputs
    by_rows = as_strided(pixels, (tiles, n, d.row), (m * d.row * item, d.row * item, item))
    along = as_view(filtered[: n * tiles * d.row], n, tiles, d.row)
    # windows `across` pixels apart, one row after another: those of a row's last pixels extend into the next row
    count = tiles * columns // d.across
    strides = tiles * d.row * item, d.channels * item, d.depth * item, item
    windows = as_strided(filtered, (n, d.across, count, d.depth), strides)
    product = sums[: n * tiles * columns * outputs]
    each = as_view(product, n, count, d.across, outputs).transpose(0, 2, 1, 3)
    products = list(small_products(windows, packed[:, None], each, rows))
    by_tiles = as_view(product, n, tiles, columns * outputs).transpose(1, 0, 2)
    out = as_view(as_view(made, -1)[: tiles * m * columns * outputs], tiles, m, columns * outputs)
    return StridedViews(by_rows, along.transpose(1, 0, 2), products, by_tiles, out)
