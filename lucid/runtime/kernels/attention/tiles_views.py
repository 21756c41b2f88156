"""What the tiles of an attention read and write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from ....base.arrays import Array
from ...program.views import as_view
from ..shared.cut import of_each, per_block

Ranges: TypeAlias = tuple[tuple[int, int], ...]
Work: TypeAlias = "Sequence[Sequence[Tile]]"
T = TypeVar("T")
Room: TypeAlias = "Sequence[Array]"
Either: TypeAlias = "Array | None"
Operands: TypeAlias = "tuple[Array, Array, Array | None]"
"""Keys, values, and the mask with an axis for each."""
Results: TypeAlias = "tuple[Array | None, Array | None, Array | None]"
Slope: TypeAlias = "tuple[Array | None, ...]"
Known: TypeAlias = "dict[tuple[int, int, int], Array]"


class Tile(NamedTuple):
    """Some rows of some heads of keys.

    Attributes
    ----------
    lead
        The ranges of heads, on each of their axes.
    rows
        The range of rows.
    members
        The members of each group and their queries that these are, as ranges.
    first
        The number of the first row, of all that there are.
    chunks
        The keys that these rows see, in ranges.
    """

    lead: Ranges
    rows: tuple[int, int]
    members: tuple[tuple[int, int], tuple[int, int]]
    first: int
    chunks: Ranges

    @property
    def heads(self) -> tuple[int, ...]:
        """How many heads, on each of their axes."""
        return tuple(b - a for a, b in self.lead)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its rows."""
        return (*self.heads, self.rows[1] - self.rows[0])

    @property
    def every(self) -> int:
        """How many rows of how many heads."""
        return math.prod(self.shape)

    @property
    def widest(self) -> int:
        """Keys of the largest chunk."""
        return max((b - a for a, b in self.chunks), default=0)

    @property
    def size(self) -> tuple[int, int, tuple[int, ...]]:
        """How many heads, rows of each, and keys of each chunk: by which tiles are alike."""
        return math.prod(self.heads), self.rows[1] - self.rows[0], tuple(b - a for a, b in self.chunks)

    @property
    def split(self) -> tuple[int, ...]:
        """The same with members of a group apart."""
        return (*self.heads, *(b - a for a, b in self.members))


def cut(x: Array, *ranges: tuple[int, int]) -> Array:
    """A part of an array; an axis of size 1 stays, as it broadcasts."""
    return x[tuple(slice(*r) if n > 1 else slice(0, 1) for r, n in zip(ranges, x.shape, strict=True))]


def rows_of(tile: Tile, x: Array) -> Array:
    """Its rows of an array that has them."""
    return x[tuple(slice(a, b) for a, b in (*tile.lead, tile.rows))]


def keys_of(tile: Tile, x: Array, chunk: tuple[int, int]) -> Array:
    """Of keys or values those of a chunk."""
    return x[tuple(slice(a, b) for a, b in (*tile.lead, chunk))]


def first(chunks: Sequence[T]) -> T:
    """The only one of a tile."""
    return chunks[0]


def room(memory: Array, *shape: int) -> Array:
    """The beginning of flat memory, in this shape."""
    made: Array = as_view(memory[: math.prod(shape)], shape)
    return made


class Sees(NamedTuple):
    """How a row sees keys by place: from ``offset`` on, so many ``before`` it and ``after`` it."""

    offset: int
    before: int | None
    after: int | None

    def hidden(self, tile: Tile, chunk: tuple[int, int], known: Known) -> Either:
        """Which scores of a chunk are hidden, (queries, keys); None where none is. Equal ones are made once."""
        (a, b), (c, d) = tile.members[1], chunk
        a, b = a + self.offset, b + self.offset
        late = self.after is not None and d - 1 > a + self.after
        early = self.before is not None and c < b - 1 - self.before
        if not late and not early:
            return None
        which = (c - a, b - a, d - c)
        if which not in known:
            apart = np.arange(c, d) - np.arange(a, b)[:, None]
            hidden = np.zeros(apart.shape, bool)
            if self.after is not None:
                hidden |= apart > self.after
            if self.before is not None:
                hidden |= apart < -self.before
            known[which] = hidden
        return known[which]


class Chunk(NamedTuple):
    """Of one chunk of keys: these, the same as columns, their values, the scores, and what masks or drops these.

    Attributes
    ----------
    keys, columns, values
        The keys, the same turned, and the values.
    scores, split
        Room for the scores; the same with members of a group apart.
    mask, hides
        The mask's part, and room for its opposite.
    hidden
        What the places hide.
    dropped
        Which shares a dropout drops.
    """

    keys: Array
    columns: Array
    values: Array
    scores: Array
    split: Array
    mask: Either
    hides: Either
    hidden: Either
    dropped: Either


class Slopes(NamedTuple):
    """What the gradient has beside a :class:`Chunk`.

    Attributes
    ----------
    rows
        The values, turned.
    d, split_d
        Room for the gradient of shares, then scores; the same with members of a group apart.
    bend
        Room for how steep the cap is.
    turned, turned_d
        The scores and their gradient, turned.
    dkeys, dvalues, dmask
        The parts of the results.
    more_keys, more_values, more_mask, more_query
        Room for what is added to these, and to the gradient of the queries.
    """

    rows: Array
    d: Array
    split_d: Array
    bend: Either
    turned: Array
    turned_d: Array
    dkeys: Either
    dvalues: Either
    dmask: Either
    more_keys: Either
    more_values: Either
    more_mask: Either
    more_query: Array


class Queries(NamedTuple):
    """Of one tile: its queries, these times a number, and what is added up over chunks.

    Attributes
    ----------
    query, scaled
        The queries, and room for them times a number.
    most, fade, total, part
        Room for a number for each row: the largest score, by how much what was made shrinks as that grows, the sum of
        exponentials, and that of a chunk.
    made, more
        Room for what is added up, and for that of a chunk.
    first
        How many numbers are drawn for rows before it.
    draws, drawn
        Room for random numbers, and for what is dropped.
    """

    query: Array
    scaled: Array
    most: Array
    fade: Array
    total: Array
    part: Array
    made: Array
    more: Array
    first: int
    draws: Either
    drawn: Either


def bind_queries(
    work: Work, query: Array, keys: int, widths: tuple[int, int], scaled: Room, numbers: Room, made: Room, more: Room,
    draws: Room | None, drawn: Room | None,
) -> list[list[Queries]]:  # fmt: skip
    """What each tile has.

    Parameters
    ----------
    keys, widths
        How many keys there are, and numbers in a row of what is ``made``, and of what is ``more``.
    scaled, numbers, made, more, draws, drawn
        Room of each worker: four ``numbers`` of each row; no draws where nothing is dropped.
    """

    def queries(tile: Tile, scaled: Array, numbers: Array, made: Array, more: Array, *random: Either) -> Queries:
        n = tile.every
        four = (room(numbers[i * n :], *tile.shape, 1) for i in range(4))
        sums = (room(x, *tile.shape, width) for x, width in zip((made, more), widths, strict=True))
        drawn = (None if x is None else room(x, *tile.shape, keys) for x in random)
        seen = rows_of(tile, query)
        return Queries._make([seen, room(scaled, *seen.shape), *four, *sums, tile.first * keys, *drawn])

    none = (None,) * len(work)
    return per_block(queries, work, scaled, numbers, made, more, draws or none, drawn or none)


def bind_rows(work: Work, *arrays: Either) -> list[list[tuple[Either, ...]]]:
    """Of each tile its rows of these arrays."""
    return per_block(lambda tile: tuple(None if x is None else rows_of(tile, x) for x in arrays), work)


def bind_chunks(
    work: Work, single: bool, operands: Operands, sees: Sees, scores: Room, hides: Room | None, drawn: Room | None
) -> list[list[Chunk]] | list[list[list[Chunk]]]:
    """The chunks of each tile; where each has one that, without a list.

    Parameters
    ----------
    scores, hides, drawn
        Room of each worker.
    """
    known: Known = {}
    none = (None,) * len(work)

    def chunks(tile: Tile, scores: Array, *own: Either) -> list[Chunk]:
        return [_chunk(tile, chunk, operands, sees.hidden(tile, chunk, known), scores, *own)
                for chunk in tile.chunks]  # fmt: skip

    found = per_block(chunks, work, scores, hides or none, drawn or none)
    return of_each(first, found) if single else found


def _chunk(
    tile: Tile, chunk: tuple[int, int], operands: Operands, hidden: Either, scores: Array, hides: Either, drawn: Either
) -> Chunk:
    (all_keys, all_values, whole), n = operands, chunk[1] - chunk[0]
    keys, values = (keys_of(tile, x, chunk) for x in (all_keys, all_values))
    made = room(scores, *tile.shape, n)
    mask = None if whole is None else cut(whole, *tile.lead, *tile.members, chunk)
    dropped = None if drawn is None else room(drawn, *tile.shape, all_keys.shape[-2])[..., slice(*chunk)]
    return Chunk(
        keys, keys.swapaxes(-1, -2), values, made, as_view(made, (*tile.split, n)), mask,
        None if hides is None or mask is None else room(hides, *mask.shape), hidden, dropped,
    )  # fmt: skip


def bind_slopes(
    work: Work, single: bool, features: int, chunks: list[list[list[Chunk]]] | list[list[Chunk]], results: Results,
    d: Room, more: Room, bend: Room | None, sums: Room | None,
) -> list[list[Slope]] | list[list[list[Slope]]]:  # fmt: skip
    """For each chunk of :func:`bind_chunks` that, and what the gradient has beside it.

    Parameters
    ----------
    features
        Of a query.
    results
        The gradients of keys, values and the mask; None for what nobody reads.
    d, more, bend, sums
        Room of each worker.
    """
    none = (None,) * len(work)
    made: list[list[list[Slope]]] = []
    for mine, own, *memory in zip(work, chunks, d, more, bend or none, sums or none, strict=True):
        every = [[found] if isinstance(found, Chunk) else found for found in own]
        made.append([
            [_slope(tile, chunk, known, results, features, *memory)
             for chunk, known in zip(tile.chunks, found, strict=True)]
            for tile, found in zip(mine, every, strict=True)
        ])  # fmt: skip
    return of_each(first, made) if single else made


def _slope(
    tile: Tile, chunk: tuple[int, int], known: Chunk, results: Results, features: int, d: Array, more: Array,
    bend: Either = None, sums: Either = None,
) -> Slope:  # fmt: skip
    made = room(d, *known.scores.shape)
    dkeys, dvalues = (None if x is None else keys_of(tile, x, chunk) for x in results[:2])
    dmask = None if results[2] is None else cut(results[2], *tile.lead, *tile.members, chunk)
    return (*known, *Slopes(
        known.values.swapaxes(-1, -2), made, as_view(made, known.split.shape),
        None if bend is None else room(bend, *made.shape),
        known.scores.swapaxes(-1, -2), made.swapaxes(-1, -2), dkeys, dvalues, dmask,
        None if dkeys is None else room(more, *dkeys.shape), None if dvalues is None else room(more, *dvalues.shape),
        None if dmask is None or sums is None else room(sums, *dmask.shape), room(more, *tile.shape, features),
    ))  # fmt: skip


def add_over(split: Array, room: Array, total: Array) -> None:
    """Add scores to what is for several of them: over the axes on which there is one for all."""
    axes = tuple(axis for axis, (n, one) in enumerate(zip(split.shape, total.shape, strict=True)) if one < n)
    np.add(total, np.add.reduce(split, axis=axes, keepdims=True, out=room) if axes else split, out=total)
