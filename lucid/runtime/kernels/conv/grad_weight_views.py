"""What the gradient of a weight reads and writes, block by block.

A group is a range of the channels of one of the convolution's groups, of which each has so many ``ranges``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, per_block
from . import grad_views
from .geometry import Conv


def groups_of(conv: Conv, blocks: Sequence[Block]) -> list[int]:
    """The groups of some blocks, in the order in which they come."""
    return list(dict.fromkeys(map(conv.group, blocks)))


def joined_groups(conv: Conv, work: Deal[Block]) -> list[int]:
    """The groups that several workers add to."""
    found = Counter(group for mine in work for group in groups_of(conv, mine))
    return [group for group, workers in found.items() if workers > 1]


def bind_gradients(conv: Conv, ranges: int, work: Deal[Block], dy: Array, last: bool) -> list[list[Array]]:
    """What came back from the outputs of each block: see :func:`.grad_views.bind_gradients`."""

    def outputs(block: Block) -> Block:
        first = conv.group(block) // ranges * conv.group_out
        return block._replace(c0=first, c1=first + conv.group_out)

    return grad_views.bind_gradients(per_block(outputs, work), dy, last)


class Turned(NamedTuple):
    """Memory for the pixels of a block in the shape of where they come from, that, and the memory as a matrix."""

    target: Array
    source: Array
    matrix: Array


def bind_turned(sources: Deal[Array], memory: Sequence[Array]) -> list[list[Turned]]:
    """Memory for each block of images whose outputs lie apart."""

    def turned(source: Array, own: Array) -> Turned:
        matrix = own[: source.shape[0] * source.shape[1]]
        return Turned(as_view(matrix, source.shape), source, matrix)

    return per_block(turned, sources, memory)


def turned_matrices(parts: Deal[Turned]) -> list[list[Array]]:
    """The matrix (pixels, outputs) of each block."""
    return [[part.matrix for part in mine] for mine in parts]


def bind_pixels(conv: Conv, work: Deal[Block], x: Array) -> list[list[Array]]:
    """The pixels of each block as they lie, as a matrix (pixels, channels)."""
    nhwc = x.transpose(0, 2, 3, 1)
    return per_block(lambda b: as_view(nhwc[b.images, b.rows, :, conv.read(b)], -1, conv.group_in), work)


class Share(NamedTuple):
    """What a block adds: its product, the sum that this is added to, and where that goes when it is whole."""

    products: Steps
    sums: Steps
    places: Steps


def _place(conv: Conv, ranges: int, group: int, dw: Array) -> Array:
    """The gradient of a group's weights as (outputs, kernel rows, kernel columns, channels)."""
    whole, part = divmod(group, ranges)
    outputs = dw[whole * conv.group_out : (whole + 1) * conv.group_out]
    return outputs[:, part * conv.group_in : (part + 1) * conv.group_in].transpose(0, 2, 3, 1)


def bind_shares(
    conv: Conv, ranges: int, work: Deal[Block], gradients: Deal[Array], windows: Deal[Array],
    memory: Sequence[tuple[Array, Array]], dw: Array,
) -> list[list[Share]]:  # fmt: skip
    """The share of each block, in the sums of its worker; a group that no other worker adds to goes to its place.

    The first block of a group writes the sum, the next ones add to it. Where a window is one pixel, the sum is made in
    its place.
    """
    joined = set(joined_groups(conv, work))
    found: list[list[Share]] = []
    for mine, dys, matrices, (totals, spare) in zip(work, gradients, windows, memory, strict=True):
        left, slots = Counter(map(conv.group, mine)), {g: i for i, g in enumerate(groups_of(conv, mine))}
        begun: set[int] = set()
        found.append([])
        for block, dy, matrix in zip(mine, dys, matrices, strict=True):
            group = conv.group(block)
            place, owned = _place(conv, ranges, group, dw), group not in joined
            total = place[:, 0, 0] if conv.single and owned else totals[slots[group]]
            left[group] -= 1
            done = owned and not conv.single and not left[group]
            product = spare if group in begun else total
            found[-1].append(
                Share(
                    [(dy.T, matrix, product)],
                    [(total, spare)] if group in begun else [],
                    [(place, as_view(total, place.shape))] if done else [],
                )
            )
            begun.add(group)
    return found


class Joins(NamedTuple):
    """The sums of several workers, one added to another; and where these go."""

    sums: Steps
    places: Steps


def bind_joins(conv: Conv, ranges: int, work: Deal[Block], memory: Sequence[tuple[Array, Array]], dw: Array) -> Joins:
    """What is left to do when all workers have ended: the groups that several of them have added to."""
    sums: list[tuple[Array, Array]] = []
    places: list[tuple[Array, Array]] = []
    for group in joined_groups(conv, work):
        slots = [(groups_of(conv, mine), totals) for mine, (totals, _) in zip(work, memory, strict=True)]
        first, *others = [totals[groups.index(group)] for groups, totals in slots if group in groups]
        place = _place(conv, ranges, group, dw)
        sums += [(first, other) for other in others]
        places.append((place, as_view(first, place.shape)))
    return Joins(sums, places)
