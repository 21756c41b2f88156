"""Lowerings of the convolution: by gathered windows, as one plain product, or channel by channel."""

from __future__ import annotations

import math

from ....graph.ir import Node
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.ops.conv_pool import as_fused
from ....graph.types import CHANNELS_LAST, TensorType
from ....graph.windows import side_by_side
from ...planning.machine import this_machine
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter, Operand
from ..pool.max import pooling_axes
from ..shared.panels import product_seconds
from ..shared.windows import bind, channels_last, over_blocks, recheck
from .blocks import (
    bind_bias,
    bind_outputs,
    bind_weights,
    by_images,
    emit_windows,
    multiply_windows,
    pack_weights,
    split,
    working_set,
)
from .geometry import Conv
from .numbers import attrs_of, conv_of, convolved, passes

FLOPS = 1e11
"""Multiply-adds (counted as two) a second of a product."""
RUN = 5e-9
"""Seconds to begin an inner loop of a copy."""
BYTES = 8e9
"""Bytes a second of gathering copies."""
CALL = 1e-6
"""Seconds of a NumPy call."""
TURN = 8e-10
"""Seconds to copy a number of a row-major image to where channels lie innermost."""
BACK = 4e-10
"""Seconds to copy a number of the result to where rows lie one after another."""
LOOP = 1e-8
"""Seconds of one loop of a maximum over the outputs of a pixel."""


def _flops(node: Node, inputs: tuple[TensorType, ...]) -> float:
    w, y = inputs[1].concrete, convolved(node, inputs)
    return 2.0 * y[0] * y[1] * y[2] * y[3] * w[1] * w[2] * w[3]


def im2col_ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """The windows gathered and multiplied, by blocks that the threads share; each streams the weights."""
    machine, itemsize, w = this_machine(), inputs[0].dtype.itemsize, inputs[1].concrete
    conv = conv_of(attrs_of(node), inputs[0].concrete, w, convolved(node, inputs))
    blocks = len(split(conv, conv.rows.count, conv.cols.count, itemsize))
    if not blocks:
        return [Way(0.0)]
    weights = conv.group_out * conv.taps * itemsize
    pixels = conv.pixels * conv.groups // blocks
    gathered = conv.pixels * conv.taps * conv.groups * itemsize / blocks
    one = product_seconds(machine, pixels, conv.taps, conv.group_out, itemsize, weights <= machine.l2 // 2)
    one += gathered / machine.near + (2 + passes(node, inputs)) * machine.call
    one += _starts(node, inputs, conv) / blocks + _passing(node, inputs, conv) * itemsize / blocks / machine.near
    total = -(-blocks // threads) * one + (machine.fork if min(blocks, threads) > 1 else 0.0)
    return [Way(total, f"{pixels} pixels")]


def _passing(node: Node, inputs: tuple[TensorType, ...], conv: Conv) -> float:
    """Numbers read and written after the product: by the pooling all of it, by what follows the results."""
    pooled = as_fused(node.attrs).pool is not None
    results = math.prod(node.outputs[0].concrete)
    return 2.0 * ((passes(node, inputs) - pooled) * results + pooled * conv.pixels * conv.outputs)


def _starts(node: Node, inputs: tuple[TensorType, ...], conv: Conv) -> float:
    """Seconds to begin loops over a window's rows and over the outputs of a pixel, and to turn input and result."""
    together = conv.cols.dilation == 1
    runs = conv.pixels * conv.rows.kernel * conv.groups * (1 if together else conv.cols.kernel)
    # single numbers are copied along another axis
    begin = RUN if conv.group_in * (conv.cols.kernel if together else 1) > 1 else TURN
    turned = 0 if inputs[0].order == CHANNELS_LAST else math.prod(inputs[0].concrete)
    pool = as_fused(node.attrs).pool
    y, loops = node.outputs[0].concrete, 0
    back = 0 if node.outputs[0].order == CHANNELS_LAST else math.prod(y)
    if pool is not None and not side_by_side(pooling_axes(pool, convolved(node, inputs), y[2:])):
        loops = y[0] * y[2] * y[3] * pool.kernel[1] * conv.groups
    return runs * begin + turned * TURN + back * BACK + loops * LOOP


@kernel(CONV, lowering="im2col", ways=im2col_ways, staged=True, ordered=True)
def im2col(k: Emitter) -> None:
    """Windows of a block of output rows into a matrix, one product, straight into the output."""
    recheck(k)
    x, w, *bias = k.ins
    conv = conv_of(k.attrs, x.shape, w.shape, k.outs[0].shape)
    emit_product(k, x, w, k.outs[0], conv, bias[0] if bias else None)


def emit_product(
    k: Emitter, x: Operand, w: Operand, y: Operand, conv: Conv, bias: Operand | None, *, flipped: bool = False
) -> None:
    """The block loop: gather, multiply, add the bias; ``flipped`` as for :func:`pack_weights`."""
    work = working_set(conv, x.dtype, k.threads)
    if not work:
        return
    last = channels_last(y)
    windows = emit_windows(k, x, conv, work)
    names, lists, body = windows.names, windows.lists, windows.body
    geometry, plan = k.use(conv, f"{k.name}_conv"), k.use([list(map(tuple, mine)) for mine in work], f"{k.name}_parts")
    out = k.names.fresh("out")
    names.append(out)
    lists.append(bind(k, "outputs", f"{k.use(bind_outputs)}({geometry}, {plan}, {y}, {last})", y))
    if last:
        multiply_windows(k, windows, work, conv, w, lists[-1], y, flipped=flipped)
    else:
        packed, weight = pack_weights(k, w, conv, flipped=flipped), k.names.fresh("weight")
        names.append(weight)
        lists.append(bind(k, "weights", f"{k.use(bind_weights)}({plan}, {packed})", packed))
        # (outputs, taps) x (images, taps, pixels), the window matrix seen from its other side
        turned = f"{k.use(by_images)}({windows.matrix}, {out})"
        body.append(f"np.matmul({weight}, {turned}, out={out})")
    if bias is not None:
        shift = k.names.fresh("bias")
        names.append(shift)
        lists.append(bind(k, "biases", f"{k.use(bind_bias)}({geometry}, {plan}, {bias}, {last})", bias))
        body.append(f"np.add({out}, {shift}, out={out})")
    over_blocks(k, len(work), names, lists, body)


def is_pointwise(node: Node[ConvAttrs], inputs: tuple[TensorType, ...]) -> bool:
    a = node.attrs
    return inputs[1].concrete[2:] == (1, 1) and a.groups == 1 and not any(a.padding)


def _pointwise_cost(node: Node, inputs: tuple[TensorType, ...], threads: int) -> float:
    machine, itemsize = this_machine(), inputs[0].dtype.itemsize
    bytes_ = math.prod(inputs[1].concrete) + 2 * passes(node, inputs) * math.prod(node.outputs[0].concrete)
    return _flops(node, inputs) / machine.flops + bytes_ * itemsize / machine.far


@kernel(CONV, lowering="pointwise", accepts=is_pointwise, cost=_pointwise_cost)
def pointwise(k: Emitter) -> None:
    """A 1x1 convolution is a product of the pixels as they lie with the weight."""
    recheck(k)
    x, w, *bias = k.ins
    (y,) = k.outs
    n, outputs, rows, cols = y.shape
    channels, pixels = x.shape[1], rows * cols
    down, right = k.attrs.stride
    x_last, y_last = channels_last(x), channels_last(y)
    if (down, right) != (1, 1):
        shape = (n, rows, cols, channels) if x_last else (n, channels, rows, cols)
        thin = k.scratch(shape, x.dtype, "thinned")
        step = f"::{down}, ::{right}"
        k.line(f"np.copyto({thin}, {f'{x}.transpose(0, 2, 3, 1)[:, {step}]' if x_last else f'{x}[:, :, {step}]'})")
        x = thin
    elif x_last:
        x = k.permuted(x, CHANNELS_LAST)
    matrix = k.reshaped(w, (outputs, channels), "matrix")
    seen = k.permuted(y, CHANNELS_LAST) if y_last else y
    if x_last and y_last:
        a = k.reshaped(x, (n * pixels, channels), "pixels")
        out = k.target(seen, (n * pixels, outputs))
    else:
        a = k.reshaped(x, (n, pixels, channels) if x_last else (n, channels, pixels), "pixels")
        if x_last != y_last:
            a = k.permuted(a, (0, 2, 1))
        out = k.target(seen, (n, pixels, outputs) if y_last else (n, outputs, pixels))
    k.line(f"np.matmul({a}, {matrix}.T, out={out})" if y_last else f"np.matmul({matrix}, {a}, out={out})")
    if bias:
        column = "" if y_last else "[:, None]"
        k.line(f"np.add({out}, {bias[0]}{column}, out={out})")
