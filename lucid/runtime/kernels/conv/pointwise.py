"""A 1x1 convolution as one product; a grouped one, of images stored as planes, as one batch of products."""

from __future__ import annotations

import math

from ....graph.ir import Node
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.phase import Phase
from ...planning.registry import kernel
from ...planning.work import Product, Work
from ...program.emitter import Emitter, Operand
from ..shared.epilogue import Epilogue
from ..shared.loop import channels_last, recheck
from .numbers import attrs_of


def is_pointwise(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether a node's convolution, alone or fused, is 1x1 without padding."""
    return inputs[1].concrete[2:] == (1, 1) and not any(attrs_of(node).padding)


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether groups, if any, have several channels, in images stored as planes; a single channel is slow in BLAS."""
    planes = CHANNELS_LAST not in (inputs[0].order, node.outputs[0].order)
    grouped = planes and inputs[1].concrete[1] > 1
    return is_pointwise(node, inputs) and (grouped or attrs_of(node).groups == 1)


def _work(node: Node[ConvAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (n, outputs, *size), channels, itemsize = node.outputs[0].concrete, inputs[1].concrete[1], inputs[0].dtype.itemsize
    passed, groups = 2 * Epilogue.of(node, inputs).passes * math.prod(node.outputs[0].concrete), node.attrs.groups
    product = Product(n * math.prod(size), channels, outputs // groups, itemsize, False, True, groups)
    work = Work((product,), far=(channels * outputs + passed) * itemsize)
    if groups == 1:
        return work
    moved = math.prod(inputs[0].concrete) + math.prod(node.outputs[0].concrete)
    return work + Work(near=moved * itemsize, loops=n * outputs)


@kernel(CONV, lowering="pointwise", accepts=_accepts, cost=_work)
def pointwise(k: Emitter) -> None:
    """Multiply the pixels, viewed in place, by the weight."""
    recheck(k)
    x, w, *bias = k.ins
    (y,) = k.outs
    n, outputs, rows, cols = y.shape
    channels, pixels = x.shape[1], rows * cols
    down, right = k.attrs.stride
    x_last, y_last = channels_last(x), channels_last(y)
    groups = k.attrs.groups
    parts = (n, groups) if groups > 1 else (n,)
    if (down, right) != (1, 1):
        shape = (n, rows, cols, channels) if x_last else (n, channels, rows, cols)
        thin = k.scratch(shape, x.dtype, "thinned")
        step = f"::{down}, ::{right}"
        k.line(f"np.copyto({thin}, {f'{x}.transpose(0, 2, 3, 1)[:, {step}]' if x_last else f'{x}[:, :, {step}]'})")
        x = thin
    elif x_last:
        x = k.permuted(x, CHANNELS_LAST)
    matrix = _matrix(k, w, (*parts[1:], outputs // groups, channels // groups))
    seen = k.permuted(y, CHANNELS_LAST) if y_last else y
    if x_last and y_last:
        a = k.reshaped(x, (n * pixels, channels), "pixels")
        out = k.target(seen, (n * pixels, outputs))
    else:
        a = k.reshaped(x, (n, pixels, channels) if x_last else (*parts, channels // groups, pixels), "pixels")
        if x_last != y_last:
            a = k.permuted(a, (0, 2, 1))
        out = k.target(seen, (n, pixels, outputs) if y_last else (*parts, outputs // groups, pixels))
    k.line(f"np.matmul({a}, {matrix}.T, out={out})" if y_last else f"np.matmul({matrix}, {a}, out={out})")
    if bias:
        column = "" if y_last else "[..., None]"
        added = k.reshaped(bias[0], (groups, outputs // groups), "bias") if groups > 1 else bias[0]
        k.line(f"np.add({out}, {added}{column}, out={out})")


def _matrix(k: Emitter, w: Operand, shape: tuple[int, ...]) -> Operand:
    """The weight, which has a single tap, as a matrix or a batch of one for each group.

    A weight that changes from run to run, such as a transposed one in a training step, is viewed in place: copying it
    would take a third as long as the product.
    """
    if len(shape) == 2 and w.phase is not Phase.STATE:
        return k.view(w, k.seen(w, shape), shape, label="matrix")
    return k.reshaped(w, shape, "matrix")
