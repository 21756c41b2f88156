"""Views for gradients of convolutions, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, of_each, per_block
from .finish_views import bind_results
from .geometry import Conv


def bind_gradients(work: Deal[Block], dy: Array, last: bool) -> list[list[Array]]:
    """Each block of ``dy`` as (pixels, outputs) if it is channels last, else as (images, pixels, outputs)."""
    return of_each(lambda part: part if last else part.transpose(0, 2, 1), bind_results(work, dy, last))


def bind_weights(conv: Conv, work: Deal[Block], packed: Array) -> list[list[Array]]:
    """The weight matrix of each block's group."""
    return per_block(lambda block: packed[conv.group(block)], work)


def bind_factors(conv: Conv, work: Deal[Block], memory: Sequence[Array], last: bool) -> list[list[Array]]:
    """The window matrix of each block, with the leading axes of :func:`bind_gradients`."""

    def factor(block: Block, own: Array) -> Array:
        images = () if last else (block.n1 - block.n0,)
        return as_view(own[: block.image_rows * conv.cols.count * conv.taps], *images, -1, conv.taps)

    return per_block(factor, work, memory)


def bind_by_taps(
    conv: Conv, work: Deal[Block], made: Sequence[Array], memory: Sequence[Array]
) -> list[list[tuple[Array, Array]]]:
    """For each block, memory for its window matrix ordered by tap, and the matrix, ordered by channel, like that."""

    def turned(block: Block, own: Array, target: Array) -> tuple[Array, Array]:
        pixels = block.image_rows * conv.cols.count
        source = as_view(own[: pixels * conv.taps], pixels, conv.group_in, conv.kernel).transpose(0, 2, 1)
        return as_view(target[: pixels * conv.taps], source.shape), source

    return per_block(turned, work, made, memory)


def bind_scatter(
    conv: Conv, work: Deal[Block], memory: Sequence[Array], dx: Array
) -> list[list[list[tuple[Array, Array]]]]:
    """For each block and tap, the elements of ``dx``, and those of the window matrix to add to them."""
    nhwc, rows, cols = dx.transpose(0, 2, 3, 1), conv.rows, conv.cols

    def taps(block: Block, own: Array) -> list[tuple[Array, Array]]:
        shape = (block.n1 - block.n0, block.r1 - block.r0, cols.count, rows.kernel, cols.kernel, conv.group_in)
        windows = as_view(own[: block.image_rows * cols.count * conv.taps], shape)
        image = nhwc[block.images, :, :, conv.read(block)]
        return [
            (
                image[:, rows.source(down), cols.source(right)],
                windows[:, down.first - block.r0 : down.last - block.r0, right.first : right.last, i, j],
            )
            for (i, down), (j, right) in product(rows.taps(block.r0, block.r1).items(), cols.taps().items())
        ]

    return per_block(taps, work, memory)
