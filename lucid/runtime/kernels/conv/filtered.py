"""Convolution by minimal filtering along one axis: for signals, and kernels longer in one direction than the other.

F(m, r) computes m rows of the result at a time (:mod:`.filtering`), a *tile*: what windows read of each line of a tile
is gathered, transformed along the rows, and multiplied; along the columns, taps are summed directly. A long kernel is
summed in parts of a few taps each. With dilation or stride, tiles are interleaved. To filter along the columns, images
are viewed with rows and columns exchanged.

The rounding error is some four times that of a direct sum, and an infinity or NaN spreads over the rows of its tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType, is_float
from ....graph.windows import Axis
from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.registry import Way, kernel
from ...planning.work import NOTHING, Work, shared_by
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, pieces
from ..shared.epilogue import Epilogue
from ..shared.loop import BlockLoop, recheck
from ..shared.panels import Blocking, blocking, multiply_lines, product_of, unpacked
from .filtered_views import Filtered, FilteredViews, Results, bind_filtered, bind_rows, buffer_sizes
from .filtering import ALONG_ONE, Filter, transforms
from .finish_views import bind_biases
from .im2col import stand
from .numbers import attrs_of, conv_of_node
from .tiles import CANDIDATES, tile_blocks
from .weights import make_weights, transforming
from .weights_views import filter_weights
from .winograd import fits

LEAST_SAVED = 0.25
"""The least share of the products that the filter must save."""


class FilteredCut(NamedTuple):
    """The filter, and how the work is cut.

    Attributes
    ----------
    across
        Whether the filter runs along the columns.
    m, taps
        The filter computes ``m`` results at a time, of ``taps`` taps each.
    tiles
        About how many windows a block has.
    product
        How the products are cut.
    """

    across: bool
    m: int
    taps: int
    tiles: int
    product: Blocking

    def __str__(self) -> str:
        return f"{self.m} {'columns' if self.across else 'rows'} by {self.taps} taps, {self.tiles} tiles"


# ---------------------------------------------------------------- choosing the filter and the block


def _filter(axis: Axis) -> Filter | None:
    """The filter that takes the fewest products along an axis; None if it saves too little."""
    if axis.stride > 1:
        return None
    most = ALONG_ONE + 2  # points are m + taps - 2
    filters = [
        Filter(m, taps, 1) for taps in range(2, min(axis.kernel, most - 2) + 1) for m in range(2, most - taps + 1)
    ]

    def products(f: Filter) -> int:
        tiles = -(-axis.count // (f.m * axis.dilation)) * axis.dilation
        return f.products * -(-axis.kernel // f.taps) * tiles

    best = min(filters, key=products, default=None)
    saves = best is not None and products(best) <= (1 - LEAST_SAVED) * axis.kernel * axis.count
    return best if saves else None


def numbers(node: Node, inputs: Sequence[TensorType], across: bool, f: Filter | None = None) -> Filtered | None:
    """The sizes of a node's convolution, filtered along columns or rows; None if that saves too little."""
    conv, epilogue = conv_of_node(node, inputs), Epilogue.of(node, inputs)
    conv = replace(conv, rows=conv.cols, cols=conv.rows) if across else conv
    f = f or _filter(conv.rows)
    biased = epilogue.shift and not epilogue.floor
    return None if f is None else Filtered(conv, f, -(-conv.rows.kernel // f.taps), biased)


def _each(node: Node, inputs: Sequence[TensorType]) -> Iterator[tuple[bool, Filtered]]:
    for across in (False, True):
        if (t := numbers(node, inputs, across)) is not None:
            yield across, t


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether there are no groups or pooling and, along one axis, no stride but several taps and results.

    Convolutions that can be filtered along both axes are left to :mod:`.winograd`, which saves more.
    """
    epilogue, a, w = Epilogue.of(node, inputs), attrs_of(node), inputs[1].concrete
    plain = a.groups == 1 and w[1] > 0 and is_float(inputs[0].dtype) and not fits(2, a, w)
    return plain and epilogue.anywhere and epilogue.pool is None and not epilogue.filled and any(_each(node, inputs))


def blocks(t: Filtered, tiles: int, workers: int) -> list[Block]:
    """All rows of tiles in blocks of about ``tiles`` tiles; those of a block are consecutive, or interleaved."""
    images, columns, outputs = t.conv.images, t.conv.cols.count, t.conv.outputs
    if t.apart == 1:
        return list(tile_blocks(images, t.down, columns, outputs, tiles, 1, workers))
    if not images * columns * outputs:
        return []
    cuts = [
        (down + a, down + b)
        for down in range(0, t.down * t.apart, t.apart)
        for a, b in pieces(t.apart, tiles // columns)
    ]
    return [Block(n, n + 1, a, b, 0, outputs) for n in range(images) for a, b in cuts]


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """Ways to filter along either axis, in blocks of several sizes."""
    found: dict[tuple[bool, tuple[Block, ...]], Way] = {}
    itemsize = inputs[0].dtype.itemsize
    for across, t in _each(node, inputs):
        once, _ = shared_by(_making(t, itemsize), threads, this_machine())
        for tiles in CANDIDATES:
            work = tuple(blocks(t, tiles, threads))
            if (across, work) not in found:
                count = max((s.image_rows for s in work), default=0) * t.conv.cols.count
                product = blocking(this_machine(), count, t.depth, t.conv.outputs, itemsize)
                cut = FilteredCut(across, t.filter.m, t.filter.taps, tiles, product)
                found[across, work] = Way(_work(node, inputs, t, work, threads), cut, once)
    return list(found.values())


def _work(node: Node, inputs: tuple[TensorType, ...], t: Filtered, work: Sequence[Block], threads: int) -> Work:
    """The work of the busiest thread."""
    if not work:
        return NOTHING
    machine, itemsize, n, outputs = this_machine(), inputs[0].dtype.itemsize, t.filter.products, t.conv.outputs
    largest = max(work, key=lambda s: s.image_rows)
    count, sizes = largest.image_rows * t.conv.cols.count, buffer_sizes(t, [largest])
    resident = n * t.depth * outputs * itemsize <= machine.l2 // 2
    product = product_of(machine, count, t.depth, outputs, itemsize, resident)._replace(times=n)
    made = t.filter.m * count * outputs
    passes = Epilogue.of(node, inputs).passes - t.biased + 1
    elements = (
        2 * sizes.slab
        + (2 if t.direct else 4) * n * count * t.depth
        + t.lines * count * outputs
        + (1 + 2 * passes) * made
    )
    inside, moved = (sizes.ping + sizes.pong) * itemsize <= machine.l2, elements * itemsize
    block = Work(
        (product,),
        near=moved if inside else 0.0,
        far=0.0 if inside else moved,
        loops=n * count * t.parts,
        turned=0 if inputs[0].order == CHANNELS_LAST else sizes.slab,
        straight=0 if node.outputs[0].order == CHANNELS_LAST else made,
        calls=10 + n,
    )
    return block.shared(len(work), threads)


# ---------------------------------------------------------------- the kernel


@kernel(CONV, CONV_POOL, lowering="filtered", accepts=accepts, ways=ways, exact=False, staged=True)
def filtered(k: Emitter) -> None:
    """For each block: gather, transform, multiply, transform back, add the residual, activate."""
    recheck(k)
    cut: FilteredCut = k.way
    t = numbers(k.node, [x.type for x in k.ins], cut.across, Filter(cut.m, cut.taps, 1))
    assert t is not None
    weight = k.ins[1]
    if cut.across:
        stand(k)
    work = deal(blocks(t, cut.tiles, k.threads), k.threads)
    if work:
        loop = BlockLoop(k, work)
        _convolve(loop, t, _pack(k, t, weight, cut), cut.product.rows)
        loop.emit()


def _making(t: Filtered, itemsize: int) -> Work:
    """The work of transforming the weights."""
    weights = t.conv.outputs, t.depth // t.parts, t.filter.taps, 1
    return transforming(weights, t.filter.products * t.parts, itemsize)


def _pack(k: Emitter, t: Filtered, w: Operand, cut: FilteredCut) -> Operand:
    """The transformed weights (products, panels, depth, outputs of a panel); in double precision if done only once."""
    width, outputs = cut.product.width, t.conv.outputs
    with k.once(w):
        packed = k.scratch((t.filter.products, outputs // width, t.depth, width), w.dtype, "transformed")
        along = transforms(t.filter).weights.astype(np.float64 if packed.phase is Phase.STATE else w.dtype)
        seen = f"{w}.transpose(0, 1, 3, 2)" if cut.across else w
        work = _making(t, w.dtype.itemsize)
        make_weights(k, packed, work, filter_weights, k.use(along, "weight_transform"), seen, packed)
    return packed


def _convolve(loop: BlockLoop[Block], t: Filtered, packed: Operand, rows: int) -> None:
    """Add the lines that compute each block."""
    k, x, (y,), epilogue = loop.k, loop.k.ins[0], loop.k.outs, Epilogue.of(loop.k.node, loop.k.ins)
    bias, residual = bias_and_residual(k.attrs, k.ins)
    sizes, found = buffer_sizes(t, loop.every), transforms(t.filter)
    memory = tuple(zip(*(loop.scratch((n,), x.dtype, name) for name, n in sizes._asdict().items()), strict=True))
    lines = np.ones((t.filter.m, t.lines))  # the last line, if it is extra, is for the bias
    lines[:, : t.filter.products] = found.outputs
    before, after = (
        k.use(matrix.astype(x.dtype), name)
        for matrix, name in ((found.inputs, "input_transform"), (lines, "output_transform"))
    )
    views = loop.bind("views", bind_filtered, t, loop.blocks, memory, x, packed, rows, unpacked(x.dtype))
    v = loop.parts(views, FilteredViews)
    r = loop.parts(loop.bind("results", bind_rows, t, loop.blocks, memory, y, residual), Results)
    shift = None if bias is None else loop.each("bias", bind_biases, loop.blocks, bias, True)
    edge, target, value, added = loop.fresh("edge", "target", "value", "added")
    loop.for_each((edge,), v.edges, f"{edge}.fill(0)")
    loop.for_each((target, value), v.copies, f"{target}[...] = {value}")
    loop.line(
        *([] if t.direct else [f"{v.windows}[...] = {v.seen}"]),
        f"np.matmul({before}, {v.lines}, out={v.by_lines})",
        multiply_lines(k, v.products),
        *([f"{v.biases}[...] = {shift}"] if t.biased else []),
        f"np.matmul({after}, {v.sums}, out={v.made})",
        *epilogue.terms(r.final, None if t.biased else shift),
    )
    if residual is not None:
        loop.for_each(("_", value, added), r.copies, f"np.add({value}, {added}, out={value})")
    loop.line(*epilogue.activation_lines(loop, r.final, y.shape))
    loop.for_each((target, value, "_"), r.copies, f"{target}[...] = {value}")
