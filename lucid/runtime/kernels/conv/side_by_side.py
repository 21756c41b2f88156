"""Input gradient of a convolution whose windows do not overlap: each element comes from a single window.

So nothing is added up, and nothing zeroed before. A row of a channels-last image comes from the product of a row of
windows with one row of the kernel, contiguously. A transposed convolution whose stride equals its kernel, as used for
upsampling in decoders, is such a gradient with a bias.
"""

from __future__ import annotations

from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_INPUT, CONV_TRANSPOSE, OfConvAttrs
from ....graph.types import CHANNELS_LAST, TensorType
from ....graph.windows import side_by_side
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...planning.work import Product, Work, shared_by
from ...program.emitter import Emitter, Operand
from ..shared.cut import deal, even_pieces
from ..shared.loop import BlockLoop, laid_out, recheck
from .numbers import conv_of
from .side_by_side_views import Rows, Spread, bind_rows
from .weights import packing

VECTOR_BYTES = 64
"""Bytes that BLAS multiplies at once: fewer outputs take as long."""


def numbers(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...]) -> Spread:
    """The sizes of a node's gradient."""
    (images, depth, rows, cols), w = inputs[0].concrete, inputs[1].concrete
    return Spread(images * rows, cols, depth, w[2], w[3] * w[1])


def accepts(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether there is one group, the windows cover the image, and the result is channels last."""
    dx, dy, w = node.outputs[0], *(t.concrete for t in inputs[:2])
    conv = conv_of(node.attrs.conv, dx.concrete, w, dy)
    axes = conv.rows, conv.cols
    fill = side_by_side(axes) and all(axis.count * axis.kernel == axis.size for axis in axes)
    return conv.groups == 1 and fill and dx.order == CHANNELS_LAST


def pieces(s: Spread, itemsize: int, workers: int) -> list[tuple[int, int]]:
    """Runs of rows whose products with a row of the kernel, and results, take half of the second-level cache."""
    row = s.cols * (s.depth + 2 * s.width) * itemsize
    return even_pieces(s.rows, max(1, this_machine().l2 // 2 // max(1, row)), 1, workers)


def _work(s: Spread, rows: int, itemsize: int) -> Work:
    """The work of some rows: products, and two passes over their results."""
    columns = max(s.width, VECTOR_BYTES // itemsize)
    product = Product(rows * s.cols, s.depth, columns, itemsize, packed=False, resident=True, times=s.high)
    made = rows * s.cols * s.width * s.high
    return Work((product,), near=3 * made * itemsize, loops=rows * s.high, calls=2 * s.high)


def ways(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """Rows, shared by all workers."""
    s, itemsize = numbers(node, inputs), inputs[0].dtype.itemsize
    work = deal([stop - start for start, stop in pieces(s, itemsize, threads)], threads)
    share = Work.of_busiest(work, lambda rows: _work(s, rows, itemsize), int)
    return [Way(share, once=shared_by(packing(inputs[1].concrete), threads, this_machine())[0])]


def _packed(k: Emitter, s: Spread, w: Operand) -> Operand:
    """The weights as a matrix for each row of the kernel: (depth, columns x channels)."""
    _, channels, high, wide = w.shape
    with k.once(w):
        packed = k.scratch((s.high, s.depth, s.width), w.dtype, "packed")
        seen = k.seen(packed, (high, s.depth, wide, channels))
        k.line(f"{seen}[...] = {w}.transpose(2, 0, 3, 1)")
    return packed


def _row_of(k: Emitter, s: Spread, bias: Operand) -> Operand:
    """The bias, repeated for a row of the image."""
    with k.once(bias):
        row = k.scratch((s.cols * s.width // bias.shape[0], bias.shape[0]), bias.dtype, "row_bias")
        k.line(f"{row}[...] = {bias}")
    return k.reshaped(row, (s.cols * s.width,), "row_bias")


@kernel(CONV_GRAD_INPUT, CONV_TRANSPOSE, lowering="side_by_side", accepts=accepts, ways=ways, staged=True)
def grad_input_side_by_side(k: Emitter) -> None:
    """For each row of the kernel, a product, which is copied to the image's rows with the bias added."""
    recheck(k)
    (dy, w, *bias), (dx,) = k.ins, k.outs
    s = numbers(k.node, tuple(x.type for x in k.ins))
    work = deal(pieces(s, dy.dtype.itemsize, k.threads), k.threads)
    if not work or not s.cols * s.width:
        return
    dy = laid_out(k, dy, True, "gradient")
    packed = _packed(k, s, w)
    row = _row_of(k, s, bias[0]) if bias else None
    loop = BlockLoop(k, work)
    most = max(stop - start for start, stop in loop.every)
    memory = loop.scratch((most * s.cols * s.width,), dy.dtype, "product")
    steps = loop.each("rows", bind_rows, s, loop.blocks, memory, dy, packed, dx)
    windows, weight, product, made, place = names = loop.fresh(*Rows._fields)
    placed = f"{place}[...] = {made}" if row is None else f"np.add({made}, {row}, out={place})"
    loop.for_each(names, steps, f"np.matmul({windows}, {weight}, out={product})", placed)
    loop.emit()
