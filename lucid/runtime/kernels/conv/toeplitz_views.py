"""The block-Toeplitz product: its sizes, its weights, and the views of a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....base.structs import struct
from ....graph.windows import Axis, Window
from ...program.views import as_view
from ..shared.cut import Block, Deal, Grid, Steps, bands, of_each, per_block, row_grid
from ..shared.panels_views import small_products


@struct(frozen=True)
class Side:
    """One axis of the images.

    Attributes
    ----------
    window
        The axis of the convolution.
    size
        The pixels of the input.
    pool
        The outputs of the convolution in a pooling window (1 without pooling).
    count
        The outputs after the pooling.
    tile
        How many of these a tile has.
    """

    window: Window
    size: int
    pool: int
    count: int
    tile: int

    @cached_property
    def patches(self) -> Axis:
        """The axis of the patches, as windows over the input."""
        made, w = self.tile * self.pool, self.window
        tiles = -(-self.count // self.tile)
        return Axis(w.held(made), made * w.stride, w.before, w.after, 1, self.size, tiles)

    @property
    def inside(self) -> bool:
        """Whether no patch includes padding."""
        return self.window.before == 0 and self.patches.held(self.patches.count) <= self.size


@struct(frozen=True)
class Toeplitz:
    """The sizes of a convolution by such products; ``last`` says that patches have their channels last."""

    images: int
    channels: int
    outputs: int
    rows: Side
    cols: Side
    last: bool

    @property
    def weights(self) -> Toeplitz:
        """The sizes that the weight matrix depends on, as those of a convolution: equal for images of any size."""
        rows, cols = (
            replace(side, window=replace(side.window, before=0, after=0), size=0, count=side.tile)
            for side in (self.rows, self.cols)
        )
        return replace(self, images=1, rows=rows, cols=cols)

    @property
    def patch(self) -> tuple[int, ...]:
        """The shape of a patch in the matrix."""
        r, c = self.rows.patches.kernel, self.cols.patches.kernel
        return (r, c, self.channels) if self.last else (self.channels, r, c)

    @property
    def depth(self) -> int:
        return self.channels * self.rows.patches.kernel * self.cols.patches.kernel

    @property
    def taps(self) -> int:
        return self.rows.pool * self.cols.pool

    @property
    def made(self) -> int:
        """The number of products of a tile, before pooling."""
        return self.rows.tile * self.cols.tile * self.outputs

    @property
    def whole(self) -> bool:
        """Whether the tiles of a row, one after another, are rows of channels-last output, without a copy."""
        return self.rows.tile == 1 and self.cols.count == self.cols.patches.count * self.cols.tile

    @property
    def inside(self) -> bool:
        return self.rows.inside and self.cols.inside

    @property
    def sees_all(self) -> bool:
        """Whether the tiles cover all of the input."""
        return all(axis.seen(0, axis.count).number == axis.size for axis in (self.rows.patches, self.cols.patches))

    def blocks(self, tiles: int) -> Grid:
        """All rows of tiles, in blocks of about ``tiles`` tiles."""
        rows, cols = self.rows.patches.count, self.cols.patches.count
        return row_grid(self.images, self.outputs, rows, cols, tiles * self.outputs)

    def tiles(self, b: Block) -> int:
        """The number of tiles of a block."""
        return b.image_rows * self.cols.patches.count


def spread(t: Toeplitz, w: Array, out: Array) -> None:
    """The block-Toeplitz matrix (pixels of a patch, outputs of a tile) of the weights."""
    rows, cols = t.rows, t.cols
    out.fill(0)
    view = as_view(out, *t.patch, rows.pool, cols.pool, rows.tile, cols.tile, t.outputs)
    if not t.last:
        view = view.transpose(1, 2, 0, 3, 4, 5, 6, 7)
    taps = w.transpose(2, 3, 1, 0)
    for a, b in product(range(rows.tile * rows.pool), range(cols.tile * cols.pool)):
        seen = tuple(
            slice(i * s.stride, i * s.stride + s.extent, s.dilation) for i, s in ((a, rows.window), (b, cols.window))
        )
        at: tuple[slice | int, ...] = a % rows.pool, b % cols.pool, a // rows.pool, b // cols.pool
        view[(*seen, slice(None), *at)] = taps


# ---------------------------------------------------------------- patches


class Padded(NamedTuple):
    """A block's padded rows: the parts that are padding, the part for the input, and the patches in them."""

    edges: Sequence[Array]
    inside: Array
    patches: Array


def _images(t: Toeplitz, x: Array) -> Array:
    """The input with the axes of :attr:`Toeplitz.patch` after that of the images."""
    return x.transpose(0, 2, 3, 1) if t.last else x


def _region(t: Toeplitz, rows: slice, cols: slice) -> tuple[slice, ...]:
    every = slice(None)
    return (rows, cols, every) if t.last else (every, rows, cols)


def _patches(t: Toeplitz, b: Block, images: Array) -> Array:
    """Patches (images, rows of tiles, tiles in a row, *patch) of images that begin with the block's first pixel."""
    n, *strides = images.strides
    r, c = (strides[0], strides[1]) if t.last else (strides[1], strides[2])
    rows, cols = t.rows.patches, t.cols.patches
    return as_strided(
        images, (b.n1 - b.n0, b.r1 - b.r0, cols.count, *t.patch), (n, rows.stride * r, cols.stride * c, *strides)
    )


def bind_patches(t: Toeplitz, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The patches of each block, viewed in the input itself."""
    images = _images(t, x)

    def seen(b: Block) -> Array:
        return _patches(t, b, images[(b.images, *_region(t, slice(t.rows.patches.start(b.r0), None), slice(None)))])

    return per_block(seen, work)


def bind_patch_sources(t: Toeplitz, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The part of the input that each block copies into its padded rows."""
    images, rows, cols = _images(t, x), t.rows.patches, t.cols.patches
    every = cols.seen(0, cols.count).source
    return per_block(lambda b: images[(b.images, *_region(t, rows.seen(b.r0, b.r1).source, every))], work)


def bind_padded_patches(t: Toeplitz, work: Deal[Block], memory: Sequence[Array]) -> list[list[Padded]]:
    """The padded rows of each block."""
    return per_block(lambda b, own: _padded(t, b, own), work, memory)


def _padded(t: Toeplitz, b: Block, memory: Array) -> Padded:
    every, rows, cols = slice(None), t.rows.patches, t.cols.patches
    r, c = rows.held(b.r1 - b.r0), cols.held(cols.count)
    shape = (b.n1 - b.n0, r, c, t.channels) if t.last else (b.n1 - b.n0, t.channels, r, c)
    padded = as_view(memory[: shape[0] * r * c * t.channels], shape)
    down, right = rows.seen(b.r0, b.r1), cols.seen(0, cols.count)
    regions = [
        (slice(0, down.low), every), (slice(down.high, None), every),
        (down.places, slice(0, right.low)), (down.places, slice(right.high, None)),
    ]  # fmt: skip
    edges = [padded[(every, *_region(t, *region))] for region in regions]
    inside = padded[(every, *_region(t, down.places, right.places))]
    return Padded([edge for edge in edges if edge.size], inside, _patches(t, b, padded))


# ---------------------------------------------------------------- products


class Windows(NamedTuple):
    """A block's window matrix, as patches and as a matrix."""

    cells: Array
    matrix: Array


class Pooling(NamedTuple):
    """The product, the steps ``maximum(a, b, out)`` that halve its groups of columns to two, and these two."""

    product: Array
    steps: Steps
    first: Array
    second: Array


class TileResults(NamedTuple):
    """The pooled results of tiles, and the bias of each of them."""

    out: Array
    bias: Array | None


def bind_windows(t: Toeplitz, work: Deal[Block], memory: Sequence[Array]) -> list[list[Windows]]:
    """The window matrix of each block."""

    def windows(b: Block, own: Array) -> Windows:
        matrix = as_view(own[: t.tiles(b) * t.depth], t.tiles(b), t.depth)
        return Windows(as_view(matrix, b.n1 - b.n0, b.r1 - b.r0, t.cols.patches.count, *t.patch), matrix)

    return per_block(windows, work, memory)


def bind_batches(windows: Deal[Windows], made: Deal[Any], panels: Array, rows: int) -> list[list[Steps]]:
    """The products of each block in batches; they are written to the first item of ``made`` for the block."""
    weights = panels if panels.ndim == 3 else panels[None]
    return of_each(lambda w, m: list(small_products(w.matrix, weights, m[0], rows)), windows, made)


def bind_tile_pooling(t: Toeplitz, work: Deal[Block], memory: Sequence[tuple[Array, Array]]) -> list[list[Pooling]]:
    """The pooling of each block's product, in the memory of the product and in a buffer of half its size."""
    return per_block(lambda b, own: _pooling(t, t.tiles(b), *own), work, memory)


def _pooling(t: Toeplitz, tiles: int, memory: Array, other: Array) -> Pooling:
    """The pooling steps; halves are not combined in place, since NumPy would copy one (except an odd last group)."""
    groups, steps = t.taps, []
    made = product = as_view(memory[: tiles * groups * t.made], tiles, groups * t.made)
    while groups > 2:
        groups, odd = divmod(groups, 2)
        width = groups * t.made
        if odd:
            first, last = made[:, : t.made], made[:, 2 * width : 2 * width + t.made]
            steps.append((first, last, first))
        if width == t.made:
            break
        out = as_view(other[: tiles * width], tiles, width)
        steps.append((made[:, :width], made[:, width : 2 * width], out))
        made, memory, other = out, other, memory
    return Pooling(product, steps, made[:, : t.made], made[:, t.made : 2 * t.made])


# ---------------------------------------------------------------- results


def bind_tile_results(
    t: Toeplitz, work: Deal[Block], memory: Sequence[Array], bias: Array | None
) -> list[list[TileResults]]:
    """The results of each block, in scratch memory."""
    return per_block(lambda b, own: _results(own[: t.tiles(b)], bias), work, memory)


def bind_outputs(t: Toeplitz, work: Deal[Block], y: Array, bias: Array | None) -> list[list[TileResults]]:
    """The results of each block, which are computed in the output itself."""
    nhwc = y.transpose(0, 2, 3, 1)
    return per_block(lambda b: _results(as_view(nhwc[b.images, b.rows], t.tiles(b), t.made), bias), work)


def _results(out: Array, bias: Array | None) -> TileResults:
    return TileResults(out, None if bias is None else bias[: len(out)])


def bind_moves(t: Toeplitz, work: Deal[Block], memory: Sequence[Array], y: Array) -> list[list[Steps]]:
    """For each block, the copies ``target[...] = value`` of its results to the output."""
    nhwc = y.transpose(0, 2, 3, 1)
    return per_block(lambda b, own: list(_copies(t, b, own, nhwc)), work, memory)


def _copies(t: Toeplitz, b: Block, results: Array, nhwc: Array) -> Iterator[tuple[Array, Array]]:
    right = t.cols.patches.count
    shape = (b.n1 - b.n0, b.r1 - b.r0, right, t.rows.tile, t.cols.tile, t.outputs)
    tiles = as_view(results[: t.tiles(b)], shape)
    for (r0, r1, rows), (c0, c1, cols) in product(
        bands(t.rows.count, t.rows.tile, b.r0, b.r1), bands(t.cols.count, t.cols.tile, 0, right)
    ):
        value = tiles[:, r0 - b.r0 : r1 - b.r0, c0:c1, :rows, :cols].transpose(0, 1, 3, 2, 4, 5)
        top, left = r0 * t.rows.tile, c0 * t.cols.tile
        target = nhwc[b.images, top : top + (r1 - r0) * rows, left : left + (c1 - c0) * cols]
        yield as_view(target, value.shape), value
