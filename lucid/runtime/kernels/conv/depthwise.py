"""Depthwise convolution (as many groups as input channels): tap by tap, a product with one weight per channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....graph.ir import Node
from ....graph.ops.conv import CONV, CONV_GRAD_INPUT, CONV_GRAD_WEIGHT, ConvAttrs, OfConvAttrs
from ....graph.types import TensorType
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.windows import Block, bind, channels_last, deal, image_blocks, over_blocks, recheck
from .geometry import Conv
from .numbers import conv_of
from .plain import BYTES, CALL

BLOCK_BYTES = 1 << 18
"""Output bytes of a block; about three times as much is touched for every tap."""


def _is_depthwise(node: Node[ConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    return node.attrs.groups == inputs[0].shape[1]


def _cost(node: Node, inputs: tuple[TensorType, ...], threads: int) -> float:
    n, c, h, w = node.outputs[0].concrete
    taps = inputs[1].concrete[2] * inputs[1].concrete[3]
    return n * c * h * w * taps * 2.0 * node.outputs[0].dtype.itemsize / BYTES + 2 * taps * CALL


def _pack(k: Emitter, w: Operand, conv: Conv, columns: int) -> Operand:
    """Weights as (taps, columns, channels, multiplier), repeated along a row so that whole rows multiply at once."""
    taps = conv.rows.kernel * conv.cols.kernel
    with k.once(w):
        packed = k.scratch((taps, columns, conv.channels, conv.group_out), w.dtype, "packed")
        source = f"{w}.reshape({conv.channels}, {conv.group_out}, {taps}).transpose(2, 0, 1)[:, None]"
        k.line(f"{packed}[...] = {source}")
    return packed


def _scratch(k: Emitter, conv: Conv, blocks: Sequence[Block], last: bool, label: str) -> Operand:
    """Working memory for the output of any block."""
    images, rows = max(b.n1 - b.n0 for b in blocks), max(b.r1 - b.r0 for b in blocks)
    shape = (images, rows, conv.cols.count, conv.outputs) if last else (images, conv.outputs, rows, conv.cols.count)
    return k.scratch(shape, k.ins[0].dtype, label)


def _five(conv: Conv, array: Any, last: bool) -> Any:
    """Output-shaped scratch as (images, rows, columns, channels, multiplier)."""
    nhwc = array if last else array.transpose(0, 2, 3, 1)
    return as_view(nhwc, *nhwc.shape[:3], conv.channels, conv.group_out)


def _weight(packed: Any, tap: int, first: int, last: int) -> Any:
    return packed[tap] if packed.shape[1] == 1 else packed[tap, first:last]


def bind_taps(
    conv: Conv, work: Sequence[Sequence[Any]], x: Any, y: Any, packed: Any, scratch: Sequence[Any], last: bool
) -> list[list[Any]]:
    """For each block: its output, and for each tap the input, the weight, the product and the output it goes to."""
    x5 = x.transpose(0, 2, 3, 1)[..., None]
    y5 = _five(conv, y, False)
    bound = []
    for mine, memory in zip(work, scratch, strict=True):
        held, entries = _five(conv, memory, last), []
        for block in map(Block._make, mine):
            n, r0 = slice(block.n0, block.n1), block.r0
            target = y5[n, block.r0 : block.r1]
            product, taps = held[: block.n1 - block.n0, : block.r1 - r0], []
            for i, down in enumerate(conv.rows.taps(r0, block.r1)):
                for j, right in enumerate(conv.cols.taps()):
                    if down.last > down.first and right.last > right.first:
                        source = x5[n, conv.rows.source(down), conv.cols.source(right)]
                        at = (slice(None), slice(down.first - r0, down.last - r0), slice(right.first, right.last))
                        weight = _weight(packed, i * conv.cols.kernel + j, right.first, right.last)
                        taps.append((source, weight, product[at], target[at]))
            entries.append((target, taps))
        bound.append(entries)
    return bound


@kernel(CONV, lowering="depthwise", accepts=_is_depthwise, cost=_cost)
def depthwise(k: Emitter) -> None:
    """Over whole rows of channels-last images, or whole planes."""
    recheck(k)
    x, w, *bias = k.ins
    (y,) = k.outs
    conv = conv_of(k.attrs, x.shape, w.shape, y.shape)
    last = channels_last(y)
    per_row = conv.cols.count * y.dtype.itemsize
    blocks = image_blocks(conv.images, conv.outputs, conv.rows.count, per_row, BLOCK_BYTES, True)
    work = deal(blocks, k.threads)
    if not work:
        return
    packed = _pack(k, w, conv, conv.cols.count if last and conv.group_out == 1 else 1)
    scratch = [_scratch(k, conv, blocks, last, "product") for _ in work]
    views = bind(
        k, "taps", f"{k.use(bind_taps)}({k.use(conv, k.name + '_conv')}, {k.use(_plain(work), k.name + '_blocks')}, "
        f"{x}, {y}, {packed}, ({''.join(f'{s}, ' for s in scratch)}), {last})", x, y, packed, *scratch,
    )  # fmt: skip
    out, taps, a, b, product, target = (k.names.fresh(n) for n in ("out", "taps", "tap", "weight", "product", "sum"))
    start = f"{out}.fill(0)"
    if bias:
        shape = (conv.channels, conv.group_out)
        shaped = k.reshaped(bias[0], shape, "bias")
        start = f"{out}[...] = {shaped}"
    body = [
        start,
        f"for {a}, {b}, {product}, {target} in {taps}:",
        f"    np.multiply({a}, {b}, out={product})",
        f"    np.add({target}, {product}, out={target})",
    ]
    over_blocks(k, len(work), [f"({out}, {taps})"], [views], body)


def _plain(work: Sequence[Sequence[Block]]) -> list[list[tuple[int, ...]]]:
    return [list(map(tuple, mine)) for mine in work]


def _single(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    """One output channel for each input channel."""
    dy = inputs[0] if node.op is CONV_GRAD_INPUT else inputs[1]
    groups = node.attrs.conv.groups
    channels = node.outputs[0].shape[1] if node.op is CONV_GRAD_INPUT else inputs[0].shape[1]
    return bool(groups > 1 and groups == channels == dy.shape[1])


def bind_grad(
    conv: Conv, work: Sequence[Sequence[Any]], x: Any, dy: Any, scratch: Sequence[Any], last: bool
) -> list[list[Any]]:
    """For each block of images and tap: its number, first and last column, and views of image, gradient, product."""
    x5, dy5 = x.transpose(0, 2, 3, 1)[..., None], _five(conv, dy, False)
    bound = []
    for mine, memory in zip(work, scratch, strict=True):
        held, entries = _five(conv, memory, last), []
        for block in map(Block._make, mine):
            n, taps = slice(block.n0, block.n1), []
            product = held[: block.n1 - block.n0]
            for i, down in enumerate(conv.rows.taps()):
                for j, right in enumerate(conv.cols.taps()):
                    if down.last > down.first and right.last > right.first:
                        at = (slice(None), slice(down.first, down.last), slice(right.first, right.last))
                        image = x5[n, conv.rows.source(down), conv.cols.source(right)]
                        taps.append((i * conv.cols.kernel + j, image, dy5[n][at], product[at]))
            entries.append((x5[n], taps))
        bound.append(entries)
    return bound


def _emit_grad(k: Emitter, x: Operand, dy: Operand, w: Operand, loop: list[str], start: list[str]) -> None:
    """A loop over images and taps; ``loop`` is formatted with the names of the tap's parts."""
    conv = conv_of(k.attrs.conv, x.shape, w.shape, dy.shape)
    last = channels_last(dy)
    image = conv.rows.count * conv.cols.count * conv.outputs * dy.dtype.itemsize
    blocks = image_blocks(conv.images, 1, 1, image, BLOCK_BYTES, False)
    whole = [Block(b.n0, b.n1, 0, conv.outputs, 0, conv.rows.count) for b in blocks]
    if not whole or not image:
        return
    scratch = _scratch(k, conv, whole, last, "product")
    views = bind(
        k, "taps", f"{k.use(bind_grad)}({k.use(conv, k.name + '_conv')}, {k.use(_plain([whole]), k.name + '_blocks')}, "
        f"{x}, {dy}, ({scratch},), {last})", x, dy, scratch,
    )  # fmt: skip
    names = {n: k.names.fresh(n) for n in ("block", "taps", "number", "image", "gradient", "product")}
    body = [line.format(**names) for line in start]
    body.append("for {number}, {image}, {gradient}, {product} in {taps}:".format(**names))
    body += ["    " + line.format(**names) for line in loop]
    over_blocks(k, 1, ["({block}, {taps})".format(**names)], [views], body)


@kernel(CONV_GRAD_INPUT, lowering="depthwise", accepts=_single)
def depthwise_grad_input(k: Emitter) -> None:
    """Each tap of ``dy``, times its weight, added where the tap lies in the input."""
    recheck(k)
    (dy, w), (dx,) = k.ins, k.outs
    conv = conv_of(k.attrs.conv, dx.shape, w.shape, dy.shape)
    packed = _pack(k, w, conv, 1)
    k.line(f"{dx}.fill(0)")
    _emit_grad(
        k, dx, dy, w,
        [
            f"np.multiply({{gradient}}, {packed}[{{number}}], out={{product}})",
            "np.add({image}, {product}, out={image})",
        ],
        [],
    )  # fmt: skip


@kernel(CONV_GRAD_WEIGHT, lowering="depthwise", accepts=_single)
def depthwise_grad_weight(k: Emitter) -> None:
    """Each tap's products with ``dy``, summed over images, rows and columns."""
    recheck(k)
    (x, dy), (dw,) = k.ins, k.outs
    conv = conv_of(k.attrs.conv, x.shape, dw.shape, dy.shape)
    shape = (conv.rows.kernel * conv.cols.kernel, conv.channels, 1)
    total, share = k.scratch(shape, x.dtype, "total"), k.scratch(shape[1:], x.dtype, "share")
    k.line(f"{total}.fill(0)")
    _emit_grad(
        k, x, dy, dw,
        [
            "np.multiply({image}, {gradient}, out={product})",
            f"np.add.reduce({{product}}, axis=(0, 1, 2), out={share})",
            f"np.add({total}[{{number}}], {share}, out={total}[{{number}}])",
        ],
        [],
    )  # fmt: skip
    square = (conv.rows.kernel, conv.cols.kernel, conv.channels, 1)
    k.line(f"{dw}[...] = {total}.reshape({square}).transpose(2, 3, 0, 1)")
