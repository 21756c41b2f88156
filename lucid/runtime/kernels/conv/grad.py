"""Gradients of the convolution: the input's by products scattered over windows or as a convolution, the weight's
as a sum of products of gathered windows. A transposed convolution is an input gradient with a bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_INPUT, CONV_GRAD_WEIGHT, CONV_TRANSPOSE, OfConvAttrs
from ....graph.types import TensorType
from ....graph.windows import Axis
from ...planning.registry import kernel
from ...program.emitter import Emitter
from ...program.views import as_view
from ..shared.windows import bind, channels_last, laid_out, over_blocks, recheck
from .blocks import Part, bind_weights, emit_windows, pack_weights, working_set
from .geometry import Conv
from .numbers import conv_of
from .plain import BYTES, CALL, FLOPS, emit_product


def _input_flops(node: Node, inputs: tuple[TensorType, ...]) -> float:
    dy, w = inputs[0].concrete, inputs[1].concrete
    return 2.0 * dy[0] * dy[1] * dy[2] * dy[3] * w[1] * w[2] * w[3]


def _scatter_cost(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...], threads: int) -> float:
    dy, w = inputs[0], inputs[1].concrete
    conv = node.attrs.conv
    moved = 3.0 * dy.concrete[0] * dy.concrete[2] * dy.concrete[3] * w[1] * w[2] * w[3] * conv.groups
    return _input_flops(node, inputs) / FLOPS + moved * dy.dtype.itemsize / BYTES + 10 * CALL * conv.groups


def _turned(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    conv = node.attrs.conv
    kernel_ = inputs[1].concrete[2:]
    return conv.stride == (1, 1) and all(
        conv.padding[i] <= conv.dilation[i % 2] * (kernel_[i % 2] - 1) for i in range(4)
    )


def _turned_cost(node: Node[OfConvAttrs], inputs: tuple[TensorType, ...], threads: int) -> float:
    conv = node.attrs.conv
    n, outputs = inputs[0].concrete[:2]
    x, w = node.outputs[0].concrete, inputs[1].concrete
    gathered = 1.0 * n * outputs * x[2] * x[3] * w[2] * w[3]
    flops = 2 * gathered * w[1]
    return flops / FLOPS + gathered * inputs[0].dtype.itemsize / BYTES + 5 * CALL * conv.groups


@kernel(CONV_GRAD_INPUT, CONV_TRANSPOSE, lowering="turned", accepts=_turned, cost=_turned_cost)
def grad_input_turned(k: Emitter) -> None:
    """At stride 1 the input gradient is a convolution of ``dy`` with the kernel turned by 180 degrees."""
    recheck(k)
    (dy, w, *bias), (dx,), a = k.ins, k.outs, k.attrs.conv
    axes = []
    for i in (0, 1):
        reach = a.dilation[i] * (w.shape[2 + i] - 1)
        before, after = reach - a.padding[i], reach - a.padding[2 + i]
        axes.append(Axis(w.shape[2 + i], 1, before, after, a.dilation[i], dy.shape[2 + i], dx.shape[2 + i]))
    conv = Conv(dy.shape[0], dy.shape[1], dx.shape[1], a.groups, axes[0], axes[1])
    emit_product(k, dy, w, dx, conv, bias[0] if bias else None, flipped=True)


@kernel(CONV_GRAD_INPUT, CONV_TRANSPOSE, lowering="col2im", cost=_scatter_cost)
def grad_input_scattered(k: Emitter) -> None:
    """The product of ``dy`` with the weight gives every window's gradient; each tap is added where it came from."""
    recheck(k)
    (dy, w, *bias), (dx,) = k.ins, k.outs
    dy = laid_out(k, dy, channels_last(dy), "gradient")
    conv = conv_of(k.attrs.conv, dx.shape, w.shape, dy.shape)
    k.line(f"{dx}[...] = {bias[0]}[:, None, None]" if bias else f"{dx}.fill(0)")
    work = working_set(conv, dy.dtype, 1)  # neighbouring parts add to the same rows: one after the other
    if not work:
        return
    last, packed = channels_last(dy), pack_weights(k, w, conv)
    pixels = max((p.n1 - p.n0) * (p.r1 - p.r0) for p in work[0]) * conv.cols.count
    memory = k.scratch((pixels * conv.taps,), dy.dtype, "windows")
    geometry, plan = k.use(conv, f"{k.name}_conv"), k.use([list(map(tuple, work[0]))], f"{k.name}_parts")
    lists = [
        bind(k, "gradients", f"{k.use(bind_gradients)}({geometry}, {plan}, {dy}, {last})", dy),
        bind(k, "weights", f"{k.use(bind_weights)}({plan}, {packed})", packed),
        bind(k, "products", f"{k.use(bind_factors)}({geometry}, {plan}, {memory}, {last})", memory),
        bind(k, "scatter", f"{k.use(bind_scatter)}({geometry}, {plan}, {memory}, {dx})", memory, dx),
    ]
    a, b, product, taps, target, source = (
        k.names.fresh(n) for n in ("gradient", "weight", "product", "taps", "target", "tap")
    )
    body = [
        f"np.matmul({a}, {b}, out={product})",
        f"for {target}, {source} in {taps}:",
        f"    np.add({target}, {source}, out={target})",
    ]
    over_blocks(k, 1, [a, b, product, taps], lists, body)


def _window_shape(conv: Conv, part: Part) -> tuple[int, ...]:
    return (
        part.n1 - part.n0, part.r1 - part.r0, conv.cols.count, conv.rows.kernel, conv.cols.kernel, conv.group_in,
    )  # fmt: skip


def _pixels(conv: Conv, part: Part) -> tuple[int, int]:
    return part.n1 - part.n0, (part.r1 - part.r0) * conv.cols.count


def bind_gradients(conv: Conv, work: Sequence[Sequence[Any]], dy: Any, last: bool) -> list[list[Any]]:
    """Each part of ``dy`` as (pixels, outputs) where channels lie innermost, else (images, pixels, outputs)."""
    bound = []
    for mine in work:
        entries = []
        for part in map(Part._make, mine):
            number, pixels = _pixels(conv, part)
            outputs = slice(part.group * conv.group_out, (part.group + 1) * conv.group_out)
            if last:
                view = dy.transpose(0, 2, 3, 1)[part.images, part.rows, :, outputs]
                entries.append(as_view(view, number * pixels, conv.group_out))
            else:
                view = as_view(dy[part.images, outputs, part.rows], number, conv.group_out, pixels)
                entries.append(view.transpose(0, 2, 1))
        bound.append(entries)
    return bound


def bind_factors(conv: Conv, work: Sequence[Sequence[Any]], memory: Any, flat: bool) -> list[list[Any]]:
    """The window matrix of each part, in the shape of :func:`bind_gradients`."""
    bound = []
    for mine in work:
        entries = []
        for part in map(Part._make, mine):
            number, pixels = _pixels(conv, part)
            shape = (number * pixels, conv.taps) if flat else (number, pixels, conv.taps)
            entries.append(as_view(memory[: number * pixels * conv.taps], shape))
        bound.append(entries)
    return bound


def bind_scatter(conv: Conv, work: Sequence[Sequence[Any]], memory: Any, dx: Any) -> list[list[Any]]:
    """For each part and tap the elements of ``dx``, and those of the window matrix that are added to them."""
    nhwc, bound = dx.transpose(0, 2, 3, 1), []
    for mine in work:
        entries = []
        for part in map(Part._make, mine):
            shape = _window_shape(conv, part)
            number, pixels = _pixels(conv, part)
            windows = as_view(memory[: number * pixels * conv.taps], shape)
            channels = slice(part.group * conv.group_in, (part.group + 1) * conv.group_in)
            taps = []
            for i, down in enumerate(conv.rows.taps(part.r0, part.r1)):
                for j, right in enumerate(conv.cols.taps()):
                    if down.last > down.first and right.last > right.first:
                        source = windows[:, down.first - part.r0 : down.last - part.r0, right.first : right.last, i, j]
                        target = nhwc[part.images, conv.rows.source(down), conv.cols.source(right), channels]
                        taps.append((target, source))
            entries.append(taps)
        bound.append(entries)
    return bound


@kernel(CONV_GRAD_WEIGHT, lowering="im2col")
def grad_weight(k: Emitter) -> None:
    """The sum over all parts of dy's matrix, turned, times the window matrix."""
    recheck(k)
    (x, dy), (dw,) = k.ins, k.outs
    dy = laid_out(k, dy, channels_last(dy), "gradient")
    conv = conv_of(k.attrs.conv, x.shape, dw.shape, dy.shape)
    work = working_set(conv, x.dtype, 1)
    if not work:
        k.line(f"{dw}.fill(0)")
        return
    total = k.scratch((conv.groups, conv.group_out, conv.taps), x.dtype, "total")
    share = k.scratch((conv.group_out, conv.taps), x.dtype, "share")
    k.line(f"{total}.fill(0)")
    windows = emit_windows(k, x, conv, work)
    names, lists, body = windows.names, windows.lists, windows.body
    geometry, plan = k.use(conv, f"{k.name}_conv"), k.use([list(map(tuple, work[0]))], f"{k.name}_parts")
    gradient, sum_ = k.names.fresh("gradient"), k.names.fresh("total")
    names += [gradient, sum_]
    lists.append(bind(k, "gradients", f"{k.use(bind_gradients)}({geometry}, {plan}, {dy}, {channels_last(dy)})", dy))
    lists.append(bind(k, "totals", f"{k.use(bind_weights)}({plan}, {total})", total))
    if channels_last(dy):
        factor = f"{gradient}.T"
    else:
        pixels = max((p.n1 - p.n0) * (p.r1 - p.r0) for p in work[0]) * conv.cols.count
        packed = k.scratch((pixels, conv.group_out), dy.dtype, "gradient")
        filled = f"{packed}[:len({windows.matrix})]"
        body.append(f"{k.use(as_view)}({filled}, {gradient}.shape)[...] = {gradient}")
        factor = f"{filled}.T"
    body.append(f"np.matmul({factor}, {windows.matrix}, out={share})")
    body.append(f"np.add({sum_}, {share}, out={sum_})")
    over_blocks(k, 1, names, lists, body)
    shape = (conv.outputs, conv.rows.kernel, conv.cols.kernel, conv.group_in)
    k.line(f"{dw}[...] = {total}.reshape({shape}).transpose(0, 3, 1, 2)")
