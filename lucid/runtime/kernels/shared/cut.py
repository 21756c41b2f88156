"""Cutting the work of a node into blocks, and dealing these to workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ....base.arrays import Array
from ....base.structs import struct

B = TypeVar("B")
T = TypeVar("T")

Deal: TypeAlias = "Sequence[Sequence[B]]"
"""For each worker a sequence: of its blocks in order, or of one thing for each of them."""

Steps: TypeAlias = "Sequence[tuple[Array, ...]]"
"""The arguments of an operation, for each of its calls in order."""


class Block(NamedTuple):
    """A part of an output: images ``n0`` to ``n1``, rows ``r0`` to ``r1`` and channels ``c0`` to ``c1`` (exclusive)."""

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
        """The number of rows of all its images together."""
        return (self.n1 - self.n0) * (self.r1 - self.r0)


Runs: TypeAlias = "tuple[int, int]"
"""A total, and the number of runs of nearly equal length that it is cut into (see :func:`evenly`)."""


@struct(frozen=True)
class Grid:
    """Blocks that are the product of runs of images, of rows and of channels; counted without building them."""

    images: Runs
    rows: Runs
    channels: Runs

    def __len__(self) -> int:
        return self.images[1] * self.rows[1] * self.channels[1]

    def __iter__(self) -> Iterator[Block]:
        """The blocks: channels in the outermost loop, then images, then rows."""
        cuts = (evenly(*runs) for runs in (self.channels, self.images, self.rows))
        for (c0, c1), (n0, n1), (r0, r1) in product(*cuts):
            yield Block(n0, n1, r0, r1, c0, c1)

    @property
    def most(self) -> Block:
        """A block of the largest size that occurs; an empty one if there are none."""
        runs = self.images, self.rows, self.channels
        images, rows, channels = (-(-total // max(1, count)) for total, count in runs)
        return Block(0, images, 0, rows, 0, channels)


NONE = Grid((0, 0), (0, 0), (0, 0))


def largest(blocks: Iterable[Block]) -> tuple[int, int, int]:
    """The largest number of images, of channels and of rows of any block."""
    images, channels, rows = zip(*((b.n1 - b.n0, b.c1 - b.c0, b.r1 - b.r0) for b in blocks), strict=True)
    return max(images), max(channels), max(rows)


def pieces(total: int, most: int) -> list[tuple[int, int]]:
    """``range(total)`` cut into (start, stop) runs of nearly equal length, none longer than ``most``."""
    return evenly(total, _needed(total, most))


def _needed(total: int, most: int) -> int:
    return -(-total // max(1, most))


def evenly(total: int, count: int) -> list[tuple[int, int]]:
    """``range(total)`` cut into ``count`` (start, stop) runs of nearly equal length."""
    return [(i * total // count, (i + 1) * total // count) for i in range(count)]


def even_pieces(total: int, most: int, least: int, workers: int) -> list[tuple[int, int]]:
    """Like :func:`pieces`, with equally many runs for each worker, unless they would be shorter than ``least``."""
    return evenly(*even_runs(total, most, least, workers))


def even_runs(total: int, most: int, least: int, workers: int) -> Runs:
    """The runs of :func:`even_pieces` as a total and a count."""
    count = _needed(total, most)
    even = -(-count // workers) * workers
    return total, even if even * least <= total else count


def bands(count: int, tile: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Of the tiles of ``range(count)``, those from ``first`` to ``last``, as runs of (start, stop, length of a tile).

    There are at most two: the whole tiles, and the last one if ``count`` cuts it short.
    """
    whole, rest = divmod(count, tile)
    if min(last, whole) > first:
        yield first, min(last, whole), tile
    if rest and first <= whole < last:
        yield whole, whole + 1, rest


def deal(blocks: Sequence[B], workers: int) -> list[list[B]]:
    """The blocks in at most ``workers`` runs of nearly equal length."""
    return [list(blocks[a:b]) for a, b in pieces(len(blocks), -(-len(blocks) // workers))] if blocks else []


def image_blocks(images: int, channels: int, rows: int, per_row: int, target: int, channels_last: bool) -> list[Block]:
    """Blocks of about ``target`` bytes, if one row of one channel takes ``per_row``.

    They consist of whole images if one fits; otherwise of rows of all channels for channels-last images, or of whole
    planes of some channels.
    """
    if images * channels * rows == 0:
        return []
    if channels_last or channels * rows * per_row <= target:
        return list(row_grid(images, channels, rows, per_row, target))
    cut = pieces(channels, target // (rows * per_row))
    return [Block(n, n + 1, 0, rows, a, b) for n in range(images) for a, b in cut]


def row_grid(images: int, channels: int, rows: int, per_row: int, target: int) -> Grid:
    """The blocks of :func:`image_blocks` for channels-last images."""
    if images * channels * rows == 0:
        return NONE
    line = channels * per_row
    whole = rows * line <= target
    cut = _needed(images, target // max(1, rows * line)) if whole else images
    return Grid((images, cut), (rows, 1 if whole else _needed(rows, target // line)), (channels, 1))


def per_block(function: Callable[..., T], work: Sequence[Sequence[Any]], *memory: Sequence[Any]) -> list[list[T]]:
    """``function(block, *own)`` for each block of each worker; ``own`` is the worker's item of each ``memory``."""
    return [[function(block, *own) for block in mine] for mine, *own in zip(work, *memory, strict=True)]


def bind_memory(work: Sequence[Sequence[Any]], memory: Sequence[T]) -> list[list[T]]:
    """For each block of each worker, the memory of that worker."""
    return per_block(lambda block, own: own, work, memory)


def of_each(function: Callable[..., T], *lists: Sequence[Sequence[Any]]) -> list[list[T]]:
    """``function`` mapped over several :data:`Deal` lists at once: its arguments are their items for one block."""
    return [[function(*parts) for parts in zip(*mine, strict=True)] for mine in zip(*lists, strict=True)]
