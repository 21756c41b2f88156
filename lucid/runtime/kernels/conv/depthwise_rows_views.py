"""Depthwise convolution by runs: its sizes, and the views of a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....base.structs import struct
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from .geometry import Conv

RUN = 2048
"""The preferred number of elements of a run; a few hundred already hide most of the cost of starting one."""
SHORT_RUN = 96
"""With fewer channels than this, the columns that a strided convolution reads are first copied next to each other."""


class Rows(NamedTuple):
    """Output rows that are summed at once, and the kernel rows that any of them uses."""

    first: int
    stop: int
    low: int
    high: int

    @property
    def taken(self) -> int:
        """The number of kernel rows used."""
        return (self.stop - self.first) * (self.high - self.low)

    def joined(self, other: Rows) -> Rows:
        """These rows and the ones below, as one."""
        return Rows(self.first, other.stop, min(self.low, other.low), max(self.high, other.high))


@struct(frozen=True)
class Depthwise:
    """The sizes of a depthwise convolution, and how it is computed.

    Attributes
    ----------
    conv
        The sizes of the convolution.
    columns
        Output columns in a run.
    planes
        Whether there is a copy of the input for each column tap, with the columns that it reads adjacent (strided
        convolutions).
    direct
        Whether the input is read in place, without a padded copy.
    apart
        Rows whose windows include padding are summed separately if that saves at least this many multiply-adds; None if
        the padding is not zero.
    """

    conv: Conv
    columns: int
    planes: bool
    direct: bool
    apart: float | None

    @classmethod
    def of(cls, conv: Conv, in_place: bool, apart: float | None, run: int | None = None) -> Depthwise:
        """Choose the columns of a run, for about ``run`` numbers.

        ``in_place`` says that the input is channels last, without gaps.
        """
        run = RUN if run is None else run
        strided = conv.cols.stride > 1
        planes = strided and conv.outputs < SHORT_RUN
        columns = 1 if strided and not planes else min(conv.cols.count, -(-run // conv.outputs))
        # runs of equal length
        columns = -(-conv.cols.count // -(-conv.cols.count // max(1, columns))) if conv.cols.count else 1
        direct = in_place and not planes and not conv.padded and conv.outputs == conv.channels
        return cls(conv, columns, planes, direct, apart)

    @property
    def width(self) -> int:
        """The number of columns of a padded row, or of a plane."""
        cols = self.conv.cols
        return cols.count if self.planes else cols.held(cols.count)

    def shape(self, images: int, rows: int) -> tuple[int, ...]:
        """The shape of padded memory for output rows: (images, rows, planes, columns, channels, multiplier)."""
        planes = self.conv.cols.kernel if self.planes else 1
        return images, self.conv.rows.held(rows), planes, self.width, self.conv.channels, self.conv.group_out

    def row_parts(self, images: int, r0: int, r1: int) -> list[Rows]:
        """Output rows ``r0`` to ``r1`` of all images, in parts that are summed at once."""
        rows, cols, parts = self.conv.rows, self.conv.cols, list[Rows]()
        if self.apart is None:
            return [Rows(r0, r1, 0, rows.kernel)]
        row = images * cols.count * self.conv.outputs * cols.kernel
        for number in range(r0, r1):
            seen = rows.inside(number)
            low = min(seen.low, rows.kernel - 1)  # rows that see only padding use one tap all the same
            one = Rows(number, number + 1, low, max(seen.high, low + 1))
            more = parts[-1].joined(one) if parts else one
            if parts and (more.taken - parts[-1].taken - one.taken) * row <= self.apart:
                parts[-1] = more
            else:
                parts.append(one)
        return parts

    def read(self, block: Block) -> tuple[int, int]:
        """The range of rows of a block's padded memory that is read."""
        rows, parts = self.conv.rows, self.row_parts(block.n1 - block.n0, block.r0, block.r1)
        first = min((part.first - block.r0) * rows.stride + part.low * rows.dilation for part in parts)
        return first, max((p.stop - 1 - block.r0) * rows.stride + (p.high - 1) * rows.dilation for p in parts) + 1

    def column_parts(self) -> Iterator[tuple[int, slice, slice]]:
        """For each plane: its number, its columns other than padding, and their places in the input."""
        cols = self.conv.cols
        if self.planes:
            for number in range(cols.kernel):  # including taps that see only padding
                tap = cols.tap(number)
                yield number, slice(tap.first, tap.last), cols.source(tap)
        else:
            seen = cols.seen(0, cols.count)
            yield 0, seen.places, seen.source


def bind_copies_in(d: Depthwise, work: Deal[Block], memory: Sequence[Array], x: Array) -> list[list[Steps]]:
    """For each block, the pairs (target, source) to copy; pixels whose channels are adjacent are copied whole."""
    nhwc = x.transpose(0, 2, 3, 1)[..., None]

    def copies(block: Block, own: Array) -> Steps:
        rows, images = d.conv.rows.seen(block.r0, block.r1), own[: block.n1 - block.n0]
        pairs = [
            _whole_pixels(images[:, rows.places, plane, target], nhwc[block.images, rows.source, source])
            for plane, target, source in d.column_parts()
        ]
        return [pair for pair in pairs if pair[0].size]

    return per_block(copies, work, memory)


def _whole_pixels(target: Array, source: Array) -> tuple[Array, Array]:
    """Both arrays with pixels as elements, if channels are few and adjacent in both: copying takes half the time."""
    size = target.shape[-2] * target.itemsize
    if target.shape[-1] > 1 or size > 4 * SHORT_RUN or source.strides[-2] != source.itemsize or not target.size:
        return target, source
    return target[..., 0].view(f"V{size}")[..., 0], source[..., 0].view(f"V{size}")[..., 0]


def bind_edges(d: Depthwise, work: Deal[Block], memory: Sequence[Array]) -> list[list[list[Array]]]:
    """For each block, the rows of its memory that are padding, and are read."""

    def edges(block: Block, own: Array) -> list[Array]:
        rows, images = d.conv.rows.seen(block.r0, block.r1), own[: block.n1 - block.n0]
        first, stop = d.read(block)
        found = images[:, first : rows.low], images[:, max(first, rows.high) : stop]
        return [edge for edge in found if edge.size]

    return per_block(edges, work, memory)


class Sums(NamedTuple):
    """A block's output as rows, and the windows, weights and outputs of its products."""

    out: Array
    products: Steps


def bind_sums(
    d: Depthwise, work: Deal[Block], sources: Sequence[Array], weights: Sequence[Array], places: Sequence[Array],
    turned: bool,
) -> list[list[Sums]]:  # fmt: skip
    """The products of each block.

    Parameters
    ----------
    d, work
        The convolution, and the blocks of each worker.
    sources, weights
        For each worker, its padded memory (or the input itself, if that is read in place); and the weights.
    places
        For each worker, the output or, if it is ``turned``, scratch for a channels-last block of it.
    """
    conv = d.conv

    def sums(block: Block, source: Array, packed: Array, place: Array) -> Sums:
        images = slice(0, block.n1 - block.n0)
        out = place[images, : block.r1 - block.r0] if turned else place.transpose(0, 2, 3, 1)[block.images, block.rows]
        if d.direct:
            seen = source.transpose(0, 2, 3, 1)[block.images, block.r0 * conv.rows.stride :, None]
        else:
            seen = as_view(source[images], *source[images].shape[:4], conv.outputs)
        rows = as_view(out, *out.shape[:2], conv.cols.count * conv.outputs)
        found: list[tuple[Array, ...]] = []
        for first, stop, low, high in d.row_parts(block.n1 - block.n0, block.r0, block.r1):
            first, stop = first - block.r0, stop - block.r0
            at = seen[:, first * conv.rows.stride + low * conv.rows.dilation :]
            found += _products(d, at, packed[low:high], out[:, first:stop])
        return Sums(rows, found)

    return per_block(sums, work, sources, weights, places)


def _products(d: Depthwise, source: Array, packed: Array, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """The products of runs of full length, then those of the rest of each row."""
    conv, many = d.conv, d.columns
    v, h = conv.rows, conv.cols
    s0, s1, plane, pixel, item = source.strides
    o0, o1, o2, _ = out.strides
    tap, step = (plane, pixel) if d.planes else (h.dilation * pixel, h.stride * pixel)
    full = h.count // many
    for first, number, columns in ((0, full, many), (full * many, 1, h.count - full * many)):
        if number * columns:
            size = columns * conv.outputs
            shape = (*out.shape[:2], number, len(packed), h.kernel, size)
            strides = (s0, v.stride * s1, columns * step, v.dilation * s1, tap, item)
            at = source[:, :, :, first:]  # a rest exists only with adjacent columns, or with stride 1
            target = as_strided(out[:, :, first:], (*out.shape[:2], number, size), (o0, o1, columns * o2, item))
            yield as_strided(at, shape, strides), packed[:, :, :size], target


def bind_weight_sums(
    d: Depthwise,
    work: Deal[Block],
    sources: Sequence[Array],
    totals: Sequence[Array],
    spare: Sequence[Array],
    dy: Array,
) -> list[list[Steps]]:
    """For each block: its windows, their upstream gradients, the sums to add the products to, and scratch."""
    found = bind_sums(d, work, sources, totals, (dy,) * len(totals), False)

    def steps(sums: Sums, own: Array) -> Steps:
        return [(window, part, total, as_view(own[: total.size], total.shape)) for window, total, part in sums.products]

    return per_block(steps, found, spare)


def bind_whole_rows(work: Deal[Block], array: Array) -> list[list[Array]]:
    """For each block, its part of a channels-last array, as rows of columns x channels."""
    nhwc = array.transpose(0, 2, 3, 1)
    rows = as_view(nhwc, *nhwc.shape[:2], nhwc.shape[2] * nhwc.shape[3])
    return per_block(lambda block: rows[block.images, block.rows], work)


class Turned(NamedTuple):
    """A block's part of the output, and the scratch memory in which it was computed."""

    place: Array
    value: Array


def bind_turned(work: Deal[Block], made: Sequence[Array], y: Array) -> list[list[Turned]]:
    """The copies of blocks from scratch memory of the workers to the output."""
    nhwc = y.transpose(0, 2, 3, 1)
    return per_block(
        lambda b, own: Turned(nhwc[b.images, b.rows], own[: b.n1 - b.n0, : b.r1 - b.r0]), work, made
    )  # fmt: skip
