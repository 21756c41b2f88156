"""The sizes of a convolution and of the pooling that follows it, and what blocks of their results are made from."""

from __future__ import annotations

from functools import cached_property

from ....base.structs import struct
from ....graph.windows import Axis, Real
from ..shared.cut import Block

FEW_CHANNELS = 16
"""Up to so many channels that do not lie side by side are copied one by one."""


@struct(frozen=True)
class Conv:
    """The numbers of one convolution. ``taps`` is the length of a window of one group's channels."""

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
        """Taps of a window in each channel."""
        return self.rows.kernel * self.cols.kernel

    @cached_property
    def taps(self) -> int:
        return self.kernel * self.group_in

    @property
    def padded(self) -> bool:
        return any((self.rows.before, self.rows.after, self.cols.before, self.cols.after))

    @property
    def single(self) -> bool:
        """Whether a window is one pixel."""
        return self.kernel == 1

    @property
    def pixels(self) -> int:
        return self.images * self.rows.count * self.cols.count

    @cached_property
    def across(self) -> Real:
        """Of the columns that windows see those in the image."""
        return self.cols.seen(0, self.cols.count)

    def group(self, block: Block) -> int:
        """The group that makes a block's outputs."""
        return block.c0 // self.group_out

    def read(self, block: Block) -> slice:
        """The channels that these are made from."""
        first = self.group(block) * self.group_in
        return slice(first, first + self.group_in)


@struct(frozen=True)
class Layer:
    """A convolution with the max pooling of its result, and how that of a block is held until it is pooled.

    Attributes
    ----------
    conv
        Its columns are those that the pooling reads.
    pool
        The axes of the pooling; none where there is none.
    by_taps
        Whether the pixels of a block are held tap by tap of the pooling's windows, which then lie side by side: first
        the first ones of all windows.
    tile, pitch
        Otherwise so many rows are made at a time, and rows begin so many pixels apart.
    """

    conv: Conv
    pool: tuple[Axis, ...]
    by_taps: bool
    tile: int
    pitch: int

    @cached_property
    def taps(self) -> tuple[int, int]:
        """Pixels of a window of the pooling, each way, as far as the order of a block's pixels tells them apart."""
        return (self.pool[0].kernel, self.pool[1].kernel) if self.by_taps else (1, 1)

    def convolved(self, block: Block) -> Block:
        """The rows of the convolution that a block of the result is made from."""
        if not self.pool:
            return block
        r0, r1 = self.pool[0].span(block.r0, block.r1)
        return block._replace(r0=r0, r1=r1)

    def held(self, block: Block) -> int:
        """Pixels that are held of these."""
        inner = self.convolved(block)
        return (inner.n1 - inner.n0) * -(-(inner.r1 - inner.r0) // self.tile) * self.tile * self.pitch


def unpooled(conv: Conv) -> Layer:
    """A convolution alone."""
    return Layer(conv, (), False, 1, conv.cols.count)
