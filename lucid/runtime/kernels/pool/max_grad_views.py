"""What gradients of max pooling read and write: where the winners lie in memory, and the calls for each block."""

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
"""What tells how far a window's taps are from its first, where that is not too far."""
REACH = 1 << 16
"""How far that is, and that of which such numbers are what is left."""


@struct(frozen=True)
class Winners:
    """Where the winners of windows lie among the numbers of a plane, ``step`` of which are a pixel's.

    A winner's code is its tap's number, and a greater one is padding's.
    """

    rows: Axis
    cols: Axis
    step: int = 1

    @property
    def windows(self) -> int:
        """How many lie side by side, with all their channels."""
        return self.cols.count * self.step

    @property
    def line(self) -> int:
        """Numbers of a row of the image."""
        return self.cols.size * self.step

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.cols.kernel

    @property
    def right(self) -> int:
        """How far the next tap of a row is."""
        return self.cols.dilation * self.step

    @property
    def down(self) -> int:
        """How much farther the next tap is where it begins another row."""
        return self.rows.dilation * self.line - self.cols.kernel * self.right

    def offset(self, codes: DType) -> DType:
        """The type of numbers that tell how far taps are from the first, made of such codes."""
        return SHORT if self.farthest < REACH and codes.itemsize <= SHORT.itemsize else np.dtype(np.intp)

    @property
    def apart(self) -> bool:
        """Whether no element of the image is seen by two windows."""
        return all(axis.extent <= axis.stride for axis in (self.rows, self.cols))

    @property
    def farthest(self) -> int:
        """How far a window's last tap is from its first."""
        return (self.rows.extent - 1) * self.line + (self.cols.extent - 1) * self.step

    def offsets(self) -> Array:
        """For each code but padding's how far the tap is from the first."""
        codes = np.arange(self.taps)
        found: Array = codes * self.right + codes // self.cols.kernel * self.down
        return found

    def corners(self, planes: int, lines: int) -> Array:
        """The places of the first taps of so many rows of windows, in each of so many planes that follow each other."""
        plane = np.arange(planes) * (self.rows.size * self.line)
        down = (np.arange(lines) * self.rows.stride - self.rows.before) * self.line
        right = (np.arange(self.cols.count) * self.cols.stride - self.cols.before) * self.step
        found: Array = np.add.outer(np.add.outer(np.add.outer(plane, down), right), np.arange(self.step))
        return found


class Room(NamedTuple):
    """A worker's memory: the rows of the winners in their windows, how far these are from the first tap, and places."""

    rows: Array
    down: Array
    right: Array
    places: Array

    def of(self, size: int) -> Room:
        """That for so many windows."""
        return Room(*(x[:size] for x in self))


class Part(NamedTuple):
    """Windows whose winners lie in ``image``, the numbers of some planes.

    Attributes
    ----------
    image, windows, codes
        The planes, and of their windows what belongs to each, and who has won.
    corners
        The places of their first taps, less ``base``.
    """

    image: Array
    windows: Array
    codes: Array
    corners: Array
    base: int


def find(winners: Winners, part: Part, room: Room) -> tuple[Array, Array | None]:
    """The places of the winners, and where these are no padding; None where none is."""
    codes, (rows, down, right, places) = part.codes, room
    np.floor_divide(codes, winners.cols.kernel, out=rows)
    np.copyto(down, rows)
    next_row, next_tap = winners.down, winners.right
    if down.dtype == SHORT:  # a step that no tap takes may be farther than all of them are
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


def spread(winners: Winners, part: Part, room: Room) -> None:
    """Adds each number of the windows to the one that has won."""
    (places, real), shares = find(winners, part, room), part.windows
    if real is not None:
        np.add.at(part.image, places[real], shares[real])
    elif winners.apart:
        part.image[places] = shares
    else:
        np.add.at(part.image, places, shares)


def gather(winners: Winners, part: Part, room: Room) -> None:
    """Takes the winner of each window; 0 for padding."""
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
        return [clear, *(partial(spread, winners, part, memory.of(part.codes.size)) for part in parts)]

    return per_block(calls, work, [Room(*memory) for memory in room])


def bind_gather(
    winners: Winners, lines: int, work: Sequence[Sequence[Block]], x: Array, y: Array, index: Array, corners: Array,
    room: Sequence[Sequence[Array]],
) -> list[list[list[Call]]]:  # fmt: skip
    """The same of the way back."""

    def calls(block: Block, memory: Room) -> list[Call]:
        parts = _parts(winners, lines, block, (x, y, index), corners)
        return [partial(gather, winners, part, memory.of(part.codes.size)) for part in parts]

    return per_block(calls, work, [Room(*memory) for memory in room])


def _parts(
    winners: Winners, lines: int, block: Block, arrays: tuple[Array, Array, Array], corners: Array
) -> Iterator[Part]:
    """A block's windows: all at once, or of a single plane so many rows at a time, which have such corners."""
    image, windows, codes = (_planes(x, winners.step)[block.images] for x in arrays)
    for a, b in pieces(winners.rows.count, lines):
        taken = windows[:, a:b], codes[:, a:b], corners[: len(image), : b - a]
        these, who, first = (as_view(x, -1) for x in taken)
        yield Part(as_view(image, -1), these, who, first, a * winners.rows.stride * winners.line)


def _planes(x: Array, step: int) -> Array:
    """An array as (planes, rows, columns, innermost channels)."""
    return x.transpose(0, 2, 3, 1) if step > 1 else as_view(x, x.shape[0] * x.shape[1], *x.shape[2:], 1)
