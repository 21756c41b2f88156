"""Separates max pooling from its convolution where that is faster, which depends on sizes.

Where windows overlap, few kernels pool within their blocks, and these compute the rows on a block's border twice:
minimal filtering with a pooling behind it may take half as long.
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

Taken: TypeAlias = "Callable[[Node, tuple[TensorType, ...]], float]"

GAIN = 1.2
"""So many times as long both in one must be predicted to take: predictions are no better."""


def part_pools(graph: Graph, taken: Taken) -> Graph:
    """The graph with those convolutions without their pooling that are quicker so; itself where none is.

    Parameters
    ----------
    graph
        Concrete.
    taken
        ``taken(node, types)`` are the seconds that a node is predicted to take whose inputs are of these types.
    """

    def rule(site: Site) -> Symbol | None:
        attrs: ConvPoolAttrs = site.attrs
        if attrs.pool is None:
            return None
        op, alone = _alone(attrs)
        types = tuple(x.type for x in site.inputs)
        made, pooled = _first(op, alone, types), site.type.with_order(CHANNELS_LAST)
        parts = taken(Node(op, alone, (made,)), types) + taken(Node(MAX_POOL, attrs.pool, (pooled,)), (made,))
        if parts * GAIN > taken(site.node, types):
            return None
        y: Symbol = apply(op, alone, *site.inputs)
        site.call(y, site.name)
        return apply_all(MAX_POOL, attrs.pool, y)[0]

    return rebuild(graph, rule, "part_pools", at={CONV_POOL})


def _alone(attrs: ConvPoolAttrs) -> tuple[OpDef, Attrs]:
    """The convolution with all but the pooling."""
    if attrs.activation is None and not attrs.floor:
        return CONV, attrs.conv
    return CONV_POOL, replace(attrs, pool=None)


def _first(op: OpDef, attrs: Attrs, types: tuple[TensorType, ...]) -> TensorType:
    """What an op makes of these, channels last."""
    return op.infer_types(attrs, types)[0].with_order(CHANNELS_LAST)
