"""Gradients of max pooling: the positions of windows' winners in memory, and the calls for each block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ....base.arrays import Array
from ....base.structs import struct
from ....graph.types import DType
from ....graph.windows import Axis
from ...program.views import as_view
from ..shared.cut import Block, per_block, pieces
from ..shared.pooling_views import Call

SHORT = np.dtype(np.uint16)
"""The type of offsets of a window's taps from its first one, if they are small enough."""
REACH = 1 << 16
"""Offsets of type ``SHORT`` must be below this, and are computed modulo this."""


@struct(frozen=True)
class Winners:
    """The positions of windows' winners among the elements of a plane, in which a pixel has ``step`` elements.

    The code of a winner is the number of its tap; a greater code stands for padding.
    """

    rows: Axis
    cols: Axis
    step: int = 1

    @property
    def windows(self) -> int:
        """The number of windows of a row, for all its channels."""
        return self.cols.count * self.step

    @property
    def line(self) -> int:
        """The number of elements of a row of the image."""
        return self.cols.size * self.step

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.cols.kernel

    @property
    def right(self) -> int:
        """The distance, in elements, of the next tap of a row."""
        return self.cols.dilation * self.step

    @property
    def down(self) -> int:
        """The additional distance of the next tap if it begins another row."""
        return self.rows.dilation * self.line - self.cols.kernel * self.right

    def offset(self, codes: DType) -> DType:
        """The type for offsets of taps that are computed from codes of this type."""
        return SHORT if self.farthest < REACH and codes.itemsize <= SHORT.itemsize else np.dtype(np.intp)

    @property
    def apart(self) -> bool:
        """Whether no two windows overlap."""
        return all(axis.extent <= axis.stride for axis in (self.rows, self.cols))

    @property
    def farthest(self) -> int:
        """The distance of a window's last tap from its first."""
        return (self.rows.extent - 1) * self.line + (self.cols.extent - 1) * self.step

    def offsets(self) -> Array:
        """For each code except that of padding, the offset of the tap from the first."""
        codes = np.arange(self.taps)
        found: Array = codes * self.right + codes // self.cols.kernel * self.down
        return found

    def corners(self, planes: int, lines: int) -> Array:
        """The positions of the first taps in ``lines`` rows of windows, in each of ``planes`` consecutive planes."""
        plane = np.arange(planes) * (self.rows.size * self.line)
        down = (np.arange(lines) * self.rows.stride - self.rows.before) * self.line
        right = (np.arange(self.cols.count) * self.cols.stride - self.cols.before) * self.step
        found: Array = np.add.outer(np.add.outer(np.add.outer(plane, down), right), np.arange(self.step))
        return found


class Room(NamedTuple):
    """A worker's scratch: the rows of winners in their windows, two terms of their offsets, and their positions."""

    rows: Array
    down: Array
    right: Array
    places: Array

    def of(self, size: int) -> Room:
        """The part of it for ``size`` windows."""
        return Room(*(x[:size] for x in self))


class Part(NamedTuple):
    """Windows whose winners are in ``image``, the elements of some planes.

    Attributes
    ----------
    image, windows, codes
        The planes; and for each of their windows, its value or gradient, and the code of its winner.
    corners
        The positions of their first taps, minus ``base``.
    """

    image: Array
    windows: Array
    codes: Array
    corners: Array
    base: int


def find(winners: Winners, part: Part, room: Room) -> tuple[Array, Array | None]:
    """The positions of the winners, and a mask of those that are not padding; None if no winner is."""
    codes, (rows, down, right, places) = part.codes, room
    np.floor_divide(codes, winners.cols.kernel, out=rows)
    np.copyto(down, rows)
    next_row, next_tap = winners.down, winners.right
    if down.dtype == SHORT:  # the terms may be out of range, though their sums are not: compute modulo REACH
        next_row, next_tap = next_row % REACH, next_tap % REACH
    np.multiply(down, next_row, out=down)
    np.copyto(right, codes)
    np.multiply(right, next_tap, out=right)
    np.add(down, right, out=down)
    np.copyto(places, down)
    np.add(places, part.corners, out=places)
    if part.base:
        np.add(places, part.base, out=places)
    return places, codes < winners.taps if codes.max() >= winners.taps else None


def scatter(winners: Winners, part: Part, room: Room) -> None:
    """Add each window's number to the element that has won."""
    (places, real), shares = find(winners, part, room), part.windows
    if real is not None:
        np.add.at(part.image, places[real], shares[real])
    elif winners.apart:
        part.image[places] = shares
    else:
        np.add.at(part.image, places, shares)


def gather(winners: Winners, part: Part, room: Room) -> None:
    """Take the winner of each window; 0 for padding."""
    places, real = find(winners, part, room)
    np.take(part.image, places, out=part.windows, mode="clip")
    if real is not None:
        np.copyto(part.windows, 0, where=~real)


def bind_grad(
    winners: Winners, lines: int, work: Sequence[Sequence[Block]], dx: Array, dy: Array, index: Array, corners: Array,
    room: Sequence[Sequence[Array]],
) -> list[list[list[Call]]]:  # fmt: skip
    """The calls for each block of each worker."""

    def calls(block: Block, memory: Room) -> list[Call]:
        parts = list(_parts(winners, lines, block, (dx, dy, index), corners))
        clear: Call = partial(parts[0].image.fill, 0)
        return [clear, *(partial(scatter, winners, part, memory.of(part.codes.size)) for part in parts)]

    return per_block(calls, work, [Room(*memory) for memory in room])


def bind_gather(
    winners: Winners, lines: int, work: Sequence[Sequence[Block]], x: Array, y: Array, index: Array, corners: Array,
    room: Sequence[Sequence[Array]],
) -> list[list[list[Call]]]:  # fmt: skip
    """The calls for each block of each worker that take winners (:func:`gather`)."""

    def calls(block: Block, memory: Room) -> list[Call]:
        parts = _parts(winners, lines, block, (x, y, index), corners)
        return [partial(gather, winners, part, memory.of(part.codes.size)) for part in parts]

    return per_block(calls, work, [Room(*memory) for memory in room])


def _parts(
    winners: Winners, lines: int, block: Block, arrays: tuple[Array, Array, Array], corners: Array
) -> Iterator[Part]:
    """A block's windows: all at once or, for a single plane, ``lines`` rows at a time."""
    image, windows, codes = (_planes(x, winners.step)[block.images] for x in arrays)
    for a, b in pieces(winners.rows.count, lines):
        taken = windows[:, a:b], codes[:, a:b], corners[: len(image), : b - a]
        these, who, first = (as_view(x, -1) for x in taken)
        yield Part(as_view(image, -1), these, who, first, a * winners.rows.stride * winners.line)


def _planes(x: Array, step: int) -> Array:
    """An array as (planes, rows, columns, innermost channels)."""
    return x.transpose(0, 2, 3, 1) if step > 1 else as_view(x, x.shape[0] * x.shape[1], *x.shape[2:], 1)
