"""1x1 convolution of channels-last images: the pixels are the rows of one product (:mod:`..shared.rows`).

Groups are products of parts of the rows, which BLAS reads and writes in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import pieces
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, laid_out, recheck
from ..shared.rows import Rows, cuts, most_rows, multiply_rows, row_runs
from ..shared.rows_views import Piece
from .numbers import attrs_of, convolved
from .pointwise import is_pointwise
from .pointwise_blocks_views import Thinned, bind_thin


def _rows(node: Node, inputs: Sequence[Any], y: Sequence[int]) -> Rows:
    """The sizes of the product for a result of this shape."""
    passes, groups = Epilogue.of(node, inputs).passes, attrs_of(node).groups
    return Rows(y[0] * y[2] * y[3], inputs[1].shape[1], y[1], passes, groups)


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether it is 1x1 without padding or pooling, and input and output are channels last."""
    last = inputs[0].order == node.outputs[0].order == CHANNELS_LAST
    epilogue = Epilogue.of(node, inputs)
    return last and is_pointwise(node, inputs) and epilogue.pool is None and epilogue.anywhere


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """By pixels or by outputs. Pieces that gather strided pixels have whole rows of an image."""
    itemsize, shape = inputs[0].dtype.itemsize, convolved(node, inputs)
    p, (n, _, rows, cols) = _rows(node, inputs, shape), shape
    if attrs_of(node).stride == (1, 1):
        return [Way(work, cut) for cut, work in cuts(p, row_runs(p, itemsize, threads), itemsize, threads).items()]
    inside = pieces(rows, max(1, most_rows(p, itemsize) // cols))
    runs = [((image * rows + a) * cols, (image * rows + b) * cols) for image in range(n) for a, b in inside]
    gather = Work(near=2 * p.rows * p.numbers * itemsize, loops=p.rows)
    return [
        Way(work + gather * (1 if cut.by_outputs(p) else 1 / max(1, len(cut.pieces))), cut)
        for cut, work in cuts(p, runs, itemsize, threads).items()
    ]


@kernel(CONV, CONV_POOL, lowering="pointwise_blocks", accepts=accepts, ways=ways, staged=True)
def pointwise_blocks(k: Emitter) -> None:
    """For each piece: multiply, add the bias and the residual, activate."""
    recheck(k)
    (y,) = k.outs
    p = _rows(k.node, k.ins, y.shape)
    bias, residual = bias_and_residual(k.attrs, k.ins)
    added = None if residual is None else pixels_of(k, laid_out(k, residual, True, "residual"))
    made = pixels_of(k, y)
    if p.rows and p.outputs:
        loop = BlockLoop(k, k.way.pieces)
        thinned = attrs_of(k.node).stride != (1, 1)
        pixels = _thinned(loop, p) if thinned else pixels_of(k, laid_out(k, k.ins[0], True, "pixels"))
        multiply_rows(loop, p, pixels, made, bias, added)


def pixels_of(k: Emitter, x: Operand) -> Operand:
    """A channels-last image as a matrix (pixels, channels)."""
    n, channels, *size = x.shape
    return k.target(k.permuted(x, CHANNELS_LAST), (n * math.prod(size), channels), "rows")


def _thinned(loop: BlockLoop[Piece], p: Rows) -> Operand:
    """The pixels that a strided convolution reads: gathered by each piece, or in advance if all pieces read all."""
    k, x = loop.k, loop.k.ins[0]
    thin = k.scratch((p.rows, p.numbers), x.dtype, "thin")
    views = loop.bind("thinned", bind_thin, attrs_of(k.node).stride, k.outs[0].shape[2:], loop.blocks, x, thin)
    if k.way.by_outputs(p):
        k.line(f"np.copyto(*{views}[0][0])")
    else:
        v = loop.parts(views, Thinned)
        loop.line(f"{v.thin}[...] = {v.source}")
    return thin
