"""Convolution by blocks: gather the windows of some output rows into a matrix that fits the cache, multiply, finish."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL
from ....graph.types import CHANNELS_LAST, TensorType
from ....graph.windows import side_by_side
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Work, shared_by
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, even_pieces, largest
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, Bound, channels_last, recheck
from ..shared.panels import Blocking, cut_for, multiply_lines, product_of
from ..shared.rows import LEAST_ROWS
from .finish import Finish
from .geometry import FEW_CHANNELS, Conv, Layer
from .im2col_views import (
    Gather,
    Turned,
    bind_by_channel,
    bind_gather,
    bind_padded,
    bind_sources,
    bind_window_products,
    matrices_of,
)
from .numbers import conv_of_node, pool_axes
from .weights import make_weights, packing
from .weights_views import pack_weights

BLOCK_BYTES = 1 << 20
"""Bytes of a block's window matrix, or of its product if that is wider: the size of a common L2 cache. With half as
much, more calls take 5 to 10 per cent longer."""

SHORT_RUN = 8
"""Length of a window's row from which copying row by row is as fast as copying along rows of pixels."""


# ---------------------------------------------------------------- how the work is cut


def blocks_of(
    conv: Conv, rows: int, pixels_per_row: int, itemsize: int, *, overlap: bool = False, workers: int = 1
) -> list[Block]:
    """``rows`` rows of output, each of ``pixels_per_row`` rows of the window matrix, cut into blocks of one group.

    All workers get equally many blocks, unless these would be too small. ``overlap`` says that adjacent blocks compute
    some rows twice; blocks are then larger.
    """
    if not conv.images * rows * pixels_per_row * conv.outputs:
        return []
    streamed = conv.taps * conv.group_out * itemsize > this_machine().l2
    least = 2 * LEAST_ROWS if streamed else LEAST_ROWS  # each block streams the weights from memory
    most = max(least, (2 if overlap else 1) * BLOCK_BYTES // (max(conv.taps, conv.group_out) * itemsize))
    return _cut(conv, rows, pixels_per_row, most, workers)


def _cut(conv: Conv, rows: int, pixels_per_row: int, most: int, workers: int = 1) -> list[Block]:
    """Blocks of at most about ``most`` rows of the window matrix."""
    image, each = rows * pixels_per_row, workers // math.gcd(workers, conv.groups)
    if image <= most:
        images = even_pieces(conv.images, most // image, -(-LEAST_ROWS // image), each)
        cuts = [(a, b, 0, rows) for a, b in images]
    else:
        few = each // math.gcd(each, conv.images)
        inside = even_pieces(rows, most // pixels_per_row, -(-LEAST_ROWS // pixels_per_row), few)
        cuts = [(n, n + 1, a, b) for n in range(conv.images) for a, b in inside]
    return [Block(*cut, c, c + conv.group_out) for c in range(0, conv.outputs, conv.group_out) for cut in cuts]


def plain_blocks(conv: Conv, itemsize: int, workers: int = 1) -> list[Block]:
    """Blocks of a convolution without pooling."""
    return blocks_of(conv, conv.rows.count, conv.cols.count, itemsize, workers=workers)


def pixel_blocks(conv: Conv, most: int) -> list[Block]:
    """Blocks of at most about ``most`` pixels."""
    return _cut(conv, conv.rows.count, conv.cols.count, most) if conv.pixels * conv.outputs else []


def _blocks(layer: Layer, itemsize: int, workers: int) -> list[Block]:
    conv = layer.conv
    if not layer.pool:
        return plain_blocks(conv, itemsize, workers)
    rows = layer.pool[0]
    per_row = min(conv.rows.count, rows.stride) * conv.cols.count
    return blocks_of(conv, rows.count, per_row, itemsize, overlap=rows.extent > rows.stride, workers=workers)


def _standing(conv: Conv) -> Conv:
    """The convolution with rows and columns exchanged if the result has one row, since blocks are cut from rows."""
    rows = conv.rows
    one_row = rows.size == rows.kernel == rows.count == 1 and not rows.before and conv.cols.count > 1
    return replace(conv, rows=conv.cols, cols=rows) if one_row else conv


def stand(k: Emitter) -> None:
    """Let the kernel view images with rows and columns exchanged, so that one row is one column; not the weight."""

    def seen(a: Operand) -> Operand:
        n, c, h, w = a.shape
        order, contiguous = a.type.order, a.contiguous and 1 in (h, w)
        return k.view(a, f"{a}.transpose(0, 1, 3, 2)", (n, c, w, h), order=order, contiguous=contiguous, label="column")

    x, w, *rest = k.ins
    k.ins = (seen(x), w, *(seen(a) if a.type.rank == 4 else a for a in rest))
    k.outs = [seen(k.outs[0])]


def _layer(node: Node, inputs: tuple[TensorType, ...]) -> Layer:
    conv, pool = conv_of_node(node, inputs), pool_axes(node, inputs)
    by_taps = side_by_side(pool) and math.prod(axis.kernel for axis in pool) > 1
    if by_taps:  # the rest of a row is read by no window
        conv = replace(conv, cols=replace(conv.cols, count=pool[1].count * pool[1].kernel))
    conv = conv if pool else _standing(conv)
    return Layer(conv, pool, by_taps, 1, conv.cols.count)


# ---------------------------------------------------------------- the kernel


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether the padding, if any, is zero."""
    epilogue = Epilogue.of(node, inputs)
    return epilogue.runs and not epilogue.filled


def accepts_stored(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether the weight can be read in place: it has several taps, and windows are gathered row by row."""
    conv = conv_of_node(node, inputs)
    return accepts(node, inputs) and not conv.single and not in_planes(conv, inputs[0])


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int, *, stored: bool = False) -> list[Way]:
    """Windows are gathered and multiplied by blocks that the threads share; each block streams the weights."""
    machine, itemsize = this_machine(), inputs[0].dtype.itemsize
    conv = conv_of_node(node, inputs)
    blocks = len(plain_blocks(_standing(conv), itemsize, threads))
    if not blocks:
        return [Way(NOTHING)]
    pixels, resident = conv.pixels * conv.groups // blocks, conv.group_out * conv.taps * itemsize <= machine.l2 // 2
    product = product_of(machine, pixels, conv.taps, conv.group_out, itemsize, resident)
    passed = _passing(node, inputs, conv) + (turning(conv) if stored else NOTHING)
    one = passed * (1 / blocks) + Work(
        (product._replace(packed=True) if stored else product,),
        calls=2 + stored + Epilogue.of(node, inputs).passes,
        far=inputs[1].nbytes if stored else 0,  # BLAS packs them before it multiplies
    )
    if stored:
        return [Way(one.shared(blocks, threads), f"{pixels} pixels")]
    once, _ = shared_by(packing(inputs[1].concrete), threads, machine)
    return [Way(one.shared(blocks, threads), f"{pixels} pixels", once)]


def turning(conv: Conv) -> Work:
    """The work of reordering windows such that the taps of each channel are adjacent."""
    return Work(straight=conv.pixels * conv.taps * conv.groups)


def _passing(node: Node, inputs: tuple[TensorType, ...], conv: Conv) -> Work:
    """The work besides the product: gathering windows, and finishing and pooling results, all in the cache."""
    y, axes, passes = node.outputs[0], pool_axes(node, inputs), Epilogue.of(node, inputs).passes
    results = math.prod(y.concrete)
    # the pooling reads the whole product, later steps only its results
    passed = (passes - 1) * results + conv.pixels * conv.outputs if axes else passes * results
    across = axes[1].kernel if axes and side_by_side(axes) else 1
    return gathering(conv, inputs[0], in_planes(conv, inputs[0]), across) + Work(
        near=2 * passed * inputs[0].dtype.itemsize,
        straight=0 if y.order == CHANNELS_LAST else results,
        pixels=0 if side_by_side(axes) else results // conv.outputs * axes[1].kernel * conv.groups,
    )


def in_planes(conv: Conv, x: TensorType, most: int = SHORT_RUN) -> bool:
    """Whether windows are better gathered from planes: their rows are shorter than ``most``, unlike rows of pixels."""
    adjacent = x.order is None or conv.channels == 1
    return adjacent and conv.cols.kernel * conv.group_in < min(most, conv.cols.count)


def gathering(conv: Conv, x: TensorType, planes: bool, across: int = 1) -> Work:
    """The work of gathering the windows of all groups: tap by tap from ``planes``, or row by row of a window.

    ``across`` is the distance, in pixels, of the pixels of a row that are copied together.
    """
    if planes:
        numbers, runs = conv.pixels * conv.taps * conv.groups, conv.images * conv.rows.count * across
        return Work(
            near=2 * x.nbytes + numbers * x.dtype.itemsize,
            straight=numbers if conv.cols.stride * across > 1 else 0,
            loops=math.prod(x.concrete[:3]) + runs * conv.taps * conv.groups,
        )
    together = conv.cols.dilation == 1
    runs = conv.pixels * conv.rows.kernel * conv.groups * (1 if together else conv.cols.kernel)
    single = conv.group_in * (conv.cols.kernel if together else 1) == 1  # numbers are copied along another axis
    turned = 0 if x.order == CHANNELS_LAST else math.prod(x.concrete)
    return Work(
        near=conv.pixels * conv.taps * conv.groups * x.dtype.itemsize,
        loops=0 if single else runs,
        turned=turned + (runs if single else 0),
    )


@kernel(CONV, CONV_POOL, lowering="im2col", accepts=accepts, ways=ways, staged=True, ordered=True)
def im2col(k: Emitter) -> None:
    """For each block: gather, multiply, pool, add the bias and the residual, activate."""
    _convolve(k, stored=False)


@kernel(
    CONV, CONV_POOL, lowering="im2col_by_channel", accepts=accepts_stored, ways=partial(ways, stored=True), staged=True,
    ordered=True, reads_stored_weights=True,
)  # fmt: skip
def im2col_by_channel(k: Emitter) -> None:
    """The same with weights read in place, for weights that change at each run: packing them would not pay."""
    _convolve(k, stored=True)


def _convolve(k: Emitter, *, stored: bool) -> None:
    recheck(k)
    types = tuple(x.type for x in k.ins)
    layer = _layer(k.node, types)
    if layer.conv.rows.size != types[0].concrete[2]:
        stand(k)
    emit(k, layer, stored=stored)


def emit(k: Emitter, layer: Layer, *, flipped: bool = False, stored: bool = False) -> None:
    """The loop over the blocks of a node's result.

    ``flipped`` as for :func:`.pack_weights`; ``stored`` says that weights are read in place instead of packed.
    """
    work = deal(_blocks(layer, k.ins[0].dtype.itemsize, k.threads), k.threads)
    if not work:
        return
    loop = BlockLoop(k, work)
    finish = Finish(loop, layer)
    gathered, _ = gather(loop, layer, k.ins[0], turned=in_planes(layer.conv, k.ins[0].type))
    read = partial(_stored, loop, layer, gathered) if stored else partial(_packed, loop, layer, gathered, flipped)
    if finish.straight:
        results = finish.results()
        multiply(loop, layer, *read(finish.last), results)
        finish.finish(results, finish.last)
    else:
        multiply(loop, layer, *read(True), finish.products)
        finish.take()
    loop.emit()


def gather(loop: BlockLoop[Block], layer: Layer, x: Operand, *, turned: bool = False) -> tuple[Bound, Gather]:
    """Let the loop gather the windows of each block of ``x`` into a matrix (images x rows x columns, taps of a group).

    If images need padding, or are not channels last, the rows that a block needs are first copied to a small padded
    buffer; as planes if the matrix is to be ``turned`` (transposed in memory, tap by tap).
    """
    conv = layer.conv
    matrices = loop.scratch((most_pixels(loop, layer) * conv.taps,), x.dtype, "windows")
    if channels_last(x) and not conv.padded and not turned:
        gathered = loop.bind("gather", bind_gather, layer, loop.blocks, matrices, x)
        g = loop.parts(gathered, Gather)
    else:
        images = _padded(loop, layer, x, (0, 3, 1, 2) if turned else None)
        gathered = loop.bind("gather", bind_padded, layer, loop.blocks, matrices, images, turned)
        g = loop.parts(gathered, Gather)
        source, (edge,) = loop.each("source", bind_sources, layer, loop.blocks, x), loop.fresh("edge")
        loop.line(f"for {edge} in {g.edges}:\n    {edge}.fill(0)", copy_in(loop, x, conv, g.inside, source))
    loop.line(f"{g.windows}[...] = {g.seen}")
    return gathered, g


def reorder_by_channel(loop: BlockLoop[Block], layer: Layer, gathered: Bound) -> Bound:
    """Let the loop copy each block's windows to a matrix in which the taps of a channel are adjacent."""
    memory = loop.scratch((most_pixels(loop, layer) * layer.conv.taps,), loop.k.ins[0].dtype, "by_channel")
    turned = loop.bind("turned", bind_by_channel, layer.conv, gathered, memory)
    t = loop.parts(turned, Turned)
    loop.line(f"{t.target}[...] = {t.source}")
    return loop.bind("matrices", matrices_of, turned)


def most_pixels(loop: BlockLoop[Block], layer: Layer) -> int:
    """The most pixels of the convolution in any block."""
    return max(layer.convolved(block).image_rows for block in loop.every) * layer.conv.cols.count


def _padded(loop: BlockLoop[Block], layer: Layer, x: Operand, order: tuple[int, ...] | None) -> tuple[Operand, ...]:
    """Scratch for padded rows of a group's images, in this memory order; the padding left and right is cleared."""
    k, conv, (most, _, rows) = loop.k, layer.conv, largest(map(layer.convolved, loop.every))
    width = conv.cols.held(conv.cols.count)
    images = loop.scratch((most, conv.rows.held(rows), width, conv.group_in), x.dtype, "padded", order)
    real = conv.across
    for image in images:
        for first, stop in ((0, real.low), (real.high, width)):
            if stop > first:
                k.line(f"{image}[:, :, {first}:{stop}].fill(0)")
    return images


def copy_in(loop: BlockLoop[Block], x: Operand, conv: Conv, inside: object, source: str) -> str:
    """The line that copies the input into padded memory; a few planes are copied one by one, along their rows."""
    if channels_last(x) or conv.group_in > FEW_CHANNELS:
        return f"{inside}[...] = {source}"
    (channel,) = loop.fresh("channel")
    return f"for {channel} in range({conv.group_in}):\n    {inside}[..., {channel}] = {source}[..., {channel}]"


def _packed(
    loop: BlockLoop[Block], layer: Layer, gathered: Bound, flipped: bool, last: bool
) -> tuple[Bound, Operand, Blocking]:
    """The windows of each block, the packed weight (panels or a matrix), and how the product is cut."""
    k, w, conv = loop.k, loop.k.ins[1], layer.conv
    cut = cut_for(k, most_pixels(loop, layer), conv.taps, conv.group_out)
    shape = (conv.group_out // cut.width, conv.taps, cut.width) if last else (conv.group_out, conv.taps)
    with k.once(w):
        packed = k.scratch((conv.groups, *shape), w.dtype, "packed")
        make_weights(k, packed, packing(w.shape), pack_weights, conv.groups, w, packed, flipped)
    return loop.bind("matrices", matrices_of, gathered), packed, cut


def _stored(loop: BlockLoop[Block], layer: Layer, gathered: Bound, last: bool) -> tuple[Bound, Operand, Blocking]:
    """The same for a weight that is read in place."""
    k, w, conv = loop.k, loop.k.ins[1], layer.conv
    matrix = k.reshaped(w, (conv.groups, conv.group_out, conv.taps), "matrix")
    return reorder_by_channel(loop, layer, gathered), matrix, Blocking(most_pixels(loop, layer), conv.group_out)


def multiply(
    loop: BlockLoop[Block], layer: Layer, matrices: Bound, weights: Operand, cut: Blocking, outputs: Bound
) -> None:
    """Let the loop write the product of each block's windows with the weight to its bound results."""
    conv, last = layer.conv, len(weights.shape) == 4
    products = loop.bind("products", bind_window_products, conv, loop.blocks, matrices, weights, outputs, cut.rows)
    whole = last and cut.rows >= most_pixels(loop, layer) and cut.width == conv.outputs
    loop.line(multiply_lines(loop.k, *loop.over(products, "products"), whole=whole))
