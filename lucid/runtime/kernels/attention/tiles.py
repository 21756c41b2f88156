"""How the scores of attention are cut: into tiles of some heads and queries, and these into chunks of keys.

A tile of scores stays in the second-level cache while it becomes shares and is multiplied with the values; nothing ever
holds all scores. The queries of the heads that one head of keys serves lie below one another, as rows.
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
"""Queries and keys of a tile, where there are so many: smaller products spend their time copying matrices."""


class Sizes(NamedTuple):
    """The numbers of an attention.

    Attributes
    ----------
    lead
        The axes before queries and keys; the last one is that of the heads of keys.
    group
        How many heads of queries one head of keys serves.
    queries, keys, features, values
        How many there are: of one head, in all, of each query, of each value.
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
        """Those of an attention of these operands (or of types, that are concrete)."""
        query, key, value = (x.type.concrete if isinstance(x, Operand) else x.concrete for x in inputs[:3])
        group = query[-3] // max(1, key[-3]) if len(query) > 2 else 1
        return cls(key[:-2], group, query[-2], key[-2], query[-1], value[-1], inputs[0].dtype.itemsize)

    @property
    def heads(self) -> int:
        """Heads of keys."""
        return math.prod(self.lead)

    @property
    def rows(self) -> int:
        """Queries that one head of keys serves."""
        return self.group * self.queries


@struct(frozen=True)
class Tiling:
    """How many heads, rows of each and keys there are at most in a tile; for how many workers."""

    heads: int
    rows: int
    keys: int
    workers: int

    def __str__(self) -> str:
        return f"{self.heads} heads x {self.rows} queries x {self.keys} keys"


# ---------------------------------------------------------------- tiles


def tiles(s: Sizes, tiling: Tiling, attrs: AttentionAttrs) -> list[list[Tile]]:
    """The tiles, those of the same heads one after another in a list; none where there are no queries or heads."""
    if not s.rows or 0 in s.lead:
        return []
    rows = [(a, b) for a, b in _rows(s, tiling.rows)]
    found = []
    for number, lead in _leads(s.lead, tiling.heads):
        found.append([
            Tile(lead, (a, b), _members(s, a, b), number * s.rows + a, tuple(_chunks(s, tiling.keys, attrs, a, b)))
            for a, b in rows
        ])  # fmt: skip
    return found


def _rows(s: Sizes, most: int) -> Iterator[tuple[int, int]]:
    """Rows in runs: several whole members of a group, or a part of one."""
    if most >= s.queries:
        yield from ((a * s.queries, b * s.queries) for a, b in pieces(s.group, most // max(1, s.queries)))
        return
    for member in range(s.group):
        yield from ((member * s.queries + a, member * s.queries + b) for a, b in pieces(s.queries, most))


def _members(s: Sizes, a: int, b: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """To which members of a group rows belong, and which queries of these they are."""
    first, last = a // s.queries, (b - 1) // s.queries
    return (first, last + 1), (a - first * s.queries, b - last * s.queries)


def _leads(shape: tuple[int, ...], most: int) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Runs of heads: the number of the first, and the ranges on each axis; whole inner axes as far as they go."""
    if not shape:
        yield 0, ()
        return
    size, *inner = shape
    each = math.prod(inner)
    if most >= each:
        for a, b in pieces(size, most // max(1, each)):
            yield a * each, ((a, b), *((0, n) for n in inner))
        return
    for i in range(size):
        for number, ranges in _leads(tuple(inner), most):
            yield i * each + number, ((i, i + 1), *ranges)


def _chunks(s: Sizes, most: int, attrs: AttentionAttrs, a: int, b: int) -> Iterator[tuple[int, int]]:
    """The keys that any of these rows sees, in runs."""
    assert isinstance(attrs.offset, int)
    _, (first, last) = _members(s, a, b)
    low = 0 if attrs.before is None else max(0, first + attrs.offset - attrs.before)
    high = s.keys if attrs.after is None else min(s.keys, last + attrs.offset + attrs.after)
    for c, d in pieces(max(0, high - low), most):
        yield low + c, low + d


# ---------------------------------------------------------------- ways


def tilings(s: Sizes, threads: int, attrs: AttentionAttrs, buffers: int, *, alone: bool = False) -> list[Tiling]:
    """Ways to cut it so that ``buffers`` tiles of scores take half of the second-level cache.

    Several heads are together where all their queries and keys are. Dropout draws for whole rows. Where workers share
    heads only, whose gradients add up, ``alone`` says that these cannot be shared.
    """
    room = max(1, this_machine().l2 // 2 // (s.itemsize * buffers))
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
    """What is done for a tile of so many heads, rows of each, and keys of each chunk.

    Parameters
    ----------
    products
        For each product of all keys with all rows, its depth and how many there are.
    passes
        How often the scores are read or written.
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


def in_all(size: tuple[int, int, tuple[int, ...]]) -> int:
    """How many scores a tile has."""
    return size[0] * size[1] * sum(size[2])
