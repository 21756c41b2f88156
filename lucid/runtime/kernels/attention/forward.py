"""Attention, tile by tile (:mod:`.tiles`): scores, shares, and what these take of the values.

Over several chunks of keys the sums are kept for the largest score so far, and shrink as that grows (Milakov and
Gimelshein, 2018; Dao et al., 2022). They are divided by the sum of exponentials once, at the end.
"""

from __future__ import annotations

from ....graph.ir import Node
from ....graph.ops.attention_op import ATTENTION, AttentionAttrs
from ....graph.types import TensorType
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter
from ..shared.cut import deal
from .operands import by_rows, hand_over, laid_by_rows, target_by_rows
from .tiled import Tiled
from .tiles import Sizes, in_all, tiles, tilings, work_of
from .tiles_views import Chunk, Queries, bind_rows

BUFFERS, PASSES = 1, 8
"""Tiles of scores that are there at once, and how often one is read or written."""


def _ways(node: Node[AttentionAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    s, found = Sizes.of(inputs), []
    products = [(s.features, 1), (s.values, 1)]
    for tiling in tilings(s, threads, node.attrs, BUFFERS):
        sizes = [tile.size for mine in tiles(s, tiling, node.attrs) for tile in mine]
        work = Work.of_busiest(
            deal(sizes, tiling.workers), lambda size: work_of(s, size, products, PASSES, BUFFERS), in_all
        )
        found.append(Way(work, tiling))
    return found


@kernel(ATTENTION, ways=_ways, staged=True)
def attention(k: Emitter[AttentionAttrs]) -> None:
    """The queries times the scale, then for each chunk of keys scores, exponentials, and what they take of values."""
    s, (y, kept) = Sizes.of(k.ins), (*k.outs, None)[:2]
    work = deal([tile for mine in tiles(s, k.way, k.attrs) for tile in mine], k.way.workers)
    if not work:
        return
    made = laid_by_rows(k, y, kept)
    t = Tiled(k, s, work)
    q = t.queries(by_rows(k, s, k.ins[0], "queries"), s.values, 0 if t.single else s.values)
    results = [None if x is None else target_by_rows(k, s, x) for x in made]
    y_rows, kept_rows = t.loop.over(t.loop.bind("results", bind_rows, t.loop.blocks, *results), "y", "kept")
    chunks = t.chunks(t.memory(t.scores, "scores"))
    c = Chunk._make(t.loop.fresh(*Chunk._fields))
    t.loop.line(*t.begin(q))
    if t.single:
        t.each_chunk(chunks, c, *_only(t, q, c))
    else:
        t.loop.line(f"{q.most}.fill({t.least})", f"{q.total}.fill(0)", f"{q.made}.fill(0)")
        t.each_chunk(chunks, c, *_next(t, q, c))
    t.loop.line(*_end(t, q, y_rows, None if kept is None else kept_rows))
    t.loop.emit()
    hand_over(k, made, (y, kept))


def _only(t: Tiled, q: Queries, c: Chunk) -> list[str]:
    """The shares of all keys, but that they are not divided yet, and what they take."""
    return [
        *t.scored(q, c),
        f"np.maximum.reduce({c.scores}, axis=-1, keepdims=True, out={q.most}, initial={t.least})",
        f"np.subtract({c.scores}, {q.most}, out={c.scores})",
        f"np.exp({c.scores}, out={c.scores})",
        f"np.add.reduce({c.scores}, axis=-1, keepdims=True, out={q.total})",
        *t.dropped(c.scores, c),
        f"np.matmul({c.scores}, {c.values}, out={q.made})",
    ]


def _next(t: Tiled, q: Queries, c: Chunk) -> list[str]:
    """The same of one chunk after others: these shrink as the largest score grows."""
    return [
        *t.scored(q, c),
        f"np.maximum.reduce({c.scores}, axis=-1, keepdims=True, out={q.part})",
        f"np.maximum({q.most}, {q.part}, out={q.part})",
        f"np.subtract({q.most}, {q.part}, out={q.fade})",
        f"np.exp({q.fade}, out={q.fade})",
        f"{q.most}[...] = {q.part}",
        f"np.subtract({c.scores}, {q.most}, out={c.scores})",
        f"np.exp({c.scores}, out={c.scores})",
        f"np.add.reduce({c.scores}, axis=-1, keepdims=True, out={q.part})",
        f"np.multiply({q.total}, {q.fade}, out={q.total})",
        f"np.add({q.total}, {q.part}, out={q.total})",
        *t.dropped(c.scores, c),
        f"np.matmul({c.scores}, {c.values}, out={q.more})",
        f"np.multiply({q.made}, {q.fade}, out={q.made})",
        f"np.add({q.made}, {q.more}, out={q.made})",
    ]


def _end(t: Tiled, q: Queries, y: str, kept: str | None) -> list[str]:
    """Divide by the sum, which is at least 1 where a key is seen, and 0 elsewhere."""
    lines = [f"np.maximum({q.total}, 1, out={q.total})"]
    if kept is not None:
        lines += [f"np.log({q.total}, out={kept})", f"np.add({kept}, {q.most}, out={kept})"]
    if t.attrs.dropout:
        lines.append(f"np.multiply({q.total}, {t.k.number(1 - t.attrs.dropout or 1.0)}, out={q.total})")
    return [*lines, f"np.divide({q.made}, {q.total}, out={y})"]
