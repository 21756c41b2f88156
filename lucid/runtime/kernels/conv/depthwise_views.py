"""Views for depthwise convolutions and their gradients, block by block and tap by tap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from .geometry import Conv


class TapViews(NamedTuple):
    """A block's output; and for each tap the input, the weight, the product, and the output it is added to."""

    out: Array
    taps: Steps


class GradientTap(NamedTuple):
    """A tap's number; and, for windows in which it is in the image: image, gradient and product."""

    number: Any
    image: Any
    gradient: Any
    product: Any


def _five(conv: Conv, array: Array, last: bool) -> Array:
    """An array of the output's shape, viewed as (images, rows, columns, channels, multiplier)."""
    nhwc = array if last else array.transpose(0, 2, 3, 1)
    return as_view(nhwc, *nhwc.shape[:3], conv.channels, conv.group_out)


def bind_taps(
    conv: Conv, work: Deal[Block], memory: Sequence[Array], x: Array, y: Array, packed: Array, last: bool
) -> list[list[TapViews]]:
    """The taps of each block; ``last`` says whether the memory for products is channels last."""
    x5, y5 = x.transpose(0, 2, 3, 1)[..., None], _five(conv, y, False)

    def taps(block: Block, own: Array) -> TapViews:
        target, r0 = y5[block.images, block.rows], block.r0
        product = _five(conv, own, last)[: block.n1 - block.n0, : block.r1 - r0]
        found = []
        for i, down in conv.rows.taps(r0, block.r1).items():
            for j, right in conv.cols.taps().items():
                source = x5[block.images, conv.rows.source(down), conv.cols.source(right)]
                at = (slice(None), slice(down.first - r0, down.last - r0), slice(right.first, right.last))
                weight = packed[i * conv.cols.kernel + j]
                weight = weight if len(weight) == 1 else weight[right.first : right.last]
                found.append((source, weight, product[at], target[at]))
        return TapViews(target, found)

    return per_block(taps, work, memory)


def bind_images(work: Deal[Block], x: Array) -> list[list[Array]]:
    """The images of each block."""
    return per_block(lambda block: x[block.images], work)


def bind_gradient(
    conv: Conv, work: Deal[Block], memory: Sequence[Array], x: Array, dy: Array, last: bool
) -> list[list[list[GradientTap]]]:
    """The taps of each block of images."""
    x5, dy5 = x.transpose(0, 2, 3, 1)[..., None], _five(conv, dy, False)

    def taps(block: Block, own: Array) -> list[GradientTap]:
        product, found = _five(conv, own, last)[: block.n1 - block.n0], []
        for i, down in conv.rows.taps().items():
            for j, right in conv.cols.taps().items():
                at = (slice(None), slice(down.first, down.last), slice(right.first, right.last))
                image = x5[block.images, conv.rows.source(down), conv.cols.source(right)]
                found.append(GradientTap(i * conv.cols.kernel + j, image, dy5[block.images][at], product[at]))
        return found

    return per_block(taps, work, memory)
