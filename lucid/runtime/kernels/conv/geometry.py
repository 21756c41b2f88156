"""The sizes of a convolution and of the pooling that follows it, and what blocks of their results are computed from."""

from __future__ import annotations

from functools import cached_property

from ....base.structs import struct
from ....graph.windows import Axis, Real
from ..shared.cut import Block

FEW_CHANNELS = 16
"""Channels that are not adjacent in memory are copied one by one if there are at most this many."""


@struct(frozen=True)
class Conv:
    """The sizes of a convolution. ``taps`` is the length of a window over one group's channels."""

    images: int
    channels: int
    outputs: int
    groups: int
    rows: Axis
    cols: Axis

    @cached_property
    def group_in(self) -> int:
        return self.channels // self.groups

    @cached_property
    def group_out(self) -> int:
        return self.outputs // self.groups

    @property
    def kernel(self) -> int:
        """The number of taps of a window in each channel."""
        return self.rows.kernel * self.cols.kernel

    @cached_property
    def taps(self) -> int:
        return self.kernel * self.group_in

    @property
    def padded(self) -> bool:
        return any((self.rows.before, self.rows.after, self.cols.before, self.cols.after))

    @property
    def single(self) -> bool:
        """Whether a window is a single pixel."""
        return self.kernel == 1

    @property
    def pixels(self) -> int:
        return self.images * self.rows.count * self.cols.count

    @cached_property
    def across(self) -> Real:
        """Those columns under the windows that are in the image."""
        return self.cols.seen(0, self.cols.count)

    def group(self, block: Block) -> int:
        """The group that a block's outputs belong to."""
        return block.c0 // self.group_out

    def read(self, block: Block) -> slice:
        """The input channels of a block's group."""
        first = self.group(block) * self.group_in
        return slice(first, first + self.group_in)


@struct(frozen=True)
class Layer:
    """A convolution with max pooling of its result, and how the products of a block are arranged until they are pooled.

    Attributes
    ----------
    conv
        The convolution; its columns are those that the pooling reads.
    pool
        The axes of the pooling; empty without pooling.
    by_taps
        Whether the pixels of a block are ordered by tap of the pooling's windows, which must not overlap: first the
        first pixels of all windows.
    tile, pitch
        Otherwise, the number of rows computed at a time, and the distance of rows in pixels.
    """

    conv: Conv
    pool: tuple[Axis, ...]
    by_taps: bool
    tile: int
    pitch: int

    @cached_property
    def taps(self) -> tuple[int, int]:
        """The rows and columns of a pooling window if pixels are ordered by tap, otherwise 1 and 1."""
        return (self.pool[0].kernel, self.pool[1].kernel) if self.by_taps else (1, 1)

    def convolved(self, block: Block) -> Block:
        """The rows of the convolution that a block of the pooled result is computed from."""
        if not self.pool:
            return block
        r0, r1 = self.pool[0].span(block.r0, block.r1)
        return block._replace(r0=r0, r1=r1)

    def held(self, block: Block) -> int:
        """The number of pixels of these rows in scratch."""
        inner = self.convolved(block)
        return (inner.n1 - inner.n0) * -(-(inner.r1 - inner.r0) // self.tile) * self.tile * self.pitch


def unpooled(conv: Conv) -> Layer:
    """The layer of a convolution without pooling."""
    return Layer(conv, (), False, 1, conv.cols.count)
