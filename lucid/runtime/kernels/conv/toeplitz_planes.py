"""Convolution of few channels by the transposed block-Toeplitz product: each output's results are contiguous.

Here a row of the product is one output of all tiles of a block (a *plane*). The pooling, the bias and the activation
run along planes; in :mod:`.toeplitz` they start an inner loop for each tile, which takes longer than its few numbers.

Patches of channels-last images are gathered as in :mod:`.toeplitz`. Other images are first split into *parts* (phases):
pixels that are a tile's step apart become adjacent. One pixel of all patches in some rows of tiles is then a single
run, and the window matrix is gathered by one long copy for each pixel of a patch. The run includes some patches across
the border, between one row of tiles and the next, whose results are dropped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL
from ....graph.types import TensorType
from ...planning.machine import Machine, kept_for_machine, this_machine
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, bind_memory, deal
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, Bound, channels_last, recheck
from ..shared.panels import cut_for, multiply_lines, product_of
from . import toeplitz
from .toeplitz import KEPT_NODES, MOST_CHANNELS, best_ways, bias_of, gather_patches, pack, room_of
from .toeplitz_planes_views import (
    Gathering,
    Planes,
    bind_ends,
    bind_gathering,
    bind_parts,
    bind_planes,
    bind_right_sides,
    columns_of,
    groups_of,
    length,
    parts_shape,
    phases,
    run_of,
)
from .toeplitz_views import Toeplitz, Windows, bind_batches, bind_windows

# ---------------------------------------------------------------- choosing the tile and the block


def _work(t: Toeplitz, b: Block, itemsize: int, machine: Machine, last: bool) -> Work:
    """The work of a block; ``last`` says that results are channels last."""
    columns, width, images = columns_of(t, b), t.taps * t.made, b.n1 - b.n0
    resident = t.depth * width * itemsize <= machine.l2 // 2
    inside = columns * (t.depth + width) * itemsize <= machine.l2
    g, (pitch, run) = _gathered(t, b), run_of(t, b)
    smooth = (2 * (width + t.made) * columns + g.smooth) * itemsize
    numbers, few = t.made * images * run, t.outputs <= MOST_CHANNELS
    ends = t.made * images * (1 if pitch == t.cols.patches.count and not last else b.r1 - b.r0)
    return Work(
        products=(product_of(machine, columns, t.depth, -(-width // 8) * 8, itemsize, resident),),
        near=g.moved * itemsize if inside else 0.0,
        far=0.0 if inside else smooth + g.moved * itemsize,
        smooth=smooth if inside else 0.0,
        straight=0.0 if last else numbers,
        turned=g.apart + (numbers if last and few else 0.0),
        scattered=numbers if last and not few else 0.0,
        loops=ends + g.loops,
        calls=(3 + (t.taps - 1).bit_length() + t.rows.tile * t.cols.tile + g.calls) / 2,  # of so small arrays
    )


class Gathered(NamedTuple):
    """The work of gathering the windows of a block.

    Attributes
    ----------
    smooth, moved
        Numbers that are read and written, along planes and otherwise.
    apart
        Numbers that are copied with a stride.
    """

    smooth: int
    moved: int
    apart: int
    loops: int
    calls: int


def _gathered(t: Toeplitz, b: Block) -> Gathered:
    rows, cols, windows = t.rows.patches, t.cols.patches, 2 * columns_of(t, b) * t.depth
    if t.last:
        tiles = t.tiles(b)
        copied = 0 if t.inside else tiles * rows.stride * cols.stride * t.channels
        return Gathered(0, windows + 2 * copied, 0, tiles * rows.kernel, 1)
    images = b.n1 - b.n0
    parts = images * t.channels * length(rows, b.r1 - b.r0) * phases(rows) * phases(cols)
    pixels = parts * length(cols, cols.count)
    apart, calls = pixels if phases(cols) > 1 else 0, len(groups_of(rows)) * len(groups_of(cols))
    return Gathered(windows, 2 * pixels, apart, parts + images * t.depth, calls)


@kept_for_machine(KEPT_NODES)
def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    machine, itemsize, last = this_machine(), inputs[0].dtype.itemsize, node.outputs[0].order is not None
    return best_ways(node, inputs, threads, lambda t, b: _work(t, b, itemsize, machine, last))


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """As for the other block-Toeplitz product; without pooling, only few outputs, as these are copied once more."""
    pooled = Epilogue.of(node, inputs).pool is not None
    return toeplitz.accepts(node, inputs) and (pooled or inputs[1].concrete[0] <= MOST_CHANNELS)


# ---------------------------------------------------------------- the parts of the kernel


def _windows(loop: BlockLoop[Block], t: Toeplitz, columns: int) -> Bound:
    """Let the loop gather the window matrix (columns, depth) of each block."""
    memory = loop.scratch((t.depth * columns,), loop.k.ins[0].dtype, "windows")
    if not t.last:
        return _by_parts(loop, t, memory)
    seen = gather_patches(loop, t)
    windows = loop.bind("matrices", bind_windows, t, loop.blocks, memory)
    loop.line(f"{loop.parts(windows, Windows).cells}[...] = {seen}")
    return windows


def _by_parts(loop: BlockLoop[Block], t: Toeplitz, memory: tuple[Operand, ...]) -> Bound:
    """Let the loop split the pixels into parts, and gather the windows from these."""
    x, (images, rows, whole) = loop.k.ins[0], room_of(loop, t)
    parts = (loop.zeroed if whole else loop.scratch)((math.prod(parts_shape(t, images, rows)),), x.dtype, "parts")
    parting = loop.each("parting", bind_parts, t, loop.blocks, parts, x)
    if not whole and not t.inside:
        loop.line(f"{loop.each('own', bind_memory, loop.blocks, parts)}.fill(0)")
    both = tuple(zip(parts, memory, strict=True))
    windows = loop.bind("windows", bind_gathering, t, loop.blocks, both)
    target, value = loop.fresh("target", "value")
    for copies in (parting, loop.parts(windows, Gathering).copies):
        loop.for_each([target, value], copies, f"{target}[...] = {value}")
    return windows


def _finish(loop: BlockLoop[Block], epilogue: Epilogue, p: Planes, shape: tuple[int, int], ends: str) -> None:
    """Let the loop add the bias, activate, and copy to the output.

    If rows of the output are long, the activation writes to it directly; for short ones, a plain copy starts in a third
    of the time.
    """
    at_once = loop.k.way.toeplitz.last and not channels_last(loop.k.outs[0])
    target, value, low = loop.fresh("target", "value", "low")
    source, place = (value, target) if at_once else (p.results, p.results)
    if epilogue.floor:
        lines = [f"{epilogue.combine}({source}, {low if at_once else p.bias}, out={place})"]
    else:
        loop.line(*epilogue.terms(p.results, p.bias if epilogue.shift else None))
        lines = epilogue.activation_lines(loop, source, shape, place)
    if not at_once or not lines:
        loop.line(*lines)
        lines = [f"{target}[...] = {value}"]
    loop.for_each([target, value, low], ends, *lines)


# ---------------------------------------------------------------- the kernel


@kernel(CONV, CONV_POOL, lowering="toeplitz_planes", accepts=accepts, exact=False, ways=ways, staged=True, ordered=True)
def toeplitz_planes(k: Emitter) -> None:
    """For each block: split the pixels into parts, gather patches, multiply, pool, add the bias, activate."""
    recheck(k)
    (t, most, workers), y = k.way, k.outs[0]
    work = deal(list(t.blocks(most)), workers)
    if not work:
        return
    loop, epilogue = BlockLoop(k, work), Epilogue.of(k.node, k.ins)
    columns, width = max(columns_of(t, b) for b in loop.every), t.taps * t.made
    windows, shift = _windows(loop, t, columns), bias_of(k, t, columns, turned=True)
    memory = loop.scratch((width * columns,), y.dtype, "planes")
    planes = loop.bind("planes", bind_planes, t, loop.blocks, memory, shift)
    p = loop.parts(planes, Planes)
    cut = cut_for(k, columns, t.depth, width)
    packed, panels = pack(k, t, cut.width)
    if panels is packed and cut.rows >= columns:
        turned = k.view(packed, f"{packed}.T", (width, t.depth), label="turned")
        loop.line(f"{turned}.dot({loop.each('right', bind_right_sides, windows)}, out={p.turned})")
    else:
        loop.line(multiply_lines(k, loop.each("batch", bind_batches, windows, planes, panels, cut.rows)))
    a, b = loop.fresh("a", "b")
    loop.for_each([a, b], p.steps, f"np.maximum({a}, {b}, out={a})")
    ends = loop.each("end", bind_ends, t, loop.blocks, memory, shift if epilogue.floor else None, y)
    _finish(loop, epilogue, p, (t.made, columns), ends)
    loop.emit()
