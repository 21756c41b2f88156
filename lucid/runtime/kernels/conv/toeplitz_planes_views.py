"""Views for the transposed block-Toeplitz product, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from numpy.lib.stride_tricks import as_strided

from ....base.arrays import Array
from ....graph.windows import Axis, Real, real
from ...program.views import as_view
from ..shared.cut import Block, Deal, Steps, of_each, per_block
from ..shared.halving_views import halving
from .toeplitz_views import Toeplitz, Windows


def phases(patches: Axis) -> int:
    """The number of parts of the pixels along one axis, without those that no patch reads."""
    return min(patches.stride, patches.kernel)


def length(patches: Axis, tiles: int) -> int:
    """The number of pixels of each part under ``tiles`` tiles."""
    return tiles + (patches.kernel - 1) // patches.stride


def parts_of(patches: Axis, first: int, last: int) -> list[Real]:
    """For each part, those of its pixels under tiles ``first`` to ``last`` that are in the input."""
    start, count = patches.start(first), length(patches, last - first)
    return [real(start + phase, count, patches.size, patches.stride) for phase in range(phases(patches))]


def run_of(t: Toeplitz, b: Block) -> tuple[int, int]:
    """The distance of rows of tiles in a plane of one image, and the length of the plane."""
    right = t.cols.patches.count
    pitch = right if t.last else length(t.cols.patches, right)
    return pitch, (b.r1 - b.r0 - 1) * pitch + right


def columns_of(t: Toeplitz, b: Block) -> int:
    """The number of columns of a block's window matrix."""
    return (b.n1 - b.n0) * run_of(t, b)[1]


def parts_shape(t: Toeplitz, images: int, rows: int) -> tuple[int, ...]:
    """The shape of the parts: (image, channel, row phase, column phase, row, column)."""
    down, right = t.rows.patches, t.cols.patches
    return images, t.channels, phases(down), phases(right), length(down, rows), length(right, right.count)


# ---------------------------------------------------------------- patches


class Gathering(NamedTuple):
    """Copies ``target[...] = value`` that gather a block's window matrix from its parts, and that matrix."""

    copies: Steps
    matrix: Array


def _parted(t: Toeplitz, b: Block, memory: Array) -> Array:
    shape = parts_shape(t, b.n1 - b.n0, b.r1 - b.r0)
    return as_view(memory[: math.prod(shape)], shape)


def bind_parts(
    t: Toeplitz, work: Deal[Block], memory: Sequence[Array], x: Array
) -> list[list[list[tuple[Array, Array]]]]:
    """For each block, the copies ``target[...] = value`` that split its pixels into parts."""
    cols = parts_of(t.cols.patches, 0, t.cols.patches.count)

    def parting(b: Block, own: Array) -> list[tuple[Array, Array]]:
        return list(_parting(_parted(t, b, own), x[b.images], parts_of(t.rows.patches, b.r0, b.r1), cols))

    return per_block(parting, work, memory)


def _together(parts: Sequence[Real]) -> bool:
    """Whether the pixels of the image are at the same places in all parts, which are then copied together."""
    return all(part.places == parts[0].places for part in parts)


def _parting(parted: Array, images: Array, rows: Sequence[Real], cols: Sequence[Real]) -> Iterator[tuple[Array, Array]]:
    if _together(rows) and _together(cols):
        target = parted[..., rows[0].places, cols[0].places]
        value = images[:, :, rows[0].source, cols[0].source]
        n, c, r, q = value.strides
        yield target, as_strided(value, target.shape, (n, c, *images.strides[2:], r, q))
        return
    for (a, down), (b, right) in product(enumerate(rows), enumerate(cols)):
        value = images[:, :, down.source, right.source]
        if value.size:
            yield parted[:, :, a, b, down.places, right.places], value


class Group(NamedTuple):
    """Some of a patch's pixels along one axis: the first, its place in its part, the rounds, and phases of each."""

    first: int
    place: int
    rounds: int
    phases: int


def groups_of(patches: Axis) -> list[Group]:
    """The groups of a patch's pixels: whole rounds of all phases, and the rest."""
    rounds, rest = divmod(patches.kernel, patches.stride)
    found = [Group(0, 0, rounds, patches.stride)] if rounds else []
    return [*found, Group(rounds * patches.stride, rounds, 1, rest)] if rest else found


def bind_gathering(t: Toeplitz, work: Deal[Block], memory: Sequence[tuple[Array, Array]]) -> list[list[Gathering]]:
    """For each block, the copies that gather its window matrix (columns, depth) from its parts."""
    pairs = list(product(groups_of(t.rows.patches), groups_of(t.cols.patches)))

    def gathering(b: Block, own: tuple[Array, Array]) -> Gathering:
        parted, run, columns = _parted(t, b, own[0]), run_of(t, b)[1], columns_of(t, b)
        matrix = as_view(own[1][: t.depth * columns], t.depth, columns)
        cells = as_view(matrix, t.channels, t.rows.patches.kernel, t.cols.patches.kernel, b.n1 - b.n0, run)
        return Gathering([_gathered(parted, cells, *pair) for pair in pairs], matrix.T)

    return per_block(gathering, work, memory)


def _gathered(parted: Array, cells: Array, rows: Group, cols: Group) -> tuple[Array, Array]:
    channels, _, _, images, run = cells.shape
    down, right = (slice(g.first, g.first + g.rounds * g.phases) for g in (rows, cols))
    shape = (channels, rows.rounds, rows.phases, cols.rounds, cols.phases, images, run)
    n, c, part_r, part_q, r, q = parted.strides
    return as_view(cells[:, down, right], shape), as_strided(
        parted[..., rows.place :, cols.place :], shape, (c, r, part_r, q, part_q, n, q)
    )


# ---------------------------------------------------------------- products and results


class Planes(NamedTuple):
    """A block's product (columns, numbers of a tile), its transpose, the steps of its pooling, and the results.

    Attributes
    ----------
    steps
        The arguments of ``maximum(a, b, out=a)`` for each step.
    results
        The pooled results of a tile, each a row of columns.
    bias
        The bias of each row.
    """

    product: Array
    turned: Array
    steps: Steps
    results: Array
    bias: Array | None


def bind_right_sides(windows: Deal[Gathering | Windows]) -> list[list[Array]]:
    """The window matrix (depth, columns) of each block."""
    return of_each(lambda w: w.matrix.T, windows)


def bind_planes(t: Toeplitz, work: Deal[Block], memory: Sequence[Array], bias: Array | None) -> list[list[Planes]]:
    """The views for product and pooling of each block."""

    def planes(b: Block, own: Array) -> Planes:
        count = columns_of(t, b)
        made = as_view(own[: t.taps * t.made * count], t.taps * t.made, count)
        steps = [step[:2] for step in halving(as_view(made, t.taps, t.made, count))]
        shift = None if bias is None else bias[:, :count]
        return Planes(made.T, made, steps, made[: t.made], shift)

    return per_block(planes, work, memory)


def bind_ends(
    t: Toeplitz, work: Deal[Block], memory: Sequence[Array], least: Array | None, y: Array
) -> list[list[list[tuple[Array, Array, Array | None]]]]:
    """For each block, the triples ``target, value, least`` with which its results are copied to the output."""

    def ends(b: Block, own: Array) -> list[tuple[Array, Array, Array | None]]:
        found = _ends(t, b, own[: t.made * columns_of(t, b)], y[b.images])
        return [(to, value, of(value)) for to, value in found]

    def of(value: Array) -> Array | None:
        return None if least is None else as_view(least[: t.outputs, : value.size // t.outputs], value.shape)

    return per_block(ends, work, memory)


def _ends(t: Toeplitz, b: Block, results: Array, y: Array) -> Iterator[tuple[Array, Array]]:
    pitch, run = run_of(t, b)
    images, (down, right) = b.n1 - b.n0, (t.rows.tile, t.cols.tile)
    cells = as_view(results, down, right, t.outputs, images, run)
    step = results.itemsize
    for i, j in product(range(down), range(right)):
        rows = len(range(b.r0 * down + i, min(b.r1 * down, t.rows.count), down))
        cols = len(range(j, t.cols.count, right))
        if rows and cols:
            value = as_strided(
                cells[i, j], (t.outputs, images, rows, cols), (images * run * step, run * step, pitch * step, step)
            )
            target = y[:, :, b.r0 * down + i :: down, j::right][:, :, :rows, :cols]
            yield target.transpose(1, 0, 2, 3), value
