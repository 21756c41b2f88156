"""Depthwise convolution (as many groups as input channels): tap by tap, a product with one weight per channel."""

from __future__ import annotations

from ....graph.ir import Node
from ....graph.ops.conv import CONV, CONV_GRAD_INPUT, ConvAttrs, OfConvAttrs
from ....graph.types import TensorType
from ...planning.registry import kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, image_blocks, largest
from ..shared.loop import BlockLoop, channels_last, recheck
from .depthwise_views import GradientTap, TapViews, bind_gradient, bind_images, bind_taps
from .geometry import Conv
from .numbers import conv_of

BLOCK_BYTES = 1 << 18
"""Output bytes of a block; each tap reads and writes about three times as much."""


def _is_depthwise(node: Node[ConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return node.attrs.groups == inputs[0].shape[1]


def _work(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    taps = inputs[1].concrete[2] * inputs[1].concrete[3]
    return Work(tapwise=2 * taps * node.outputs[0].nbytes, calls=2 * taps)


def _pack(k: Emitter, w: Operand, conv: Conv, columns: int) -> Operand:
    """Weights as (taps, columns, channels, multiplier), repeated along a row so that whole rows multiply at once."""
    taps = conv.rows.kernel * conv.cols.kernel
    with k.once(w):
        packed = k.scratch((taps, columns, conv.channels, conv.group_out), w.dtype, "packed")
        source = f"{w}.reshape({conv.channels}, {conv.group_out}, {taps}).transpose(2, 0, 1)[:, None]"
        k.line(f"{packed}[...] = {source}")
    return packed


def _products(loop: BlockLoop[Block], conv: Conv, last: bool) -> tuple[Operand, ...]:
    """Working memory for the output of any block."""
    images, _, rows = largest(loop.every)
    shape = (images, rows, conv.cols.count, conv.outputs) if last else (images, conv.outputs, rows, conv.cols.count)
    return loop.scratch(shape, loop.k.ins[0].dtype, "product")


@kernel(CONV, lowering="depthwise", accepts=_is_depthwise, cost=_work)
def depthwise(k: Emitter) -> None:
    """Tap by tap, over whole rows of channels-last images or whole planes."""
    recheck(k)
    (x, w, *bias), (y,) = k.ins, k.outs
    conv, last = conv_of(k.attrs, x.shape, w.shape, y.shape), channels_last(y)
    per_row = conv.cols.count * y.dtype.itemsize
    blocks = image_blocks(conv.images, conv.outputs, conv.rows.count, per_row, BLOCK_BYTES, True)
    if not blocks:
        return
    loop = BlockLoop(k, deal(blocks, k.threads))
    packed = _pack(k, w, conv, conv.cols.count if last and conv.group_out == 1 else 1)
    memory = _products(loop, conv, last)
    v = loop.parts(loop.bind("taps", bind_taps, conv, loop.blocks, memory, x, y, packed, last), TapViews)
    shaped = k.reshaped(bias[0], (conv.channels, conv.group_out), "bias") if bias else None
    loop.line(f"{v.out}.fill(0)" if shaped is None else f"{v.out}[...] = {shaped}")
    tap, weight, product, target = names = loop.fresh("tap", "weight", "product", "sum")
    add = f"np.add({target}, {product}, out={target})"
    loop.for_each(names, v.taps, f"np.multiply({tap}, {weight}, out={product})", add)
    loop.emit()


def is_single(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """Whether there is one output channel for each input channel."""
    groups = node.attrs.conv.groups
    return groups > 1 and groups == node.outputs[0].shape[1] == inputs[0].shape[1]


def gradient_blocks(dy: TensorType, threads: int) -> list[list[Block]]:
    """The images of each worker: their gradients are independent."""
    (images, outputs, rows, cols) = dy.concrete
    image = rows * cols * outputs * dy.dtype.itemsize
    blocks = image_blocks(images, 1, 1, image, BLOCK_BYTES, False) if image else []
    return deal([block._replace(r1=rows, c1=outputs) for block in blocks], threads)


def _gradient_work(node: Node, inputs: tuple[TensorType, ...], threads: int) -> Work:
    dy, w = inputs
    taps, blocks = w.concrete[2] * w.concrete[3], gradient_blocks(dy, threads)
    image = dy.nbytes / max(1, dy.concrete[0])
    return Work.of_busiest(
        [[block.n1 - block.n0 for block in mine] for mine in blocks],
        lambda images: Work(tapwise=2 * taps * images * image, calls=2 * taps),
        lambda images: images,
    )


@kernel(CONV_GRAD_INPUT, lowering="depthwise", accepts=is_single, cost=_gradient_work)
def depthwise_grad_input(k: Emitter) -> None:
    """For each tap, add ``dy`` times its weight to the inputs that the tap read."""
    recheck(k)
    (dy, w), (dx,) = k.ins, k.outs
    conv = conv_of(k.attrs.conv, dx.shape, w.shape, dy.shape)
    work = gradient_blocks(dy.type, k.threads)
    if not work:
        k.line(f"{dx}.fill(0)")
        return
    packed, last, loop = _pack(k, w, conv, 1), channels_last(dy), BlockLoop(k, work)
    memory = _products(loop, conv, last)
    loop.line(f"{loop.each('image', bind_images, loop.blocks, dx)}.fill(0)")
    (taps,) = loop.over(loop.bind("taps", bind_gradient, conv, loop.blocks, memory, dx, dy, last), "taps")
    t = GradientTap(*loop.fresh(*GradientTap._fields))
    multiply = f"np.multiply({t.gradient}, {packed}[{t.number}], out={t.product})"
    loop.for_each(t, taps, multiply, f"np.add({t.image}, {t.product}, out={t.image})")
    loop.emit()
