"""What attention and its gradient have in common: the loop over tiles, and lines for the scores of a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ....graph.ops.attention_op import AttentionAttrs
from ....graph.rng import generator
from ....graph.types import DType, bool_
from ...program.emitter import Emitter, Operand
from ..shared.loop import BlockLoop, Bound
from .operands import mask_shape
from .tiles import Sizes
from .tiles_views import Chunk, Queries, Sees, Tile, bind_chunks, bind_queries

Room = tuple[Operand, ...]
"""A flat scratch buffer for each worker."""


class Tiled:
    """The loop over tiles, as a kernel writes it.

    Attributes
    ----------
    k, s
        The node's emitter, and the sizes.
    loop
        The loop.
    single
        Whether each tile has one chunk of keys.
    mask
        The mask, in full rank (:func:`~.operands.mask_shape`); None if there is none.
    rows, scores
        The most rows, and the most scores of a chunk, of any tile.
    """

    def __init__(self, k: Emitter[AttentionAttrs], s: Sizes, work: Sequence[Sequence[Tile]]) -> None:
        self.k, self.s, self.attrs, self.dtype = k, s, k.attrs, k.ins[0].dtype
        self.loop = BlockLoop(k, work)
        self.single = all(len(tile.chunks) == 1 for tile in self.loop.every)
        self.mask = k.target(k.ins[3], mask_shape(s, k.ins[3].shape), "mask") if self.attrs.masked else None
        self.rows = max(tile.every for tile in self.loop.every)
        self.scores = max(tile.every * tile.widest for tile in self.loop.every)
        self._draws, self._drawn = self._random()

    def memory(self, size: int, label: str, dtype: DType | None = None) -> Room:
        """A scratch buffer of ``size`` elements for each worker."""
        return self.loop.scratch((max(1, size),), dtype or self.dtype, label)

    def _random(self) -> tuple[Room | None, Room | None]:
        """Scratch for the random numbers of a tile, and for the mask of what they drop; None without dropout."""
        if not self.attrs.dropout:
            return None, None
        size = self.rows * self.s.keys
        return self.memory(size, "draws", np.dtype(np.float32)), self.memory(size, "drawn", bool_)

    def queries(self, query: Operand, made: int, more: int) -> Queries:
        """Loop variables for the views of each tile; ``made`` and ``more`` are the lengths of rows of these buffers."""
        sizes = {"scaled": self.s.features, "numbers": 4, "made": made, "more": more}
        bound = self.loop.bind(
            "queries", bind_queries, self.loop.blocks, query, self.s.keys, (made, more),
            *(self.memory(self.rows * width, label) for label, width in sizes.items()), self._draws, self._drawn,
        )  # fmt: skip
        return self.loop.parts(bound, Queries)

    def chunks(self, scores: Room) -> Bound:
        """Bind the views of the chunks of each tile."""
        a, hides = self.attrs, None
        if self.mask is not None and self.mask.dtype == bool_:
            hides = self.memory(self.scores, "hides", bool_)
        operands = self.k.ins[1], self.k.ins[2], self.mask
        sees = Sees(int(a.offset), a.before, a.after)  # type: ignore[arg-type]  # a concrete one
        return self.loop.bind(
            "chunks", bind_chunks, self.loop.blocks, self.single, operands, sees, scores, hides, self._drawn
        )

    def each_chunk(self, bound: Bound, names: Iterable[object], *lines: str) -> None:
        """Add lines that run for every chunk of a tile; ``names`` are the variables that stand for its views."""
        if self.single:
            self.loop.named(bound, *map(str, names))
            self.loop.line(*lines)
        else:
            self.loop.for_each([*map(str, names)], self.loop.over(bound, "chunks")[0], *lines)

    # ------------------------------------------------------------ lines

    def begin(self, q: Queries) -> list[str]:
        """Lines that scale the queries, and draw what the dropout drops."""
        k, a = self.k, self.attrs
        lines = [f"np.multiply({q.query}, {k.number(a.scale)}, out={q.scaled})"]
        if a.dropout:
            lines += [
                f"{k.use(generator)}({k.ins[3 + a.masked]}, {q.first}).random(dtype=np.float32, out={q.draws})",
                f"np.less({q.draws}, {k.number(a.dropout)}, out={q.drawn})",
            ]
        return lines

    def scored(self, q: Queries, c: Chunk, *bent: str) -> list[str]:
        """Lines that compute the scores of a chunk: capped by tanh, then masked.

        The lines ``bent`` are run between the tanh and its scaling.
        """
        k, a = self.k, self.attrs
        lines = [f"np.matmul({q.scaled}, {c.columns}, out={c.scores})"]
        if a.cap:
            lines += [
                f"np.multiply({c.scores}, {k.number(1 / a.cap)}, out={c.scores})",
                f"np.tanh({c.scores}, out={c.scores})",
                *bent,
                f"np.multiply({c.scores}, {k.number(a.cap)}, out={c.scores})",
            ]
        if self.mask is not None and self.mask.dtype == bool_:
            lines += [
                f"np.logical_not({c.mask}, out={c.hides})",
                f"np.copyto({c.split}, -np.inf, where={c.hides})",
            ]
        elif self.mask is not None:
            lines.append(f"np.add({c.split}, {c.mask}, out={c.split})")
        if a.windowed:
            lines.append(f"if {c.hidden} is not None:\n    np.copyto({c.split}, -np.inf, where={c.hidden})")
        return lines

    def dropped(self, x: object, c: Chunk) -> list[str]:
        """Lines that set the dropped elements of shares, or of their gradient, to 0."""
        return [f"np.copyto({x}, 0, where={c.dropped})"] if self.attrs.dropout else []

    @property
    def least(self) -> str:
        """The least finite number, as source: a lower bound for the scores of keys that are not masked."""
        return self.k.number(float(np.finfo(self.dtype.name).min))
