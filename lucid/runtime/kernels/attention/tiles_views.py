"""Views of what each tile of an attention, and each chunk of its keys, reads and writes."""

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
"""Keys, values, and the mask of full rank."""
Results: TypeAlias = "tuple[Array | None, Array | None, Array | None]"
Slope: TypeAlias = "tuple[Array | None, ...]"
"""The parts of a :class:`Chunk`, then those of its :class:`Slopes`."""
Known: TypeAlias = "dict[tuple[int, int, int], Array]"


class Tile(NamedTuple):
    """Some rows of some heads of keys. Ranges are (start, stop).

    Attributes
    ----------
    lead
        The range of each leading axis.
    rows
        The range of rows of each head.
    members
        The same rows as a range of members of the group, and of queries of these.
    first
        The number of the first row among the rows of all heads.
    chunks
        The keys that these rows see, as ranges.
    """

    lead: Ranges
    rows: tuple[int, int]
    members: tuple[tuple[int, int], tuple[int, int]]
    first: int
    chunks: Ranges

    @property
    def heads(self) -> tuple[int, ...]:
        """The number of heads along each leading axis."""
        return tuple(b - a for a, b in self.lead)

    @property
    def shape(self) -> tuple[int, ...]:
        """The leading axes and the number of rows: the shape of an array with one number per row."""
        return (*self.heads, self.rows[1] - self.rows[0])

    @property
    def every(self) -> int:
        """The number of rows of all its heads."""
        return math.prod(self.shape)

    @property
    def widest(self) -> int:
        """The number of keys of the largest chunk."""
        return max((b - a for a, b in self.chunks), default=0)

    @property
    def size(self) -> tuple[int, int, tuple[int, ...]]:
        """The number of heads, of rows of each, and of keys of each chunk; tiles of one size do the same work."""
        return math.prod(self.heads), self.rows[1] - self.rows[0], tuple(b - a for a, b in self.chunks)

    @property
    def split(self) -> tuple[int, ...]:
        """:attr:`shape` with the members of a group as an axis of their own."""
        return (*self.heads, *(b - a for a, b in self.members))


def cut(x: Array, *ranges: tuple[int, int]) -> Array:
    """These ranges of an array's axes; axes of size 1 are kept whole, as they are broadcast."""
    return x[tuple(slice(*r) if n > 1 else slice(0, 1) for r, n in zip(ranges, x.shape, strict=True))]


def rows_of(tile: Tile, x: Array) -> Array:
    """The tile's part of an array with an axis of rows."""
    return x[tuple(slice(a, b) for a, b in (*tile.lead, tile.rows))]


def keys_of(tile: Tile, x: Array, chunk: tuple[int, int]) -> Array:
    """A chunk's part of the keys or values."""
    return x[tuple(slice(a, b) for a, b in (*tile.lead, chunk))]


def first(chunks: Sequence[T]) -> T:
    """The only chunk of a tile."""
    return chunks[0]


def room(memory: Array, *shape: int) -> Array:
    """The beginning of a flat buffer, viewed in this shape."""
    view: Array = as_view(memory[: math.prod(shape)], shape)
    return view


class Sees(NamedTuple):
    """The window of keys that a query sees: from ``before`` keys before to ``after`` keys after its own position.

    Query i has position i + ``offset`` among the keys; None means no limit.
    """

    offset: int
    before: int | None
    after: int | None

    def hidden(self, tile: Tile, chunk: tuple[int, int], known: Known) -> Either:
        """A mask (queries, keys) of the scores outside the window; None if there are none. Equal masks are shared."""
        (a, b), (c, d) = tile.members[1], chunk
        a, b = a + self.offset, b + self.offset
        late = self.after is not None and d - 1 > a + self.after
        early = self.before is not None and c < b - 1 - self.before
        if not late and not early:
            return None
        which = (c - a, b - a, d - c)
        if which not in known:
            distance = np.arange(c, d) - np.arange(a, b)[:, None]
            hidden = np.zeros(distance.shape, bool)
            if self.after is not None:
                hidden |= distance > self.after
            if self.before is not None:
                hidden |= distance < -self.before
            known[which] = hidden
        return known[which]


class Chunk(NamedTuple):
    """The views of one chunk of keys.

    Attributes
    ----------
    keys, columns, values
        The keys, the transposed keys, and the values.
    scores, split
        Scratch for the scores; the same with the members of a group as an axis of their own.
    mask, hides
        The part of the mask; if it is boolean, scratch for its negation.
    hidden
        A mask of the scores outside the window.
    dropped
        A mask of the shares that the dropout drops.
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
    """The views of one chunk that the gradient has in addition to :class:`Chunk`.

    Attributes
    ----------
    rows
        The transposed values.
    d, split_d
        Scratch for the gradient of the shares, then of the scores; the same with the members of a group as an axis.
    bend
        Scratch for the derivative of the cap.
    turned, turned_d
        The scores and their gradient, transposed.
    dkeys, dvalues, dmask
        The parts of the results.
    more_keys, more_values, more_mask, more_query
        Scratch for terms to be added to these, and to the gradient of the queries.
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
    """The views of one tile.

    Attributes
    ----------
    query, scaled
        The queries, and scratch for the scaled queries.
    most, fade, total, part
        Scratch for a number per row: the largest score so far, the factor by which sums shrink when it grows, the sum
        of exponentials, and that of one chunk.
    made, more
        Scratch for the sum over chunks, and for the term of one chunk.
    first
        How many random numbers are drawn for the rows before this tile.
    draws, drawn
        Scratch for random numbers, and for the mask of what is dropped.
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
    """The views of each tile.

    Parameters
    ----------
    keys, widths
        The number of keys, and the lengths of a row of ``made`` and of ``more``.
    scaled, numbers, made, more, draws, drawn
        Scratch buffers of each worker; ``numbers`` has four numbers per row. Without dropout, the last two are None.
    """

    def queries(tile: Tile, scaled: Array, numbers: Array, made: Array, more: Array, *random: Either) -> Queries:
        n = tile.every
        per_row = (room(numbers[i * n :], *tile.shape, 1) for i in range(4))
        sums = (room(x, *tile.shape, width) for x, width in zip((made, more), widths, strict=True))
        drawn = (None if x is None else room(x, *tile.shape, keys) for x in random)
        rows = rows_of(tile, query)
        return Queries._make([rows, room(scaled, *rows.shape), *per_row, *sums, tile.first * keys, *drawn])

    none = (None,) * len(work)
    return per_block(queries, work, scaled, numbers, made, more, draws or none, drawn or none)


def bind_rows(work: Work, *arrays: Either) -> list[list[tuple[Either, ...]]]:
    """The rows of these arrays that belong to each tile."""
    return per_block(lambda tile: tuple(None if x is None else rows_of(tile, x) for x in arrays), work)


def bind_chunks(
    work: Work, single: bool, operands: Operands, sees: Sees, scores: Room, hides: Room | None, drawn: Room | None
) -> list[list[Chunk]] | list[list[list[Chunk]]]:
    """For each tile a list of its chunks or, if it is ``single``, the only one.

    Parameters
    ----------
    scores, hides, drawn
        Scratch buffers of each worker.
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
    own = room(scores, *tile.shape, n)
    mask = None if whole is None else cut(whole, *tile.lead, *tile.members, chunk)
    dropped = None if drawn is None else room(drawn, *tile.shape, all_keys.shape[-2])[..., slice(*chunk)]
    return Chunk(
        keys, keys.swapaxes(-1, -2), values, own, as_view(own, (*tile.split, n)), mask,
        None if hides is None or mask is None else room(hides, *mask.shape), hidden, dropped,
    )  # fmt: skip


def bind_slopes(
    work: Work, single: bool, features: int, chunks: list[list[list[Chunk]]] | list[list[Chunk]], results: Results,
    d: Room, more: Room, bend: Room | None, sums: Room | None,
) -> list[list[Slope]] | list[list[list[Slope]]]:  # fmt: skip
    """For each chunk of :func:`bind_chunks`, its views and those that the gradient has in addition.

    Parameters
    ----------
    features
        The number of features of a query.
    results
        The gradients of keys, values and the mask; None if nothing reads them.
    d, more, bend, sums
        Scratch buffers of each worker.
    """
    none = (None,) * len(work)
    slopes: list[list[list[Slope]]] = []
    for own_tiles, own_chunks, *memory in zip(work, chunks, d, more, bend or none, sums or none, strict=True):
        by_tile = [[bound] if isinstance(bound, Chunk) else bound for bound in own_chunks]
        slopes.append([
            [_slope(tile, chunk, views, results, features, *memory)
             for chunk, views in zip(tile.chunks, of_tile, strict=True)]
            for tile, of_tile in zip(own_tiles, by_tile, strict=True)
        ])  # fmt: skip
    return of_each(first, slopes) if single else slopes


def _slope(
    tile: Tile, chunk: tuple[int, int], views: Chunk, results: Results, features: int, d: Array, more: Array,
    bend: Either = None, sums: Either = None,
) -> Slope:  # fmt: skip
    own = room(d, *views.scores.shape)
    dkeys, dvalues = (None if x is None else keys_of(tile, x, chunk) for x in results[:2])
    dmask = None if results[2] is None else cut(results[2], *tile.lead, *tile.members, chunk)
    return (*views, *Slopes(
        views.values.swapaxes(-1, -2), own, as_view(own, views.split.shape),
        None if bend is None else room(bend, *own.shape),
        views.scores.swapaxes(-1, -2), own.swapaxes(-1, -2), dkeys, dvalues, dmask,
        None if dkeys is None else room(more, *dkeys.shape), None if dvalues is None else room(more, *dvalues.shape),
        None if dmask is None or sums is None else room(sums, *dmask.shape), room(more, *tile.shape, features),
    ))  # fmt: skip


def add_over(split: Array, room: Array, total: Array) -> None:
    """Add scores to ``total``, summed over the axes along which that has size 1; ``room`` is scratch for the sum."""
    axes = tuple(axis for axis, (n, size) in enumerate(zip(split.shape, total.shape, strict=True)) if size < n)
    np.add(total, np.add.reduce(split, axis=axes, keepdims=True, out=room) if axes else split, out=total)
