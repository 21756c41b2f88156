"""The sizes of a node's convolution, which may have other ops fused into it."""

from __future__ import annotations

from collections.abc import Sequence

from ....graph.ir import Node
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.ops.conv_pool import as_fused
from ....graph.types import TensorType
from ....graph.windows import Axis, axes_of
from ..shared.pooling import pooling_axes
from .geometry import Conv


def attrs_of(node: Node) -> ConvAttrs:
    """The attributes of the convolution, alone or fused."""
    return as_fused(node.attrs).conv


def convolved(node: Node, inputs: tuple[TensorType, ...]) -> tuple[int, ...]:
    """The shape of the convolution's result, before any pooling."""
    plain = tuple(t.with_order(None) for t in inputs[:2])
    return CONV.infer_types(attrs_of(node), plain)[0].concrete


def pool_axes(node: Node, inputs: tuple[TensorType, ...]) -> tuple[Axis, ...]:
    """The axes of the pooling of the convolution's result; empty without pooling."""
    pool = as_fused(node.attrs).pool
    if pool is None:
        return ()
    return pooling_axes(pool, convolved(node, inputs), node.outputs[0].concrete[2:])


def conv_of(a: ConvAttrs, x: Sequence[int], w: Sequence[int], y: Sequence[int]) -> Conv:
    """The sizes for these attributes and concrete shapes of input, weight and output."""
    rows, cols = axes_of(x, w[2:], a.stride, a.padding, a.dilation, y[2:])
    return Conv(x[0], x[1], w[0], a.groups, rows, cols)


def conv_of_node(node: Node, inputs: Sequence[TensorType]) -> Conv:
    """The sizes of a node's convolution, alone or fused."""
    x, w = (t.concrete for t in inputs[:2])
    return conv_of(attrs_of(node), x, w, convolved(node, tuple(inputs)))
