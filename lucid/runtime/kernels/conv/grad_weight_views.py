"""Views for the gradient of a weight, block by block.

A group here is a range of the channels of one of the convolution's groups, each of which has ``ranges`` ranges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from . import grad_views
from .geometry import Conv
from .im2col_views import Turned


def groups_of(conv: Conv, blocks: Sequence[Block]) -> list[int]:
    """The groups of some blocks, without duplicates, in order."""
    return list(dict.fromkeys(map(conv.group, blocks)))


def joined_groups(conv: Conv, work: Deal[Block]) -> list[int]:
    """The groups that several workers share."""
    found = Counter(group for mine in work for group in groups_of(conv, mine))
    return [group for group, workers in found.items() if workers > 1]


def parts_of(conv: Conv, ranges: int, group: int) -> tuple[slice, slice]:
    """The outputs of a group, and its range of the channels of their weights."""
    whole, part = divmod(group, ranges)
    outputs, channels = whole * conv.group_out, part * conv.group_in
    return slice(outputs, outputs + conv.group_out), slice(channels, channels + conv.group_in)


def bind_gradients(conv: Conv, ranges: int, work: Deal[Block], dy: Array, last: bool) -> list[list[Array]]:
    """The upstream gradient of each block: see :func:`.grad_views.bind_gradients`."""

    def outputs(block: Block) -> Block:
        channels, _ = parts_of(conv, ranges, conv.group(block))
        return block._replace(c0=channels.start, c1=channels.stop)

    return grad_views.bind_gradients(per_block(outputs, work), dy, last)


def bind_turned(sources: Deal[Array], memory: Sequence[Array]) -> list[list[Turned]]:
    """For each block of images that are not channels last, scratch for the transposed gradient."""

    def turned(source: Array, own: Array) -> Turned:
        matrix = own[: source.shape[0] * source.shape[1]]
        return Turned(as_view(matrix, source.shape), source, matrix)

    return per_block(turned, sources, memory)


def bind_pixels(conv: Conv, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The pixels of each block, viewed in place as a matrix (pixels, channels)."""
    nhwc = x.transpose(0, 2, 3, 1)
    return per_block(lambda b: as_view(nhwc[b.images, b.rows, :, conv.read(b)], -1, conv.group_in), work)


class Share(NamedTuple):
    """What a block contributes: its product, the sum to add it to, and the place of the complete sum."""

    products: Steps
    sums: Steps
    places: Steps


def shares_of(
    conv: Conv,
    work: Deal[Block],
    factors: Deal[tuple[Array, Array]],
    spare: Sequence[Array],
    total: Callable[[int, int], Array],
    places: Callable[[int, int], Steps],
) -> list[list[Share]]:
    """The share of each block. The first block of a group writes the sum, the next ones add to it.

    Parameters
    ----------
    conv, work
        The convolution, and the blocks of each worker.
    factors
        The matrices that each block multiplies.
    spare
        Scratch of each worker for a product that is added to a sum.
    total, places
        Functions that return the sum of a worker's group, and the place of the complete sum.
    """
    found: list[list[Share]] = []
    for worker, (mine, pairs) in enumerate(zip(work, factors, strict=True)):
        left, begun = Counter(map(conv.group, mine)), set[int]()
        found.append([])
        for group, (a, b) in zip(map(conv.group, mine), pairs, strict=True):
            own, more = total(worker, group), group in begun
            left[group] -= 1
            product = spare[worker] if more else own
            steps = [(a, b, product)], [(own, product)] if more else [], [] if left[group] else places(worker, group)
            found[-1].append(Share(*steps))
            begun.add(group)
    return found


class Joins(NamedTuple):
    """Pairs of sums of several workers, one to be added to the other; and the places of the complete sums."""

    sums: Steps
    places: Steps


def joins_of(conv: Conv, work: Deal[Block], total: Callable[[int, int], Array], place: Callable[[int], Array]) -> Joins:
    """What remains to be done after all workers have finished: the groups that several of them share."""
    sums: list[tuple[Array, Array]] = []
    places: list[tuple[Array, Array]] = []
    for group in joined_groups(conv, work):
        workers = [worker for worker, mine in enumerate(work) if group in groups_of(conv, mine)]
        first, *others = (total(worker, group) for worker in workers)
        sums += [(first, other) for other in others]
        places.append((place(group), first))
    return Joins(sums, places)


# ---------------------------------------------------------------- by windows


def _place(conv: Conv, ranges: int, in_place: bool, group: int, dw: Array) -> Array:
    """The gradient of a group's weights as (outputs, taps), or as (outputs, kernel rows, kernel columns, channels)."""
    outputs, channels = parts_of(conv, ranges, group)
    own = dw[outputs, channels]
    return as_view(own, conv.group_out, conv.taps) if in_place else own.transpose(0, 2, 3, 1)


def _total(conv: Conv, work: Deal[Block], totals: Sequence[Array], in_place: bool, worker: int, group: int) -> Array:
    """A worker's sum of a group, in the shape of :func:`_place`."""
    own = totals[worker][groups_of(conv, work[worker]).index(group)]
    return own if in_place else as_view(own, conv.group_out, conv.rows.kernel, conv.cols.kernel, conv.group_in)


def bind_shares(
    conv: Conv, ranges: int, in_place: bool, work: Deal[Block], gradients: Deal[Array], windows: Deal[Array],
    totals: Sequence[Array], spare: Sequence[Array], dw: Array,
) -> list[list[Share]]:  # fmt: skip
    """The share of each block; ``in_place`` says that sums have the order of the weights, and are computed there."""
    joined = set(joined_groups(conv, work))

    def total(worker: int, group: int) -> Array:
        if in_place and group not in joined:
            return _place(conv, ranges, in_place, group, dw)
        return as_view(_total(conv, work, totals, in_place, worker, group), conv.group_out, conv.taps)

    def places(worker: int, group: int) -> Steps:
        if in_place or group in joined:
            return []
        return [(_place(conv, ranges, in_place, group, dw), _total(conv, work, totals, in_place, worker, group))]

    factors = [[(dy.T, x) for dy, x in zip(*mine, strict=True)] for mine in zip(gradients, windows, strict=True)]
    return shares_of(conv, work, factors, spare, total, places)


def bind_joins(conv: Conv, ranges: int, in_place: bool, work: Deal[Block], totals: Sequence[Array], dw: Array) -> Joins:
    """What remains to be done after all workers have finished."""
    return joins_of(
        conv, work, partial(_total, conv, work, totals, in_place), partial(_place, conv, ranges, in_place, dw=dw)
    )
