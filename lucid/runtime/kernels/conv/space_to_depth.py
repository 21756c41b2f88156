"""Strided convolution of few channels by space-to-depth, with minimal filtering along the rows.

A convolution of stride s is one of stride 1 on s² times the channels, with a kernel s times smaller in each direction.
A window's row is then one contiguous run of numbers. Windows that do not overlap are rows of a matrix, so a few
matrices that begin one pixel apart contain all windows, and nothing is gathered. Between rows of windows, F(m, r) saves
products (:mod:`.filtering`): both transforms work on whole rows.

The rounding error is some four times that of a direct sum, and an infinity or NaN spreads over the rows of its tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL
from ....graph.types import CHANNELS_LAST, TensorType, is_float
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, pieces
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, recheck
from ..shared.panels import cut_for, multiply_lines, product_of
from .filtering import ALONG_ONE, Filter, transforms
from .finish import Finish
from .geometry import Layer
from .numbers import attrs_of, conv_of_node, pool_axes
from .space_to_depth_views import SpaceToDepth, StridedViews, bind_pixels, bind_strided, transform_strided_weights

MOST_TILE_ROWS = 4
"""The most rows that one application of the filter computes."""


class StridedCut(NamedTuple):
    """How the work is cut: the rows ``m`` of a tile, and the most tiles of rows of the convolution in a block."""

    m: int
    tiles: int

    def __str__(self) -> str:
        return f"{self.m * self.tiles} rows"


def _numbers(node: Node, inputs: tuple[TensorType, ...], m: int) -> SpaceToDepth:
    """The sizes of a node's convolution with its strides as channels, ``m`` rows at a time."""
    conv = conv_of_node(node, inputs)
    v, h = conv.rows, conv.cols
    across = -(-h.kernel // h.stride)
    columns = -(-(h.count + across - 1) // across) * across
    filter_ = Filter(m, -(-v.kernel // v.stride), 1)
    layer = Layer(conv, pool_axes(node, inputs), False, m, columns)
    return SpaceToDepth(layer, filter_, across, v.stride * h.stride * conv.channels)


def _blocks(layer: Layer, cut: StridedCut, rows: int) -> list[Block]:
    """The blocks: ``rows`` rows of the output of each image."""
    most, pool, conv = cut.m * cut.tiles, layer.pool, layer.conv
    most = most if not pool else (most - pool[0].extent) // pool[0].stride + 1
    return [Block(n, n + 1, a, b, 0, conv.outputs) for n in range(conv.images) for a, b in pieces(rows, most)]


# ---------------------------------------------------------------- choosing the block

TILES = (2, 4, 8, 16)
"""Numbers of applications of the filter in a block that are considered."""


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether strides are smaller than the kernel, without dilation, groups or residual; with any pooling."""
    a, (channels, *kernel), epilogue = attrs_of(node), inputs[1].concrete[1:], Epilogue.of(node, inputs)
    strided = max(a.stride) > 1 and all(size > step for size, step in zip(kernel, a.stride, strict=True))
    if not strided or channels == 0 or a.groups != 1 or a.dilation != (1, 1) or not is_float(inputs[0].dtype):
        return False
    if _most_rows(kernel[0], a.stride[0]) < 2:
        return False
    return epilogue.anywhere and not epilogue.filled and not epilogue.residual


def _most_rows(kernel: int, stride: int) -> int:
    """The rows that the filter computes at a time: as many as its accuracy allows."""
    return max(
        (m for m in range(1, MOST_TILE_ROWS + 1) if Filter(m, -(-kernel // stride), 1).points <= ALONG_ONE), default=0
    )


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """Ways with blocks of several sizes."""
    m = _most_rows(inputs[1].concrete[2], attrs_of(node).stride[0])
    d, rows = _numbers(node, inputs, m), node.outputs[0].concrete[2]
    least = 1 if not d.layer.pool else d.layer.pool[0].extent
    found: dict[tuple[Block, ...], Way] = {}
    for tiles in TILES:
        cut = StridedCut(m, max(tiles, -(-least // m)))
        blocks = tuple(_blocks(d.layer, cut, rows))
        if blocks not in found:
            found[blocks] = Way(_work(node, inputs, d, deal(blocks, threads)), cut)
    return list(found.values())


def _work(node: Node, inputs: tuple[TensorType, ...], d: SpaceToDepth, work: list[list[Block]]) -> Work:
    """The work of the busiest worker."""
    sizes = [[(d.tiles(block), block.r1 - block.r0) for block in mine] for mine in work]
    return Work.of_busiest(sizes, lambda size: _block_work(node, inputs, d, *size))


def _block_work(node: Node, inputs: tuple[TensorType, ...], d: SpaceToDepth, tiles: int, rows: int) -> Work:
    machine, itemsize, epilogue = this_machine(), inputs[0].dtype.itemsize, Epilogue.of(node, inputs)
    n, m, outputs = d.filter.products, d.filter.m, d.layer.conv.outputs
    pixels, held = tiles * d.layer.pitch, d.filter.held(tiles) * d.row
    resident = n * d.depth * outputs * itemsize <= machine.l2 // 2
    product = product_of(machine, pixels // d.across, d.depth, outputs, itemsize, resident)
    memory = held + n * tiles * d.row + (n + m) * pixels * outputs
    inside = memory * itemsize <= 2 * machine.l2
    moved = 2 * n * tiles * d.row + (2 * n + m) * pixels * outputs
    finished = 2 * max(1, epilogue.passes) * m * pixels * outputs
    return Work(
        (product._replace(times=n * d.across),),
        near=(finished + inside * moved) * itemsize,
        far=0 if inside else moved * itemsize,
        straight=held if inputs[0].order == CHANNELS_LAST else 0.0,
        turned=held if inputs[0].order != CHANNELS_LAST else 0.0,
        pixels=0 if epilogue.pool is None else rows * node.outputs[0].concrete[3] * epilogue.pool.kernel[1],
        calls=12,
    )


# ---------------------------------------------------------------- the kernel


@kernel(CONV, CONV_POOL, lowering="space_to_depth", accepts=accepts, ways=ways, exact=False, staged=True)
def space_to_depth(k: Emitter) -> None:
    """For each block: move strides to channels, filter, multiply, sum, pool, add the bias, activate."""
    recheck(k)
    d = _numbers(k.node, tuple(x.type for x in k.ins), k.way.m)
    work = deal(_blocks(d.layer, k.way, k.outs[0].shape[2]), k.threads)
    if not work:
        return
    loop = BlockLoop(k, work)
    finish = Finish(loop, d.layer)
    _convolve(loop, d, finish.held)
    finish.take()
    loop.emit()


def _convolve(loop: BlockLoop[Block], d: SpaceToDepth, made: Sequence[Operand]) -> None:
    """Add the lines that convolve each block."""
    k, (x, w, *_), t = loop.k, loop.k.ins, transforms(d.filter)
    n, outputs, tiles = d.filter.products, d.layer.conv.outputs, max(map(d.tiles, loop.every))
    pixels = loop.zeroed((d.filter.held(tiles) * d.row,), x.dtype, "pixels")
    edges, copies = loop.over(loop.bind("pixels", bind_pixels, d, loop.blocks, pixels, x), "edges", "copies")
    cut = cut_for(k, tiles * d.layer.pitch // d.across, d.depth, outputs)
    with k.once(w):
        packed = k.scratch((n, outputs // cut.width, d.depth, cut.width), x.dtype, "transformed")
        stride = d.layer.conv.rows.stride, d.layer.conv.cols.stride
        k.line(f"{k.use(transform_strided_weights)}({k.use(d.filter, f'{k.name}_filter')}, {stride}, {w}, {packed})")
    after_last = d.depth - d.channels  # the last windows read beyond the last row
    filtered = loop.scratch((n * tiles * d.row + after_last,), x.dtype, "filtered")
    sums = loop.scratch((n * tiles * d.layer.pitch * outputs,), x.dtype, "sums")
    memory = tuple(zip(pixels, filtered, sums, made, strict=True))
    v = loop.parts(loop.bind("views", bind_strided, d, loop.blocks, memory, packed, cut.rows), StridedViews)
    before, after = (
        k.use(matrix.astype(x.dtype), name)
        for matrix, name in ((t.inputs, "input_transform"), (t.outputs, "output_transform"))
    )
    edge, target, source = loop.fresh("edge", "target", "source")
    loop.for_each((edge,), edges, f"{edge}.fill(0)")
    loop.for_each((target, source), copies, f"{target}[...] = {source}")
    loop.line(
        f"np.matmul({before}, {v.pixels}, out={v.filtered})",
        multiply_lines(k, v.products),
        f"np.matmul({after}, {v.sums}, out={v.made})",
    )
