"""Views for the gradient of a weight by tiles, block by block; groups are ranges of the channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from .geometry import Conv
from .grad_weight_views import Joins, Share, groups_of, joined_groups, joins_of, parts_of, shares_of
from .tiles_views import Tiles, Transform, tile_source


def bind_range_sources(t: Tiles, conv: Conv, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The part of ``x`` that each block reads: some pixels, and the block's range of channels."""
    nhwc = x.transpose(0, 2, 3, 1)
    return per_block(lambda s: tile_source(t, s, nhwc)[..., conv.read(s)], work)


def _place(conv: Conv, ranges: int, dw: Array, group: int) -> Array:
    """The gradient of the weights of a range as (outputs, channels, taps)."""
    outputs, channels = parts_of(conv, ranges, group)
    return as_view(dw, *dw.shape[:2], -1)[outputs, channels]


def _own(conv: Conv, work: Deal[Block], memory: Sequence[Array], worker: int, group: int) -> Array:
    """A worker's sums of a group."""
    own: Array = memory[worker][groups_of(conv, work[worker]).index(group)]
    return own


def bind_tile_shares(
    conv: Conv, ranges: int, work: Deal[Block], x: Deal[Transform], dy: Deal[Transform],
    memory: Sequence[tuple[Array, Array, Array]], dw: Array,
) -> list[list[Share]]:  # fmt: skip
    """The share of each block: for each place in a tile, the sum of products over all its tiles."""
    totals, spare, parts = zip(*memory, strict=True)
    joined = set(joined_groups(conv, work))

    def factors(s: Block, inputs: Transform, gradients: Transform) -> tuple[Array, Array]:
        seen, back = (
            as_view(one.by_both, -1, one.by_both.shape[-1] // channels, channels)
            for one, channels in ((inputs, conv.group_in), (gradients, conv.group_out))
        )
        return back.transpose(0, 2, 1), seen

    def places(worker: int, group: int) -> Steps:
        total, whole = _own(conv, work, totals, worker, group), ranges == 1
        place = _own(conv, work, parts, worker, group) if group in joined else _place(conv, ranges, dw, group)
        if whole:  # a single product
            return [(as_view(place, -1, place.shape[-1]), as_view(total, len(total), -1).T)]
        return [(place, total.transpose(1, 2, 0))]

    pairs = [[factors(*one) for one in zip(*mine, strict=True)] for mine in zip(work, x, dy, strict=True)]
    return shares_of(conv, work, pairs, spare, partial(_own, conv, work, totals), places)


def bind_tile_joins(conv: Conv, ranges: int, work: Deal[Block], parts: Sequence[Array], dw: Array) -> Joins:
    """What remains to be done after all workers have finished."""
    return joins_of(conv, work, partial(_own, conv, work, parts), partial(_place, conv, ranges, dw))


# ---------------------------------------------------------------- range by range


class Part(NamedTuple):
    """A range of the weights: some outputs, and some channels."""

    outputs: tuple[int, int]
    channels: tuple[int, int]

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of outputs, and of channels."""
        (o0, o1), (c0, c1) = self
        return o1 - o0, c1 - c0

    @property
    def numbers(self) -> int:
        """The number of pairs of an output and a channel."""
        outputs, channels = self.sizes
        return outputs * channels


def bind_weight_parts(
    work: Deal[Part], x: Array, dy: Array, memory: Sequence[Array], dw: Array
) -> list[list[tuple[Array, ...]]]:
    """For each range: the operands, the sums, the sums with the places of a tile as last axis, and their target."""
    taps = as_view(dw, *dw.shape[:2], -1)
    seen, back = (as_view(a, len(a), -1, count) for a, count in ((x, dw.shape[1]), (dy, dw.shape[0])))

    def part(s: Part, own: Array) -> tuple[Array, ...]:
        outputs, channels = slice(*s.outputs), slice(*s.channels)
        sums = as_view(own[:, : s.numbers], -1, *s.sizes)
        gradients = back[..., outputs].transpose(0, 2, 1)
        return gradients, seen[..., channels], sums, sums.transpose(1, 2, 0), taps[outputs, channels]

    return per_block(part, work, memory)
