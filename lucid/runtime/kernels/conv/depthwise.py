"""Depthwise convolution (as many groups as input channels): tap by tap, a product with one weight per channel."""

from __future__ import annotations

from collections.abc import Callable

from ....graph.ir import Node
from ....graph.ops.conv import CONV, CONV_GRAD_INPUT, CONV_GRAD_WEIGHT, ConvAttrs, OfConvAttrs
from ....graph.types import TensorType
from ...planning.registry import kernel
from ...planning.work import Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import Block, deal, image_blocks, largest
from ..shared.loop import BlockLoop, channels_last, recheck
from .depthwise_views import GradientTap, TapViews, bind_gradient, bind_taps
from .geometry import Conv
from .numbers import conv_of

BLOCK_BYTES = 1 << 18
"""Output bytes of a block; about three times as much is touched for every tap."""


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
    """Over whole rows of channels-last images, or whole planes."""
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


def _single(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """One output channel for each input channel."""
    dy = inputs[0] if node.op is CONV_GRAD_INPUT else inputs[1]
    groups = node.attrs.conv.groups
    channels = node.outputs[0].shape[1] if node.op is CONV_GRAD_INPUT else inputs[0].shape[1]
    return bool(groups > 1 and groups == channels == dy.shape[1])


def _emit_gradient(
    k: Emitter, conv: Conv, x: Operand, dy: Operand, lines: Callable[[GradientTap], tuple[str, ...]]
) -> None:
    """A loop over images and taps, of each of which ``lines`` are written."""
    last, outputs = channels_last(dy), conv.outputs
    image = conv.rows.count * conv.cols.count * outputs * dy.dtype.itemsize
    blocks = image_blocks(conv.images, 1, 1, image, BLOCK_BYTES, False)
    if not blocks or not image:
        return
    loop = BlockLoop(k, [[b._replace(r1=conv.rows.count, c1=outputs) for b in blocks]])
    memory = _products(loop, conv, last)
    (taps,) = loop.over(loop.bind("taps", bind_gradient, conv, loop.blocks, memory, x, dy, last), "taps")
    names = GradientTap(*loop.fresh(*GradientTap._fields))
    loop.for_each(names, taps, *lines(names))
    loop.emit()


@kernel(CONV_GRAD_INPUT, lowering="depthwise", accepts=_single)
def depthwise_grad_input(k: Emitter) -> None:
    """Each tap of ``dy``, times its weight, added where the tap lies in the input."""
    recheck(k)
    (dy, w), (dx,) = k.ins, k.outs
    conv = conv_of(k.attrs.conv, dx.shape, w.shape, dy.shape)
    packed = _pack(k, w, conv, 1)
    k.line(f"{dx}.fill(0)")

    def lines(t: GradientTap) -> tuple[str, ...]:
        multiply = f"np.multiply({t.gradient}, {packed}[{t.number}], out={t.product})"
        return multiply, f"np.add({t.image}, {t.product}, out={t.image})"

    _emit_gradient(k, conv, dx, dy, lines)


@kernel(CONV_GRAD_WEIGHT, lowering="depthwise", accepts=_single)
def depthwise_grad_weight(k: Emitter) -> None:
    """Each tap's products with ``dy``, summed over images, rows and columns."""
    recheck(k)
    (x, dy), (dw,) = k.ins, k.outs
    conv = conv_of(k.attrs.conv, x.shape, dw.shape, dy.shape)
    shape = (conv.rows.kernel * conv.cols.kernel, conv.channels, 1)
    total, share = k.scratch(shape, x.dtype, "total"), k.scratch(shape[1:], x.dtype, "share")
    k.line(f"{total}.fill(0)")

    def lines(t: GradientTap) -> tuple[str, ...]:
        return (
            f"np.multiply({t.image}, {t.gradient}, out={t.product})",
            f"np.add.reduce({t.product}, axis=(0, 1, 2), out={share})",
            f"np.add({total}[{t.number}], {share}, out={total}[{t.number}])",
        )

    _emit_gradient(k, conv, x, dy, lines)
    square = (conv.rows.kernel, conv.cols.kernel, conv.channels, 1)
    k.line(f"{dw}[...] = {total}.reshape({square}).transpose(2, 3, 0, 1)")
