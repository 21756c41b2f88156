"""Max pooling block by block: over rows first, then over columns."""

from __future__ import annotations

from ....base.arrays import Array
from ....graph.ir import Node
from ....graph.ops.pool import MAX_POOL, MaxPoolAttrs
from ....graph.types import TensorType
from ....graph.windows import Axis
from ...planning.machine import this_machine
from ...planning.registry import kernel
from ...planning.work import NOTHING, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, image_blocks, largest, per_block
from ..shared.loop import BlockLoop, recheck
from ..shared.pooling import competing, lowest, pooling_axes
from ..shared.pooling_views import Step, bind_steps, padding_steps, window_steps

BLOCK_BYTES = 1 << 19
"""Bytes of a block's input, which stays in the L2 cache."""


def axes_of_node(node: Node[MaxPoolAttrs], x: TensorType) -> tuple[Axis, Axis]:
    """The axes of a pooling's input."""
    return pooling_axes(node.attrs, x.concrete, node.outputs[0].concrete[2:])


def blocks_of(x: TensorType, rows: Axis, cols: Axis) -> list[Block]:
    """Blocks of a pooling's windows."""
    n, c, *_ = x.concrete
    per_row = x.dtype.itemsize * rows.size * cols.size // rows.count + 1
    return image_blocks(n, c, rows.count, per_row, BLOCK_BYTES, x.order is not None)


def _work(node: Node[MaxPoolAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (x,), (rows, cols) = inputs, axes_of_node(node, inputs[0])
    if 0 in (*x.concrete, *node.outputs[0].concrete):
        return NOTHING
    n, c, *_ = x.concrete
    images, inner = (n * c, 1) if x.order is None else (n, c)
    lines, blocks, down, across = images * rows.count, len(blocks_of(x, rows, cols)), rows.kernel - 1, cols.kernel - 1
    loops = begun(x, lines * (down + across * (1 if inner == 1 else cols.count)))
    joined = lines * down * cols.size * inner
    made = lines * across * cols.count * inner
    maxima = Work(apart=made) if inner == 1 else in_runs(x, made)
    calls = Work(calls=blocks * (rows.kernel + cols.kernel))
    return (loops + in_runs(x, joined) + maxima + calls) * (1 / min(threads, blocks))


def begun(x: TensorType, loops: int) -> Work:
    """The work of starting inner loops over rows of ``x``."""
    return Work(loops=loops) if x.nbytes < this_machine().l2 else Work(far_loops=loops)


def in_runs(x: TensorType, numbers: float) -> Work:
    """The work of a maximum or copy of contiguous numbers of ``x``."""
    return Work(numbers=numbers * x.dtype.itemsize / 4)


def _only_maxima(node: Node[MaxPoolAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return len(node.outputs) == 1


@kernel(MAX_POOL, lowering="windows", accepts=_only_maxima, cost=_work)
def max_pool(k: Emitter) -> None:
    """The maximum over rows, and then over columns."""
    recheck(k)
    (x,), a = k.ins, k.attrs
    axes = pooling_axes(a, x.shape, k.outs[0].shape[2:])
    work = deal(blocks_of(x.type, *axes), k.threads)
    if work:
        loop = BlockLoop(k, work)
        reduce_windows(loop, "np.maximum", axes, lowest(x.dtype), competing(a, x.dtype))
        loop.emit()


def reduce_windows(
    loop: BlockLoop[Block], function: str, axes: tuple[Axis, Axis], neutral: Array, pad: Array | None = None
) -> None:
    """Add lines that reduce the windows of each block, first over rows; ``pad`` is the value of padding that counts."""
    k, (rows, cols) = loop.k, axes
    (x,), y = k.ins, k.outs[0]
    held: tuple[Operand | None, ...] = (None,) * len(loop.work)

    def steps(block: Block) -> list[Step]:
        return [*window_steps(rows, cols, block), *(() if pad is None else padding_steps(rows, cols, block))]

    if rows.kernel > 1 and cols.kernel > 1:
        held = loop.scratch((*largest(loop.every), cols.size), x.dtype, "rows", x.type.order)
    program = k.use(per_block(steps, loop.work), f"{k.name}_steps")
    (mine,) = loop.over(loop.bind("windows", bind_steps, program, x, held, y, neutral, pad), "steps")
    out, a, b = loop.fresh("out", "a", "b")
    loop.for_each((out, a, b), mine, f"{function}({a}, {b}, out={out})")
