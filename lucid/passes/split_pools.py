"""Separates max pooling from its convolution where that is faster, which depends on sizes.

If windows overlap, few kernels can pool within their blocks, and those compute the rows at the borders of blocks twice.
Minimal filtering followed by a pooling may take half as long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from ..graph.ir import Graph, Node
from ..graph.opdef import Attrs, OpDef, apply, apply_all
from ..graph.ops.conv import CONV
from ..graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from ..graph.ops.pool import MAX_POOL
from ..graph.trace import Symbol
from ..graph.types import CHANNELS_LAST, TensorType
from .rewrite import Site, rebuild

NodeCost: TypeAlias = "Callable[[Node, tuple[TensorType, ...]], float]"

GAIN = 1.2
"""Predicted gain from which on they are separated: predictions are no more precise than that."""


def split_pools(graph: Graph, cost: NodeCost) -> Graph:
    """Separate poolings from their convolutions where that is faster; returns the graph itself if it is for none.

    Parameters
    ----------
    graph
        A graph with concrete sizes.
    cost
        ``cost(node, types)`` is the predicted time, in seconds, of a node with inputs of these types.
    """

    def rule(site: Site) -> Symbol | None:
        attrs: ConvPoolAttrs = site.attrs
        if attrs.pool is None:
            return None
        op, alone = _alone(attrs)
        types = tuple(x.type for x in site.inputs)
        made, pooled = _first(op, alone, types), site.type.with_order(CHANNELS_LAST)
        parts = cost(Node(op, alone, (made,)), types) + cost(Node(MAX_POOL, attrs.pool, (pooled,)), (made,))
        if parts * GAIN > cost(site.node, types):
            return None
        y: Symbol = apply(op, alone, *site.inputs)
        site.call(y, site.name)
        return apply_all(MAX_POOL, attrs.pool, y)[0]

    return rebuild(graph, rule, "split_pools", at={CONV_POOL})


def _alone(attrs: ConvPoolAttrs) -> tuple[OpDef, Attrs]:
    """The convolution without its pooling."""
    if attrs.activation is None and not attrs.floor:
        return CONV, attrs.conv
    return CONV_POOL, replace(attrs, pool=None)


def _first(op: OpDef, attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
    """The type of an op's first result, channels-last."""
    return op.infer_types(attrs, types)[0].with_order(CHANNELS_LAST)
