"""Convolution of few pixels with many channels: each thread multiplies its share of the input channels.

Where a layer has fewer pixels than a product needs rows, its time is that of streaming the weights, and
cutting the pixels (or outputs) into blocks streams or packs them several times. Cut by input channels, every
weight is read once, by one thread; the partial sums are added at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.machine import this_machine
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ..shared.activation import acts_anywhere, combining, write_activation, zero_row
from ..shared.panels import cut_for, multiply_lines, product_seconds
from ..shared.panels_views import bind_products
from ..shared.windows import bind, over_blocks, pieces, recheck
from .blocks import Part, bind_padded, bind_sources, by_panels
from .geometry import Conv
from .numbers import attrs_of, conv_of, convolved
from .plain import RUN, TURN

MOST_PIXELS = 512
"""With more, blocks of pixels keep all threads busy without streaming the weights too often."""


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    n, _, rows, cols = convolved(node, inputs)
    attrs = as_fused(node.attrs)
    fits = attrs.conv.groups == 1 and 0 < n * rows * cols <= MOST_PIXELS
    return fits and attrs.pool is None and acts_anywhere(node)


def _cost(node: Node, inputs: tuple[TensorType, ...], threads: int) -> float:
    machine, w = this_machine(), inputs[1].concrete
    n, outputs, rows, cols = convolved(node, inputs)
    itemsize, pixels, workers = inputs[0].dtype.itemsize, n * rows * cols, min(threads, w[1])
    taps = w[1] * w[2] * w[3] // workers
    share = product_seconds(machine, pixels, taps, outputs, itemsize, outputs * taps * itemsize <= machine.l2 // 2)
    share += 3 * pixels * taps * itemsize / machine.near
    share += pixels * w[2] * (w[3] if attrs_of(node).dilation[1] > 1 else 1) * RUN
    share += 0 if inputs[0].order == CHANNELS_LAST else math.prod(inputs[0].concrete) * TURN / workers
    ends = (threads + 2) * pixels * outputs * itemsize / machine.near
    gathered = share + ends + machine.fork + 12 * machine.call
    return gathered if workers > 1 else 1.5 * gathered  # nothing is gained by splitting for one


@kernel(CONV, CONV_POOL, lowering="split_channels", accepts=_accepts, cost=_cost, staged=True)
def split_channels(k: Emitter) -> None:
    """Gather and multiply by channels, add up, bias, activate."""
    recheck(k)
    x, w = k.ins[:2]
    (y,) = k.outs
    attrs = attrs_of(k.node)
    whole = conv_of(attrs, x.shape, w.shape, y.shape)
    ranges = pieces(whole.channels, -(-whole.channels // min(k.threads, whole.channels)))
    parts = [k.scratch((whole.pixels, whole.outputs), x.dtype, "part") for _ in ranges]
    shares, memory = _gather(k, x, whole, ranges)
    multiplied = _products(k, w, whole, ranges, shares, parts, memory)
    names = ("edges", "inside", "seen", "windows", "matrix", "source", "products")
    edges, inside, seen, windows, matrix, source, products = map(k.names.fresh, names)
    edge = k.names.fresh("edge")
    over_blocks(
        k,
        len(ranges),
        [f"(({edges}, {inside}, {seen}, {windows}, {matrix}), {source})", products],
        [shares, multiplied],
        [
            f"for {edge} in {edges}:\n    {edge}.fill(0)",
            f"{inside}[...] = {source}",
            f"{windows}[...] = {seen}",
            multiply_lines(k, products),
        ],
    )
    _finish(k, y, whole, parts)


def _slab(conv: Conv) -> tuple[int, int]:
    """Rows and columns of a padded image."""
    return (
        (conv.rows.count - 1) * conv.rows.stride + conv.rows.extent,
        (conv.cols.count - 1) * conv.cols.stride + conv.cols.extent,
    )


def _gather(
    k: Emitter, x: Operand, whole: Conv, ranges: Sequence[tuple[int, int]]
) -> tuple[str, Sequence[Operand]]:  # fmt: skip
    """The list of what each worker gathers, and the memory of it."""
    convs = [replace(whole, channels=b - a) for a, b in ranges]
    images = [k.scratch((whole.images, *_slab(whole), c.channels), x.dtype, "padded") for c in convs]
    matrices = [k.scratch((whole.pixels * c.taps,), x.dtype, "windows") for c in convs]
    listed = ", ".join(f"({image}, {matrix})" for image, matrix in zip(images, matrices, strict=True))
    geometry, cut = k.use(convs, f"{k.name}_convs"), k.use(list(ranges), f"{k.name}_ranges")
    views = bind(k, "gather", f"{k.use(bind_shares)}({geometry}, [{listed}])", *images, *matrices)
    sources = bind(k, "sources", f"{k.use(bind_channels)}({geometry}, {cut}, {x})", x)
    shares = bind(k, "shares", f"[[entry] for entry in zip({views}, {sources})]", x, *images)
    return shares, (x, *images, *matrices)


def bind_shares(convs: Sequence[Conv], memory: Sequence[tuple[Any, Any]]) -> list[Any]:
    """For each thread its padded images, their windows, and the matrix these go to."""
    bound = []
    for conv, (image, matrix) in zip(convs, memory, strict=True):
        edges, *views = bind_padded(conv, [[_all(conv)]], [image], [matrix])[0][0]
        right = conv.cols.before + conv.cols.size
        sides = [side for side in (image[:, :, : conv.cols.before], image[:, :, right:]) if side.size]
        bound.append(([*edges, *sides], *views))
    return bound


def _all(conv: Conv) -> Part:
    return Part(0, conv.images, 0, conv.rows.count, 0)


def bind_channels(convs: Sequence[Conv], ranges: Sequence[tuple[int, int]], x: Any) -> list[Any]:
    """For each thread its channels of the input."""
    return [bind_sources(conv, [[_all(conv)]], x[:, a:b])[0][0] for conv, (a, b) in zip(convs, ranges, strict=True)]


def _products(
    k: Emitter, w: Operand, whole: Conv, ranges: Sequence[tuple[int, int]], shares: str, parts: Sequence[Operand],
    memory: Sequence[Operand],
) -> str:  # fmt: skip
    """The list of each worker's products with the weights of its channels."""
    taps, packed = whole.rows.kernel * whole.cols.kernel, []
    cut = cut_for(k, whole.pixels, taps * max(b - a for a, b in ranges), whole.outputs)
    with k.once(w):
        for a, b in ranges:
            panels = k.scratch((whole.outputs // cut.width, taps * (b - a), cut.width), w.dtype, "packed")
            channels = f"{w}[None, :, {a}:{b}].transpose(0, 1, 3, 4, 2)"
            k.line(f"{panels}[...] = {k.use(by_panels)}({channels}, {cut.width})[0]")
            packed.append(panels)
    matrices = f"[[share[0][0][-1]] for share in {shares}]"
    weights, sums = (f"[{', '.join(f'[{x}]' for x in operands)}]" for operands in (packed, parts))
    source = f"{k.use(bind_products)}({matrices}, {weights}, {sums}, {cut.rows})"
    return bind(k, "products", source, *packed, *parts, *memory)


def _finish(k: Emitter, y: Operand, whole: Conv, parts: Sequence[Operand]) -> None:
    total = parts[0]
    bias, residual = bias_and_residual(k.attrs, k.ins)
    shape = (whole.images, whole.rows.count, whole.cols.count, whole.outputs)
    for part in parts[1:]:
        k.line(f"np.add({total}, {part}, out={total})")
    if bias is not None:
        k.line(f"{combining(k)}({total}, {bias}, out={total})")
    if residual is not None:
        image = k.seen(total, shape)
        k.line(f"np.add({image}, {residual}.transpose(0, 2, 3, 1), out={image})")
    if k.node.op is CONV_POOL:
        zeros = k.use(zero_row(y.dtype, whole.outputs), "zeros")
        written = write_activation(k, y.dtype, total.shape, str(total), str(total), zeros)
        k.take(written.statements if written is not None else ())
    k.line(f"{y}.transpose(0, 2, 3, 1)[...] = {k.seen(total, shape)}")
