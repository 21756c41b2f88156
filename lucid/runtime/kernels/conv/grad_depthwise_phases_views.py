"""Views for the gradient of a strided depthwise convolution's input, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....base.structs import struct
from ....graph.windows import Axis
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block, pieces
from .geometry import Conv

RUN = 2048
"""The preferred number of elements of a run, as in :mod:`.depthwise_rows_views`."""


class Part(NamedTuple):
    """Every stride-th position of an axis.

    Attributes
    ----------
    first, number
        The first position, and the number of positions.
    tap, taps
        The first tap that reads them, and the number of such taps, which are a stride apart.
    start
        Where the padded gradient belongs to the last of these taps at the first position; the other positions follow.
    """

    first: int
    number: int
    tap: int
    taps: int
    start: int


@struct(frozen=True)
class Along:
    """The phases along one axis, the zeros before the gradient, and the total number of positions."""

    parts: tuple[Part, ...]
    before: int
    held: int

    @classmethod
    def of(cls, axis: Axis) -> Along:
        """The phases of an axis without dilation."""
        found = []
        for first in range(min(axis.stride, axis.size)):
            window, tap = divmod(first + axis.before, axis.stride)
            taps = len(range(tap, axis.kernel, axis.stride))
            found.append(Part(first, len(range(first, axis.size, axis.stride)), tap, taps, window - taps + 1))
        before = max(0, *(-part.start for part in found), 0)
        held = max(axis.count, *(part.start + part.number + part.taps - 1 for part in found), 0)
        return cls(tuple(part._replace(start=part.start + before) for part in found), before, before + held)


@struct(frozen=True)
class Phases:
    """The sizes of such a gradient."""

    conv: Conv
    rows: Along
    cols: Along

    @classmethod
    def of(cls, conv: Conv) -> Phases:
        return cls(conv, Along.of(conv.rows), Along.of(conv.cols))

    def runs(self, part: Part) -> list[tuple[int, int]]:
        """The columns of a phase, cut into runs."""
        return pieces(part.number, max(1, RUN // max(1, self.conv.channels)))

    @property
    def columns(self) -> int:
        """The number of columns of the longest run."""
        return max((last - first for part in self.cols.parts for first, last in self.runs(part)), default=1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image's padded gradient."""
        return self.rows.held, self.cols.held, self.conv.channels

    @property
    def most(self) -> int:
        """The number of an image's elements in the largest phase."""
        rows, cols = (max((part.number for part in along.parts), default=0) for along in (self.rows, self.cols))
        return rows * cols * self.conv.channels


class PhaseSteps(NamedTuple):
    """What to zero and to copy for a block; and for each run of a phase: windows, weights, sums, and where these go."""

    edges: Sequence[Array]
    inside: Array
    source: Array
    sums: Steps


def bind_phases(
    p: Phases, work: Deal[Block], padded: Sequence[Array], sums: Sequence[Array], packed: Array, dy: Array, dx: Array
) -> list[list[PhaseSteps]]:
    """The steps of each block of images."""
    back, image = dy.transpose(0, 2, 3, 1), dx.transpose(0, 2, 3, 1)

    def steps(block: Block, memory: Array, own: Array) -> PhaseSteps:
        held, source = memory[: block.n1 - block.n0], back[block.images]
        rows, cols = (slice(a.before, a.before + n) for a, n in zip((p.rows, p.cols), source.shape[1:3], strict=True))
        middle = held[:, rows]
        edges = held[:, : rows.start], held[:, rows.stop :], middle[:, :, : cols.start], middle[:, :, cols.stop :]
        found = [
            step for down in p.rows.parts for right in p.cols.parts
            for step in _runs(p, down, right, held, own, packed, image[block.images])
        ]  # fmt: skip
        return PhaseSteps([edge for edge in edges if edge.size], middle[:, :, cols], source, found)

    return per_block(steps, work, padded, sums)


def _runs(
    p: Phases, down: Part, right: Part, held: Array, own: Array, packed: Array, image: Array
) -> list[tuple[Array, ...]]:
    """Each run of the columns of a phase."""
    v, h, images, channels = p.conv.rows.stride, p.conv.cols.stride, len(held), p.conv.channels
    s0, s1, s2, item = held.strides
    weights = packed[down.tap :: v, right.tap :: h][::-1, ::-1]
    place = image[:, down.first :: v, right.first :: h]
    found: list[tuple[Array, ...]] = []
    for first, last in p.runs(right):
        run = (last - first) * channels
        total = as_view(own[: images * down.number * run], images, down.number, run)
        shape, strides = (images, down.number, down.taps, right.taps, run), (s0, s1, s1, s2, item)
        window = as_strided(held[:, down.start :, right.start + first :], shape, strides)
        value = as_view(total, images, down.number, last - first, channels)
        found.append((window, weights[..., :run], total, place[:, :, first:last], value))
    return found
