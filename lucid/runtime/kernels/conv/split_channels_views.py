"""Views for the workers of a convolution split by input channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from ..shared.panels_views import small_products
from .geometry import Conv, Layer, unpooled
from .im2col_views import Gather, bind_padded, bind_sources


class ChannelShare(NamedTuple):
    """A range of input channels: the first, and the one after the last."""

    c0: int
    c1: int

    @property
    def channels(self) -> int:
        return self.c1 - self.c0


def _alone(conv: Conv, share: ChannelShare) -> tuple[Layer, list[list[Block]]]:
    """The convolution of a share's channels, and a single block of all its output."""
    whole = Block(0, conv.images, 0, conv.rows.count, 0, conv.outputs)
    return unpooled(replace(conv, channels=share.channels)), [[whole]]


def bind_share_windows(
    conv: Conv, work: Deal[ChannelShare], memory: Sequence[Array], images: Sequence[Array]
) -> list[list[Gather]]:
    """The views with which each share gathers its windows."""
    height, width = conv.rows.held(conv.rows.count), conv.cols.held(conv.cols.count)
    real = conv.across

    def gather(share: ChannelShare, own: Array, image: Array) -> Gather:
        shape = conv.images, height, width, share.channels
        padded = as_view(image[: math.prod(shape)], shape)
        found = bind_padded(*_alone(conv, share), [own], [padded], False)[0][0]
        sides = padded[:, :, : real.low], padded[:, :, real.high :]
        return found._replace(edges=[*found.edges, *(side for side in sides if side.size)])

    return per_block(gather, work, memory, images)


def bind_channels(conv: Conv, work: Deal[ChannelShare], x: Array) -> list[list[Array]]:
    """The part of the input that each share reads."""
    return per_block(lambda share: bind_sources(*_alone(conv, share), x[:, share.c0 : share.c1])[0][0], work)


def bind_partial(
    gathered: Deal[Gather], packed: Sequence[Array], sums: Sequence[Array], rows: int
) -> list[list[Steps]]:
    """The products of each share: ``rows`` pixels at a time with the panels of its weights."""
    return per_block(lambda g, w, out: list(small_products(g.matrix, w[0], out, rows)), gathered, packed, sums)
