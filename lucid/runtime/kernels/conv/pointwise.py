"""A 1x1 convolution as one product."""

from __future__ import annotations

import math

from ....graph.ir import Node
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.registry import kernel
from ...planning.work import Product, Work
from ...program.emitter import Emitter
from ..shared.epilogue import Epilogue
from ..shared.loop import channels_last, recheck
from .numbers import attrs_of


def is_pointwise(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Whether the convolution of a node, alone or fused, is 1x1, without padding."""
    return inputs[1].concrete[2:] == (1, 1) and not any(attrs_of(node).padding)


def _accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    return attrs_of(node).groups == 1 and is_pointwise(node, inputs)


def _work(node: Node[ConvAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    (n, outputs, *size), channels, itemsize = node.outputs[0].concrete, inputs[1].concrete[1], inputs[0].dtype.itemsize
    passed = 2 * Epilogue.of(node, inputs).passes * math.prod(node.outputs[0].concrete)
    product = Product(n * math.prod(size), channels, outputs, itemsize, packed=False, resident=True)
    return Work((product,), far=(channels * outputs + passed) * itemsize)


@kernel(CONV, lowering="pointwise", accepts=_accepts, cost=_work)
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
