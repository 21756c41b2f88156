"""What gradients of max pooling read and write: where taps lie in the image, and the calls for each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import product

import numpy as np

from ....base.arrays import Array
from ....graph.windows import Axis, real
from ...program.views import as_view
from ..shared.cut import Block, per_block
from ..shared.pooling_views import At, Call


@dataclass(frozen=True)
class Spread:
    """Where the taps of windows along an axis lie in the image: ``tap = stride * (window + shift) + residue``."""

    axis: Axis

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Residue and shift of each tap."""
        offsets = (i * self.axis.dilation - self.axis.before for i in range(self.axis.kernel))
        return [(offset % self.axis.stride, offset // self.axis.stride) for offset in offsets]

    @cached_property
    def low(self) -> int:
        """The least shift."""
        return -self.axis.before // self.axis.stride

    @cached_property
    def high(self) -> int:
        """The greatest shift."""
        return (self.axis.extent - 1 - self.axis.before) // self.axis.stride

    @property
    def pitch(self) -> int:
        """Room for the windows, shifted by as much as any tap asks for."""
        return self.axis.count + self.high - self.low

    def lines(self, residue: int) -> tuple[slice, slice]:
        """The elements of the image at a residue that shifted windows can reach, and those windows in their room."""
        step = self.axis.stride
        found = real(residue + self.low * step, self.pitch, self.axis.size, step)
        return found.source, found.places

    @cached_property
    def complete(self) -> bool:
        """Whether every element of the image is reached."""
        residues = {residue for residue, _ in self.places}
        reached = sum(len(range(self.axis.size)[self.lines(residue)[0]]) for residue in residues)
        return reached == self.axis.size


@dataclass(frozen=True)
class Winners:
    """Where in a plane the winner of each window lies.

    Attributes
    ----------
    corners, offsets
        Places of the windows' first taps, and those of all taps from there: one for each code but the last, padding.
    plane
        Elements of a plane.
    """

    corners: Array
    offsets: Array
    plane: int

    @classmethod
    def of(cls, rows: Axis, cols: Axis) -> Winners:
        """Those of such windows."""
        starts = ([axis.start(o) for o in range(axis.count)] for axis in (rows, cols))
        taps = (np.arange(axis.kernel) * axis.dilation for axis in (rows, cols))
        corners, offsets = (np.add.outer(np.multiply(down, cols.size), right) for down, right in (starts, taps))
        return cls(corners, offsets.ravel(), rows.size * cols.size)

    def find(self, index: Array) -> tuple[Array, Array]:
        """For an image's codes, the windows that have a winner and no padding, and the places among all planes."""
        taken = index != self.offsets.size
        planes = np.arange(len(index)).reshape(-1, 1, 1) * self.plane
        return taken, (np.take(self.offsets, index, mode="clip") + self.corners + planes)[taken]


def scatter(dx: Array, dy: Array, index: Array, winners: Winners) -> None:
    """Adds each element of ``dy`` to that of ``dx`` that has won its window."""
    whole = dx if dx.flags.c_contiguous else np.empty(dx.shape, dx.dtype)
    whole.fill(0)
    for image, share, codes in zip(whole, dy, index, strict=True):
        taken, places = winners.find(codes)
        np.add.at(as_view(image, -1), places, share[taken])
    if whole is not dx:
        np.copyto(dx, whole)


def look_up(x: Array, y: Array, index: Array, winners: Winners) -> None:
    """Takes the winner of each window; 0 for padding."""
    y.fill(0)
    for image, windows, codes in zip(x, y, index, strict=True):
        taken, places = winners.find(codes)
        windows[taken] = image.reshape(-1)[places]


def bind_grad(
    axes: tuple[Spread, Spread], work: Sequence[Sequence[Block]], last: bool, dx: Array, dy: Array, index: Array,
    room: Sequence[Sequence[Array]],
) -> list[list[list[Call]]]:  # fmt: skip
    """The calls for each block of each worker."""
    dx, dy, index = (_planes(x, last) for x in (dx, dy, index))
    complete = all(axis.complete for axis in axes)

    def calls(block: Block, sums_of: Callable[[int], _Sums]) -> list[Call]:
        sums, image = sums_of(block.n1 - block.n0), dx[block.images]
        found: list[Call] = [partial(np.copyto, sums.shares, dy[block.images])]
        found.append(partial(np.copyto, sums.codes, index[block.images]))
        if not complete:
            found.append(partial(image.fill, 0))
        for collect, at, part in sums.found:
            found += [*collect, partial(np.copyto, image[at], part)]
        return found

    return per_block(calls, work, [cache(partial(_Sums, axes, dx.shape[3], memory)) for memory in room])


def _planes(x: Array, last: bool) -> Array:
    """An array as (planes, rows, columns, innermost channels)."""
    return x.transpose(0, 2, 3, 1) if last else as_view(x, x.shape[0] * x.shape[1], *x.shape[2:], 1)


class _Sums:
    """The sums of one worker over so many planes, by where in a stride they go.

    Attributes
    ----------
    shares, codes
        Where the upstream gradient and the index of the windows go.
    found
        Calls, the elements of the image that they compute, and the result.
    """

    def __init__(self, axes: tuple[Spread, Spread], step: int, memory: Sequence[Array], planes: int) -> None:
        rows, cols = axes
        room = (planes, rows.pitch, cols.pitch, step)
        shares, codes, won, mask, taken, total = (x[: math.prod(room)] for x in memory)
        inner = (slice(None), slice(rows.axis.count), slice(cols.axis.count))
        self.shares, self.codes = as_view(shares, room)[inner], as_view(codes, room)[inner]
        bits, taken_bits = shares.view(mask.dtype), taken.view(mask.dtype)
        classes: dict[tuple[int, int], list[tuple[int, int]]] = {}
        taps = product(rows.places, cols.places)
        for number, ((down, low), (right, left)) in enumerate(taps):
            offset = ((low - rows.low) * cols.pitch + left - cols.low) * step
            classes.setdefault((down, right), []).append((number, offset))
        self.found: list[tuple[list[Call], At, Array]] = []
        for (down, right), members in classes.items():
            calls: list[Call] = []
            for number, offset in members:
                end = total.size - offset
                calls += [
                    partial(np.equal, codes, codes.dtype.type(number), won),
                    partial(np.negative, won.view(np.int8), won.view(np.int8)),
                    partial(np.copyto, mask, won.view(np.int8)),
                ]
                if number == members[0][0]:
                    calls.append(partial(total[:offset].fill, 0))
                    calls.append(partial(np.bitwise_and, bits[:end], mask[:end], total.view(mask.dtype)[offset:]))
                else:
                    calls.append(partial(np.bitwise_and, bits, mask, taken_bits))
                    calls.append(partial(np.add, total[offset:], taken[:end], total[offset:]))
            (image_rows, room_rows), (image_cols, room_cols) = rows.lines(down), cols.lines(right)
            part = as_view(total, room)[:, room_rows, room_cols]
            self.found.append((calls, (slice(None), image_rows, image_cols), part))


def bind_index_taps(
    taps: Sequence[tuple[int, At, At]], work: Sequence[Sequence[Block]], x: Array, y: Array, index: Array,
    masks: Sequence[Array],
) -> list[list[tuple[Array, list[tuple[object, ...]]]]]:  # fmt: skip
    """For each block the windows, and views for each tap."""

    def views(block: Block, mask: Array) -> tuple[Array, list[tuple[object, ...]]]:
        image, windows, codes = (array[block.images, block.channels] for array in (x, y, index))
        won = mask[: windows.shape[0], : windows.shape[1]]
        return windows, [(code, image[source], windows[at], codes[at], won[at]) for code, source, at in taps]

    return per_block(views, work, masks)
