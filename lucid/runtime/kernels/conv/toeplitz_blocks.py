"""Blocks of tiles for the block-Toeplitz lowering: geometry, the weight matrix, and the views that a strip works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from numpy.lib.stride_tricks import as_strided

from ...program.views import as_view
from ..shared.windows import pieces


@dataclass(frozen=True)
class Side:
    """One axis of the images.

    Attributes
    ----------
    size
        Pixels of the input.
    pool
        Outputs of the convolution in a pooling window (1 without pooling).
    count
        Outputs after the pooling.
    tile
        How many of these a tile makes.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    pool: int
    count: int
    tile: int

    @property
    def tiles(self) -> int:
        return -(-self.count // self.tile)

    @property
    def step(self) -> int:
        """Input pixels from one tile to the next."""
        return self.tile * self.pool * self.stride

    @property
    def patch(self) -> int:
        """Input pixels under a tile."""
        return (self.tile * self.pool - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    def pixels(self, tiles: int) -> int:
        """Input pixels under so many tiles."""
        return (tiles - 1) * self.step + self.patch

    @property
    def inside(self) -> bool:
        """Whether no tile sees anything but the input."""
        return self.before == 0 and self.pixels(self.tiles) <= self.size

    def real(self, first: int, last: int) -> tuple[int, int, int]:
        """Of the pixels under some tiles those in the input: where they begin and end, and the first's place there."""
        start = first * self.step - self.before
        low = min(max(0, -start), self.pixels(last - first))
        high = max(low, min(self.pixels(last - first), self.size - start))
        return low, high, min(start + low, self.size)


@dataclass(frozen=True)
class Tiling:
    """The numbers of one convolution; ``last`` tells whether patches have their channels innermost."""

    images: int
    channels: int
    outputs: int
    rows: Side
    cols: Side
    last: bool

    @property
    def weights(self) -> Tiling:
        """The tiling of any images as far as the matrix of the weights depends on it."""
        rows, cols = (replace(side, size=0, before=0, count=side.tile) for side in (self.rows, self.cols))
        return replace(self, images=1, rows=rows, cols=cols)

    @property
    def patch(self) -> tuple[int, ...]:
        """Shape of a patch as it lies in the matrix."""
        r, c = self.rows.patch, self.cols.patch
        return (r, c, self.channels) if self.last else (self.channels, r, c)

    @property
    def depth(self) -> int:
        return self.channels * self.rows.patch * self.cols.patch

    @property
    def taps(self) -> int:
        return self.rows.pool * self.cols.pool

    @property
    def made(self) -> int:
        """Numbers that a tile makes."""
        return self.rows.tile * self.cols.tile * self.outputs

    @property
    def whole(self) -> bool:
        """Whether the tiles of a row, one after another, are rows of channels-last output."""
        return self.rows.tile == 1 and self.cols.count == self.cols.tiles * self.cols.tile

    @property
    def inside(self) -> bool:
        return self.rows.inside and self.cols.inside


class Strip(NamedTuple):
    """A block of work: some rows of tiles of some images."""

    n0: int
    n1: int
    r0: int
    r1: int


def strips(t: Tiling, most: int) -> list[Strip]:
    """All tiles in strips of about ``most`` tiles."""
    image = t.rows.tiles * t.cols.tiles
    if not t.images * image * t.outputs:
        return []
    if most >= image:
        return [Strip(a, b, 0, t.rows.tiles) for a, b in pieces(t.images, most // image)]
    cut = pieces(t.rows.tiles, max(1, most // t.cols.tiles))
    return [Strip(n, n + 1, a, b) for n in range(t.images) for a, b in cut]


def spread(t: Tiling, w: Any, out: Any) -> None:
    """The block-Toeplitz matrix (pixels of a patch, outputs of a tile) of the weights."""
    rows, cols = t.rows, t.cols
    out.fill(0)
    view = as_view(out, *t.patch, rows.pool, cols.pool, rows.tile, cols.tile, t.outputs)
    if not t.last:
        view = view.transpose(1, 2, 0, 3, 4, 5, 6, 7)
    taps = w.transpose(2, 3, 1, 0)
    for a, b in product(range(rows.tile * rows.pool), range(cols.tile * cols.pool)):
        seen = tuple(
            slice(i * s.stride, i * s.stride + (s.kernel - 1) * s.dilation + 1, s.dilation)
            for i, s in ((a, rows), (b, cols))
        )
        view[(*seen, slice(None), a % rows.pool, b % cols.pool, a // rows.pool, b // cols.pool)] = taps


# ---------------------------------------------------------------- views


def _images(t: Tiling, x: Any) -> Any:
    """The input with the axes of :attr:`Tiling.patch` behind that of the images."""
    return x.transpose(0, 2, 3, 1) if t.last else x


def _region(t: Tiling, rows: slice, cols: slice) -> tuple[slice, ...]:
    every = slice(None)
    return (rows, cols, every) if t.last else (every, rows, cols)


def bind_sources(t: Tiling, work: Any, x: Any) -> list[list[Any]]:
    """The part of the input that each strip copies into its padded rows."""
    images, (left, right, start) = _images(t, x), t.cols.real(0, t.cols.tiles)
    cols = slice(start, start + right - left)
    bound = []
    for mine in work:
        entries = []
        for s in map(Strip._make, mine):
            low, high, first = t.rows.real(s.r0, s.r1)
            entries.append(images[(slice(s.n0, s.n1), *_region(t, slice(first, first + high - low), cols))])
        bound.append(entries)
    return bound


def _patches(t: Tiling, s: Strip, images: Any) -> Any:
    """Patches (images, rows of tiles, tiles in a row, *patch) of images that begin with the strip's first pixel."""
    n, *strides = images.strides
    r, c = (strides[0], strides[1]) if t.last else (strides[1], strides[2])
    return as_strided(
        images,
        (s.n1 - s.n0, s.r1 - s.r0, t.cols.tiles, *t.patch),
        (n, t.rows.step * r, t.cols.step * c, *strides),
    )


def bind_direct(t: Tiling, work: Any, x: Any) -> list[list[Any]]:
    """The patches of each strip, seen in the input itself."""
    images = _images(t, x)
    return [
        [
            _patches(t, s, images[(slice(s.n0, s.n1), *_region(t, slice(s.r0 * t.rows.step, None), slice(None)))])
            for s in map(Strip._make, mine)
        ]
        for mine in work
    ]


def _padded(t: Tiling, s: Strip, memory: Any) -> Any:
    r, c = t.rows.pixels(s.r1 - s.r0), t.cols.pixels(t.cols.tiles)
    shape = (s.n1 - s.n0, r, c, t.channels) if t.last else (s.n1 - s.n0, t.channels, r, c)
    return as_view(memory[: shape[0] * r * c * t.channels], shape)


def bind_padded(t: Tiling, work: Any, memory: Any) -> list[list[Any]]:
    """For each strip: the padded rows, what of them is padding, what the input, and the patches in them."""
    every, (left, right, _) = slice(None), t.cols.real(0, t.cols.tiles)
    bound = []
    for mine, own in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            padded = _padded(t, s, own)
            low, high, _ = t.rows.real(s.r0, s.r1)
            rows = slice(low, high)
            regions = [
                (slice(0, low), every), (slice(high, None), every), (rows, slice(0, left)), (rows, slice(right, None))
            ]  # fmt: skip
            edges = [padded[(every, *_region(t, *region))] for region in regions]
            inside = padded[(every, *_region(t, rows, slice(left, right)))]
            entries.append(([e for e in edges if e.size], inside, _patches(t, s, padded)))
        bound.append(entries)
    return bound


def tiles_of(t: Tiling, s: Strip) -> int:
    return (s.n1 - s.n0) * (s.r1 - s.r0) * t.cols.tiles


def bind_matrices(t: Tiling, work: Any, memory: Any) -> list[list[Any]]:
    """For each strip: its matrix as patches and as a matrix, the product, and the steps of the pooling."""
    bound = []
    for mine, (windows, products, maxima) in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            count = tiles_of(t, s)
            matrix = as_view(windows[: count * t.depth], count, t.depth)
            shape = (s.n1 - s.n0, s.r1 - s.r0, t.cols.tiles, *t.patch)
            made = as_view(products[: count * t.taps * t.made], count, t.taps * t.made)
            entries.append((as_view(matrix, shape), matrix, made, *_pooling(t, made, maxima)))
        bound.append(entries)
    return bound


def bind_windows(t: Tiling, work: Any, memory: Any) -> list[list[Any]]:
    """As :func:`bind_matrices`, without pooling."""
    bound = []
    for mine, windows in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            matrix = as_view(windows[: tiles_of(t, s) * t.depth], tiles_of(t, s), t.depth)
            entries.append((as_view(matrix, s.n1 - s.n0, s.r1 - s.r0, t.cols.tiles, *t.patch), matrix))
        bound.append(entries)
    return bound


def _pooling(t: Tiling, made: Any, maxima: Any) -> tuple[list[Any], Any, Any]:
    """Steps ``maximum(a, b, out)`` that halve the groups of columns until two are left, and those two."""
    groups, steps = t.taps, []
    while groups > 2:
        if groups % 2:
            groups -= 1
            first, rest = made[:, : t.made], made[:, groups * t.made : (groups + 1) * t.made]
            steps.append((first, rest, first))
        else:
            groups //= 2
            width = groups * t.made
            out = as_view(maxima[: len(made) * width], len(made), width)
            steps.append((made[:, :width], made[:, width : 2 * width], out))
            made, maxima = out, maxima[len(made) * width :]
    return steps, made[:, : t.made], made[:, t.made : 2 * t.made]


def bind_results(t: Tiling, work: Any, memory: Any, bias: Any, zeros: Any) -> list[list[Any]]:
    """For each strip: its results, and for every one of them the bias and a zero."""
    return [
        [(own[:n], None if bias is None else bias[:n], zeros[:n]) for n in (tiles_of(t, Strip(*s)) for s in mine)]
        for mine, own in zip(work, memory, strict=True)
    ]


def bind_outputs(t: Tiling, work: Any, y: Any, bias: Any, zeros: Any) -> list[list[Any]]:
    """As :func:`bind_results`, where the results lie in the output as they are made."""
    nhwc, bound = y.transpose(0, 2, 3, 1), []
    for mine in work:
        entries = []
        for s in map(Strip._make, mine):
            count = tiles_of(t, s)
            out = as_view(nhwc[s.n0 : s.n1, s.r0 : s.r1], count, t.made)
            entries.append((out, None if bias is None else bias[:count], zeros[:count]))
        bound.append(entries)
    return bound


def bind_copies(t: Tiling, work: Any, memory: Any, y: Any) -> list[list[Any]]:
    """For each strip the copies ``target[...] = value`` that take its results to the output."""
    nhwc = y.transpose(0, 2, 3, 1)
    return [
        [list(_copies(t, Strip(*s), own, nhwc)) for s in mine] for mine, own in zip(work, memory, strict=True)
    ]  # fmt: skip


def _bands(side: Side, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Runs of tiles and how many outputs of each are wanted: the whole ones, and the one that the border cuts."""
    whole = min(last, side.count // side.tile)
    if whole > first:
        yield first, whole, side.tile
    if last > whole:
        yield whole, last, side.count - whole * side.tile


def _copies(t: Tiling, s: Strip, results: Any, nhwc: Any) -> Iterator[tuple[Any, Any]]:
    count, images = tiles_of(t, s), s.n1 - s.n0
    tiles = as_view(results[:count], images, s.r1 - s.r0, t.cols.tiles, t.rows.tile, t.cols.tile, t.outputs)
    for (a, b, rows), (c, d, cols) in product(_bands(t.rows, s.r0, s.r1), _bands(t.cols, 0, t.cols.tiles)):
        value = tiles[:, a - s.r0 : b - s.r0, c:d, :rows, :cols].transpose(0, 1, 3, 2, 4, 5)
        top, left = a * t.rows.tile, c * t.cols.tile
        target = nhwc[s.n0 : s.n1, top : top + (b - a) * rows, left : left + (d - c) * cols]
        yield as_view(target, value.shape), value
