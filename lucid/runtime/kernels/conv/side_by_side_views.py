"""Views for the input gradient of windows that do not overlap, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....base.arrays import Array
from ....base.structs import struct
from ...program.views import as_view
from ..shared.cut import Deal, per_block


@struct(frozen=True)
class Spread:
    """The sizes of such a gradient.

    Attributes
    ----------
    rows, cols
        The rows of windows of all images, and the windows of a row.
    depth
        The number of outputs of a window.
    high, width
        The rows of a window, and the numbers in each: columns times channels.
    """

    rows: int
    cols: int
    depth: int
    high: int
    width: int


class Rows(NamedTuple):
    """For one row of the kernel: windows, weights, their product, that row by row, and the rows to copy it to."""

    windows: Array
    weight: Array
    product: Array
    made: Array
    place: Array


def bind_rows(
    s: Spread, work: Deal[tuple[int, int]], memory: Sequence[Array], dy: Array, packed: Array, dx: Array
) -> list[list[list[Rows]]]:
    """For each piece, the steps of all rows of the kernel."""
    seen = as_view(dy.transpose(0, 2, 3, 1), s.rows, s.cols, s.depth)
    image = as_view(dx.transpose(0, 2, 3, 1), s.rows, s.high, s.cols * s.width)

    def rows(piece: tuple[int, int], own: Array) -> list[Rows]:
        start, stop = piece
        windows = as_view(seen[start:stop], -1, s.depth)
        product = as_view(own[: len(windows) * s.width], -1, s.width)
        made = as_view(product, stop - start, -1)
        return [Rows(windows, packed[i], product, made, image[start:stop, i]) for i in range(s.high)]

    return per_block(rows, work, memory)
