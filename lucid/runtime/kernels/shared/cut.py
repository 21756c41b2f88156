"""How the work of a node is cut into blocks, and distributed to workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ....base.arrays import Array
from ....base.structs import struct

B = TypeVar("B")
T = TypeVar("T")

Deal: TypeAlias = "Sequence[Sequence[B]]"
"""The blocks of each worker, in order, or one value for each part of a single block."""

Steps: TypeAlias = "Sequence[tuple[Array, ...]]"
"""The arguments of an operation, for one call after another."""


class Block(NamedTuple):
    """A part of an output: images, rows and channels."""

    n0: int
    n1: int
    r0: int
    r1: int
    c0: int
    c1: int

    @property
    def images(self) -> slice:
        return slice(self.n0, self.n1)

    @property
    def rows(self) -> slice:
        return slice(self.r0, self.r1)

    @property
    def channels(self) -> slice:
        return slice(self.c0, self.c1)

    @property
    def image_rows(self) -> int:
        """Rows of all its images."""
        return (self.n1 - self.n0) * (self.r1 - self.r0)


Runs: TypeAlias = "tuple[int, int]"
"""So many things, in so many runs of nearly equal length."""


@struct(frozen=True)
class Grid:
    """Blocks as the product of runs of images, of rows and of channels, so that they are counted without being made."""

    images: Runs
    rows: Runs
    channels: Runs

    def __len__(self) -> int:
        return self.images[1] * self.rows[1] * self.channels[1]

    def __iter__(self) -> Iterator[Block]:
        """Range by range of the channels, image by image."""
        cuts = (evenly(*runs) for runs in (self.channels, self.images, self.rows))
        for (c0, c1), (n0, n1), (r0, r1) in product(*cuts):
            yield Block(n0, n1, r0, r1, c0, c1)

    @property
    def most(self) -> Block:
        """A block as large as the largest; an empty one if there is none."""
        runs = self.images, self.rows, self.channels
        images, rows, channels = (-(-total // max(1, count)) for total, count in runs)
        return Block(0, images, 0, rows, 0, channels)


NONE = Grid((0, 0), (0, 0), (0, 0))


def largest(blocks: Iterable[Block]) -> tuple[int, int, int]:
    """The numbers of images, channels and rows that are enough for any of the blocks."""
    images, channels, rows = zip(*((b.n1 - b.n0, b.c1 - b.c0, b.r1 - b.r0) for b in blocks), strict=True)
    return max(images), max(channels), max(rows)


def pieces(total: int, most: int) -> list[tuple[int, int]]:
    """``total`` items in runs of nearly equal length, none longer than ``most``."""
    return evenly(total, _needed(total, most))


def _needed(total: int, most: int) -> int:
    return -(-total // max(1, most))


def evenly(total: int, count: int) -> list[tuple[int, int]]:
    """``total`` items in a number of runs of nearly equal length."""
    return [(i * total // count, (i + 1) * total // count) for i in range(count)]


def even_pieces(total: int, most: int, least: int, workers: int) -> list[tuple[int, int]]:
    """The same in equally many runs for each worker, unless they then have fewer than ``least`` items each."""
    return evenly(*even_runs(total, most, least, workers))


def even_runs(total: int, most: int, least: int, workers: int) -> Runs:
    """The number of items, and of these runs of them, without making the runs."""
    count = _needed(total, most)
    even = -(-count // workers) * workers
    return total, even if even * least <= total else count


def bands(count: int, tile: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Of tiles over ``count`` things those from ``first`` to ``last``, in runs, and how many things each of a run has.

    The whole ones, and the one that the border cuts; none that lies behind it.
    """
    whole, rest = divmod(count, tile)
    if min(last, whole) > first:
        yield first, min(last, whole), tile
    if rest and first <= whole < last:
        yield whole, whole + 1, rest


def deal(blocks: Sequence[B], workers: int) -> list[list[B]]:
    """The blocks as ``workers`` runs."""
    return [list(blocks[a:b]) for a, b in pieces(len(blocks), -(-len(blocks) // workers))] if blocks else []


def image_blocks(images: int, channels: int, rows: int, per_row: int, target: int, channels_last: bool) -> list[Block]:
    """Blocks of about ``target`` bytes, if one row of one channel takes ``per_row``.

    Whole images while they fit; then rows of all channels if these are innermost in memory, else planes.
    """
    if images * channels * rows == 0:
        return []
    if channels_last or channels * rows * per_row <= target:
        return list(row_grid(images, channels, rows, per_row, target))
    cut = pieces(channels, target // (rows * per_row))
    return [Block(n, n + 1, 0, rows, a, b) for n in range(images) for a, b in cut]


def row_grid(images: int, channels: int, rows: int, per_row: int, target: int) -> Grid:
    """The same for channels that are innermost in memory."""
    if images * channels * rows == 0:
        return NONE
    line = channels * per_row
    whole = rows * line <= target
    cut = _needed(images, target // max(1, rows * line)) if whole else images
    return Grid((images, cut), (rows, 1 if whole else _needed(rows, target // line)), (channels, 1))


def per_block(function: Callable[..., T], work: Sequence[Sequence[Any]], *memory: Sequence[Any]) -> list[list[T]]:
    """``function`` of each block of each worker, and of the worker's own part of each ``memory``."""
    return [[function(block, *own) for block in mine] for mine, *own in zip(work, *memory, strict=True)]


def bind_memory(work: Sequence[Sequence[Any]], memory: Sequence[T]) -> list[list[T]]:
    """For each block the memory of its worker."""
    return per_block(lambda block, own: own, work, memory)


def of_each(function: Callable[..., T], *lists: Sequence[Sequence[Any]]) -> list[list[T]]:
    """Call ``function`` with the items that the lists hold for a block, for all blocks of all workers."""
    return [[function(*parts) for parts in zip(*mine, strict=True)] for mine in zip(*lists, strict=True)]
