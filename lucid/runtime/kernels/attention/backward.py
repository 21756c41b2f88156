"""The gradient of attention, tile by tile (Dao et al., 2022).

The shares (softmax of the scores) are recomputed from the logarithm of the sum of exponentials, which the forward pass
keeps for each query.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....graph.ir import Node
from ....graph.ops.attention_op import ATTENTION_GRAD, AttentionAttrs
from ....graph.types import TensorType
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import deal
from ..shared.loop import Bound
from .operands import by_rows, hand_over, laid_by_rows, mask_shape, target_by_rows
from .tiled import Tiled
from .tiles import Sizes, Tiling, scores_of, tiles, tilings, work_of
from .tiles_views import Chunk, Queries, Slopes, Tile, add_over, bind_rows, bind_slopes

BUFFERS, PASSES = 2, 16
"""Buffers of the size of a tile of scores that are in use at once, and how often one is read or written."""


def _work(s: Sizes, tiling: Tiling, attrs: AttentionAttrs) -> list[list[Tile]]:
    """The tiles of each worker; one worker gets all tiles of the same heads, as they add to the same results."""
    return [[tile for heads in share for tile in heads] for share in deal(tiles(s, tiling, attrs), tiling.workers)]


def _ways(node: Node[AttentionAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """As for attention; but if the mask has a gradient, to which all heads add, for one worker."""
    s, ways = Sizes.of(inputs), []
    products = [(s.features, 3), (s.values, 2)]
    for tiling in tilings(s, threads, node.attrs, BUFFERS, alone=len(node.outputs) > 3):
        sizes = [[tile.size for tile in share] for share in _work(s, tiling, node.attrs)]
        work = Work.of_busiest(sizes, lambda size: work_of(s, size, products, PASSES, BUFFERS), scores_of)
        ways.append(Way(work, tiling))
    return ways


@kernel(ATTENTION_GRAD, ways=_ways, staged=True)
def attention_grad(k: Emitter[AttentionAttrs]) -> None:
    """For each chunk of keys: the shares, their gradient, that of the scores, and what these add to the results."""
    s, outs = Sizes.of(k.ins), (*k.outs, None)[:4]
    work = _work(s, k.way, k.attrs)
    results = laid_by_rows(k, *outs)
    plain = all(len(share) == len({tile.lead for tile in share}) for share in work) and all(
        tile.chunks == ((0, s.keys),) for share in work for tile in share
    )
    for number, y in enumerate(results):
        if y is not None and (not work or number == 3 or (number > 0 and not plain)):
            k.line(f"{y}.fill(0)")
    if work:
        Backward(k, s, work, plain).emit(results)
    hand_over(k, results, outs)


class Backward(Tiled):
    """The loop over tiles of the gradient.

    If it is ``plain``, with one tile for all rows and keys of a head, the gradients of keys and values are written by
    one product; otherwise products are added to them.
    """

    def __init__(self, k: Emitter[AttentionAttrs], s: Sizes, work: Sequence[Sequence[Tile]], plain: bool) -> None:
        super().__init__(k, s, work)
        self.plain = plain

    def emit(self, results: Sequence[Operand | None]) -> None:
        """Write the loop; a result that nothing reads is None."""
        k, s, loop = self.k, self.s, self.loop
        dq, dk, dv, dmask = results
        query, *rest = (by_rows(k, s, x, "rows") for x in (k.ins[0], *k.ins[-3:]))
        q = self.queries(query, s.features, s.values)
        target = None if dq is None else target_by_rows(k, s, dq)
        rows = loop.bind("rows", bind_rows, loop.blocks, *rest, target)
        y, kept, dy, dq_rows = loop.over(rows, "y", "kept", "dy", "dq")
        bound = self._slopes(self.chunks(self.memory(self.scores, "scores")), dk, dv, dmask)
        names = loop.fresh(*Chunk._fields, *Slopes._fields)
        c, d = Chunk._make(names[: len(Chunk._fields)]), Slopes._make(names[len(Chunk._fields) :])
        loop.line(
            *self.begin(q),
            f"np.multiply({dy}, {y}, out={q.more})",
            f"np.add.reduce({q.more}, axis=-1, keepdims=True, out={q.part})",
            *([] if self.single or dq is None else [f"{q.made}.fill(0)"]),
        )
        lines = [*self._shares(q, c, d, kept), *self._of_scores(q, c, d, dy)]
        if dv is not None:
            lines += [*self._kept(c.scores, c), *self._added(f"{d.turned}, {dy}", d.dvalues, d.more_values, self.plain)]
        if dmask is not None:
            lines.append(f"{k.use(add_over)}({d.split_d}, {d.more_mask}, {d.dmask})")
        if k.attrs.cap:
            lines.append(f"np.multiply({d.d}, {d.bend}, out={d.d})")
        if dk is not None:
            lines += self._added(f"{d.turned_d}, {q.scaled}", d.dkeys, d.more_keys, self.plain)
        if dq is not None:
            lines += self._added(f"{d.d}, {c.keys}", q.made, d.more_query, self.single)
        self.each_chunk(bound, names, *lines)
        if dq is not None:
            loop.line(f"np.multiply({q.made}, {k.number(k.attrs.scale)}, out={dq_rows})")
        loop.emit()

    def _slopes(self, chunks: Bound, dk: Operand | None, dv: Operand | None, dmask: Operand | None) -> Bound:
        """Bind the views of each chunk: those of :class:`Chunk`, then those of :class:`Slopes`."""
        k, s, loop, bend, sums = self.k, self.s, self.loop, None, None
        if k.attrs.cap:
            bend = self.memory(self.scores, "bend")
        if dmask is not None:
            sums = self.memory(self.scores, "sums")
            dmask = k.target(dmask, mask_shape(s, dmask.shape), "dmask")
        heads = max(tile.size[0] * tile.widest for tile in loop.every)
        more = self.memory(max(heads * max(s.features, s.values), self.rows * s.features), "more")
        d = self.memory(self.scores, "d")
        return loop.bind(
            "slopes", bind_slopes, loop.blocks, self.single, s.features, chunks, (dk, dv, dmask), d, more, bend, sums
        )

    def _shares(self, q: Queries, c: Chunk, d: Slopes, kept: str) -> list[str]:
        """Lines that compute the shares, and the derivative of the cap (1 - tanh²) at the scores."""
        bent = [] if not self.attrs.cap else [
            f"np.multiply({c.scores}, {c.scores}, out={d.bend})",
            f"np.subtract(1, {d.bend}, out={d.bend})",
        ]  # fmt: skip
        return [
            *self.scored(q, c, *bent),
            f"np.subtract({c.scores}, {kept}, out={c.scores})",
            f"np.exp({c.scores}, out={c.scores})",
        ]

    def _of_scores(self, q: Queries, c: Chunk, d: Slopes, dy: str) -> list[str]:
        """Lines that compute the gradient of the masked scores."""
        return [
            f"np.matmul({dy}, {d.rows}, out={d.d})",
            *self._kept(d.d, c),
            f"np.subtract({d.d}, {q.part}, out={d.d})",
            f"np.multiply({d.d}, {c.scores}, out={d.d})",
        ]

    def _kept(self, x: object, c: Chunk) -> list[str]:
        """Lines that apply the dropout to shares or to their gradient: zeros, and the rest scaled by 1 / (1 - p)."""
        p = self.attrs.dropout
        return [f"np.multiply({x}, {self.k.number(1 / (1 - p))}, out={x})", *self.dropped(x, c)] if 0 < p < 1 else (
            self.dropped(x, c)
        )  # fmt: skip

    @staticmethod
    def _added(factors: str, total: object, more: object, whole: bool) -> list[str]:
        """Lines that write a product to ``total`` if it is the ``whole`` result, or else add it, by way of ``more``."""
        if whole:
            return [f"np.matmul({factors}, out={total})"]
        return [f"np.matmul({factors}, out={more})", f"np.add({total}, {more}, out={total})"]
