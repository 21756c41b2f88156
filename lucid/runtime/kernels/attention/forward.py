"""Attention, tile by tile (:mod:`.tiles`): scores, shares (their softmax), and the sums of values weighted by these.

Over several chunks of keys, sums are relative to the largest score so far, and are scaled down when a larger one is met
(online softmax: Milakov and Gimelshein, 2018; Dao et al., 2022). They are divided by the sum of exponentials once, at
the end.
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
from .tiles import Sizes, scores_of, tiles, tilings, work_of
from .tiles_views import Chunk, Queries, bind_rows

BUFFERS, PASSES = 1, 8
"""Buffers of the size of a tile of scores that are in use at once, and how often one is read or written."""


def _ways(node: Node[AttentionAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    s, ways = Sizes.of(inputs), []
    products = [(s.features, 1), (s.values, 1)]
    for tiling in tilings(s, threads, node.attrs, BUFFERS):
        sizes = [tile.size for heads in tiles(s, tiling, node.attrs) for tile in heads]
        work = Work.of_busiest(
            deal(sizes, tiling.workers), lambda size: work_of(s, size, products, PASSES, BUFFERS), scores_of
        )
        ways.append(Way(work, tiling))
    return ways


@kernel(ATTENTION, ways=_ways, staged=True)
def attention(k: Emitter[AttentionAttrs]) -> None:
    """Scale the queries; then, for each chunk of keys: scores, exponentials, and the weighted sums of values."""
    s, (y, kept) = Sizes.of(k.ins), (*k.outs, None)[:2]
    work = deal([tile for heads in tiles(s, k.way, k.attrs) for tile in heads], k.way.workers)
    if not work:
        return
    results = laid_by_rows(k, y, kept)
    t = Tiled(k, s, work)
    q = t.queries(by_rows(k, s, k.ins[0], "queries"), s.values, 0 if t.single else s.values)
    by_head = [None if x is None else target_by_rows(k, s, x) for x in results]
    y_rows, kept_rows = t.loop.over(t.loop.bind("results", bind_rows, t.loop.blocks, *by_head), "y", "kept")
    chunks = t.chunks(t.memory(t.scores, "scores"))
    c = Chunk._make(t.loop.fresh(*Chunk._fields))
    t.loop.line(*t.begin(q))
    if t.single:
        t.each_chunk(chunks, c, *_single_chunk(t, q, c))
    else:
        t.loop.line(f"{q.most}.fill({t.least})", f"{q.total}.fill(0)", f"{q.made}.fill(0)")
        t.each_chunk(chunks, c, *_next_chunk(t, q, c))
    t.loop.line(*_end(t, q, y_rows, None if kept is None else kept_rows))
    t.loop.emit()
    hand_over(k, results, (y, kept))


def _single_chunk(t: Tiled, q: Queries, c: Chunk) -> list[str]:
    """Lines for a chunk that has all keys: exponentials of the scores, not yet divided by their sum, times values."""
    return [
        *t.scored(q, c),
        f"np.maximum.reduce({c.scores}, axis=-1, keepdims=True, out={q.most}, initial={t.least})",
        f"np.subtract({c.scores}, {q.most}, out={c.scores})",
        f"np.exp({c.scores}, out={c.scores})",
        f"np.add.reduce({c.scores}, axis=-1, keepdims=True, out={q.total})",
        *t.dropped(c.scores, c),
        f"np.matmul({c.scores}, {c.values}, out={q.made})",
    ]


def _next_chunk(t: Tiled, q: Queries, c: Chunk) -> list[str]:
    """Lines for one of several chunks: sums of earlier ones are scaled down if the largest score has grown."""
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
    """Lines that divide by the sum of exponentials: at least 1 if the query sees a key, otherwise 0 (taken as 1)."""
    lines = [f"np.maximum({q.total}, 1, out={q.total})"]
    if kept is not None:
        lines += [f"np.log({q.total}, out={kept})", f"np.add({kept}, {q.most}, out={kept})"]
    if t.attrs.dropout:
        lines.append(f"np.multiply({q.total}, {t.k.number(1 - t.attrs.dropout or 1.0)}, out={q.total})")
    return [*lines, f"np.divide({q.made}, {q.total}, out={y})"]
