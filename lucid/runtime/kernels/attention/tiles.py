"""Cutting the scores of attention into tiles of some heads and queries, and these into chunks of keys.

The scores of a chunk stay in the second-level cache while they become shares and are multiplied by the values; the
matrix of all scores never exists. All queries that one head of keys serves, of several heads of queries (a *group*),
are its *rows*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ....base.structs import struct
from ....graph.ops.attention_op import AttentionAttrs
from ....graph.types import TensorType
from ...planning.machine import this_machine
from ...planning.work import Product, Work
from ...program.emitter import Operand
from ..shared.cut import pieces
from .tiles_views import Tile

LEAST = 64
"""The least rows of a tile, if there are as many: smaller products spend their time copying matrices."""


class Sizes(NamedTuple):
    """The sizes of an attention.

    Attributes
    ----------
    lead
        Sizes of the axes before queries and keys; the last one is that of the heads of keys.
    group
        How many heads of queries one head of keys serves.
    queries, keys
        The number of queries, and of keys, of a head.
    features, values
        The number of features of a query or key, and of a value.
    itemsize
        Bytes of a number.
    """

    lead: tuple[int, ...]
    group: int
    queries: int
    keys: int
    features: int
    values: int
    itemsize: int

    @classmethod
    def of(cls, inputs: Sequence[TensorType] | Sequence[Operand]) -> Sizes:
        """The sizes for these operands (or concrete types): query, key, value."""
        query, key, value = (x.type.concrete if isinstance(x, Operand) else x.concrete for x in inputs[:3])
        group = query[-3] // max(1, key[-3]) if len(query) > 2 else 1
        return cls(key[:-2], group, query[-2], key[-2], query[-1], value[-1], inputs[0].dtype.itemsize)

    @property
    def heads(self) -> int:
        """The number of heads of keys, over all leading axes."""
        return math.prod(self.lead)

    @property
    def rows(self) -> int:
        """The number of queries that one head of keys serves."""
        return self.group * self.queries


@struct(frozen=True)
class Tiling:
    """The most heads and rows of a tile, and keys of a chunk; and the number of workers."""

    heads: int
    rows: int
    keys: int
    workers: int

    def __str__(self) -> str:
        return f"{self.heads} heads x {self.rows} queries x {self.keys} keys"


# ---------------------------------------------------------------- tiles


def tiles(s: Sizes, tiling: Tiling, attrs: AttentionAttrs) -> list[list[Tile]]:
    """The tiles, as a list for each range of heads; none if there are no queries or heads."""
    if not s.rows or 0 in s.lead:
        return []
    rows = list(_rows(s, tiling.rows))
    return [
        [
            Tile(lead, (a, b), _members(s, a, b), number * s.rows + a, tuple(_chunks(s, tiling.keys, attrs, a, b)))
            for a, b in rows
        ]
        for number, lead in _leads(s.lead, tiling.heads)
    ]


def _rows(s: Sizes, most: int) -> Iterator[tuple[int, int]]:
    """The rows cut into runs: of several whole members of a group (heads of queries), or of a part of one."""
    if most >= s.queries:
        yield from ((a * s.queries, b * s.queries) for a, b in pieces(s.group, most // max(1, s.queries)))
        return
    for member in range(s.group):
        yield from ((member * s.queries + a, member * s.queries + b) for a, b in pieces(s.queries, most))


def _members(s: Sizes, a: int, b: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The range of members of a group that rows ``a`` to ``b`` belong to, and the range of queries of these."""
    first, last = a // s.queries, (b - 1) // s.queries
    return (first, last + 1), (a - first * s.queries, b - last * s.queries)


def _leads(shape: tuple[int, ...], most: int) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Blocks of at most ``most`` heads: the number of the first, and a range of each leading axis.

    Ranges of an axis span the axes inside it; if these are too large together, they are cut for each index of it.
    """
    if not shape:
        yield 0, ()
        return
    size, *inner = shape
    inner_size = math.prod(inner)
    if most >= inner_size:
        for a, b in pieces(size, most // max(1, inner_size)):
            yield a * inner_size, ((a, b), *((0, n) for n in inner))
        return
    for i in range(size):
        for number, ranges in _leads(tuple(inner), most):
            yield i * inner_size + number, ((i, i + 1), *ranges)


def _chunks(s: Sizes, most: int, attrs: AttentionAttrs, a: int, b: int) -> Iterator[tuple[int, int]]:
    """The keys that any of rows ``a`` to ``b`` sees, cut into runs of at most ``most``."""
    assert isinstance(attrs.offset, int)
    _, (first, last) = _members(s, a, b)
    low = 0 if attrs.before is None else max(0, first + attrs.offset - attrs.before)
    high = s.keys if attrs.after is None else min(s.keys, last + attrs.offset + attrs.after)
    for c, d in pieces(max(0, high - low), most):
        yield low + c, low + d


# ---------------------------------------------------------------- ways


def tilings(s: Sizes, threads: int, attrs: AttentionAttrs, buffers: int, *, alone: bool = False) -> list[Tiling]:
    """Ways to cut the work such that ``buffers`` arrays of a tile's scores take half of the second-level cache.

    A tile has several heads only if it has all their queries and keys. With dropout, keys are not cut, as numbers are
    drawn for whole rows. ``alone`` says that workers cannot share the work, as all heads add to one gradient.
    """
    room = max(1, this_machine().l2 // 2 // (s.itemsize * buffers))  # scores of a tile
    workers = 1 if alone else threads
    found: dict[Tiling, None] = {}
    for most in {s.keys, *(n for n in (1024, 512, 256) if n < s.keys and not attrs.dropout)}:
        for least in (LEAST, 4 * LEAST):
            rows = max(min(s.queries, least), room // max(1, most))
            rows = min(s.rows, rows if rows < s.queries else rows // max(1, s.queries) * s.queries)
            whole = rows == s.rows and most == s.keys
            heads = max(1, min(room // max(1, rows * most), -(-s.heads // workers))) if whole else 1
            found[Tiling(heads, rows, most, workers)] = None
    return list(found)


def work_of(
    s: Sizes, size: tuple[int, int, tuple[int, ...]], products: Sequence[tuple[int, int]], passes: int, buffers: int
) -> Work:
    """The work of a tile.

    Parameters
    ----------
    size
        See :attr:`Tile.size`.
    products
        The depth of each kind of product of rows with keys, and how many there are of it.
    passes
        How often the scores are read or written.
    buffers
        The number of arrays of a tile's scores.
    """
    (heads, rows, chunks), done = size, Work(calls=8)
    for keys in chunks:
        scores = heads * rows * keys * s.itemsize
        inside = buffers * scores <= this_machine().l2
        done += Work(
            tuple(Product(rows, depth, keys, s.itemsize, True, True, heads * times) for depth, times in products),
            near=passes * scores if inside else 0.0, far=0.0 if inside else passes * scores, calls=passes,
        )  # fmt: skip
    return done


def scores_of(size: tuple[int, int, tuple[int, ...]]) -> int:
    """The number of scores of a tile."""
    return size[0] * size[1] * sum(size[2])
