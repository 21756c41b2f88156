"""Views for the pieces of a strided 1x1 convolution."""

from __future__ import annotations

from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Deal, per_block
from ..shared.rows_views import Piece


class Thinned(NamedTuple):
    """The memory to copy a piece's pixels to, and the (strided) pixels."""

    thin: Array
    source: Array


def bind_thin(
    stride: tuple[int, int], size: tuple[int, int], work: Deal[Piece], x: Array, thin: Array
) -> list[list[Thinned]]:
    """The copies of each piece, of whole rows of images; ``size`` is that of an image of the output."""
    (down, right), (rows, cols) = stride, size
    seen = x.transpose(0, 2, 3, 1)[:, : (rows - 1) * down + 1 : down, : (cols - 1) * right + 1 : right]
    image = rows * cols

    def thinned(p: Piece) -> Thinned:
        first, last = p.r0 // image, -(-p.r1 // image)
        source = seen[first:last, (p.r0 - first * image) // cols : (p.r1 - (last - 1) * image) // cols]
        return Thinned(as_view(thin[p.rows], source.shape), source)

    return per_block(thinned, work)
