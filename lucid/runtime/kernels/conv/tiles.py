"""Images as tiles: cutting these into blocks, and their transform along both axes, block by block."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...program.emitter import Operand
from ..shared.cut import NONE, Block, Grid, even_runs
from ..shared.loop import BlockLoop, Bound
from ..shared.panels import unpacked
from .tiles_views import Tiles, Transform, bind_transforms

CANDIDATES = (7, 14, 28, 56, 112, 196, 392)
"""Numbers of tiles of a block that are considered."""


def tile_blocks(images: int, down: int, right: int, outputs: int, tiles: int, ranges: int, workers: int) -> Grid:
    """All tiles in blocks of about ``tiles``, equally many for each worker; range by range of the outputs."""
    per_image = down * right
    if not images * per_image * outputs:
        return NONE
    each = workers // math.gcd(workers, ranges)
    if tiles >= per_image:
        return Grid(even_runs(images, tiles // per_image, 1, each), (down, 1), (outputs, ranges))
    rows = even_runs(down, tiles // right, 1, each // math.gcd(each, images))
    return Grid((images, images), rows, (outputs, ranges))


def transform(
    loop: BlockLoop[Block], t: Tiles, x: Operand, memory: Sequence[Sequence[Operand]], matrix: str, source: str,
    whole: Operand | None = None,
) -> Bound:  # fmt: skip
    """Let the loop transform the tiles of each block of ``x``; ``source`` binds the part that a block reads.

    The results are in the second of a worker's three buffers or, for all blocks together, in ``whole``.
    """
    bound = loop.bind("transform", bind_transforms, t, loop.blocks, memory, x.shape[2:], unpacked(x.dtype), whole)
    v, (edge,) = loop.parts(bound, Transform), loop.fresh("edge")
    loop.line(
        f"for {edge} in {v.edges}:\n    {edge}.fill(0)",
        f"{v.inside}[...] = {source}",
        f"np.matmul({matrix}, {v.rows}, out={v.by_rows})",
        f"{v.tiles}[...] = {v.seen}",
        f"np.matmul({matrix}, {v.lines}, out={v.by_lines})",
    )
    return bound


def transform_work(t: Tiles, work: Sequence[Block], tile_rows: int) -> int:
    """How many numbers the transform reads and writes."""
    return 2 * (t.slab(work) + t.by_rows(tile_rows)) + 3 * t.gathered(tile_rows) + t.numbers(tile_rows)
