"""Fuses an activation into the linear layer before it."""

from __future__ import annotations

from ...graph.ir import Graph
from ...graph.opdef import apply
from ...graph.ops.fused_linear import FUSED_LINEAR, FusedLinearAttrs
from ...graph.ops.linalg import LINEAR
from ...graph.trace import Symbol
from ..rewrite import Declined, Site, rebuild


def fuse_linear(graph: Graph) -> Graph:
    """Fuse ``Linear`` with the activation that follows, if the value in between has no other reader.

    The node takes the linear layer's name.
    """

    def rule(site: Site) -> Symbol | Declined | None:
        if not site.op.activation:
            return None
        linear = site.producer(0)
        if linear.op is not LINEAR:
            return None
        if not linear.single_use:
            return linear.shared()
        site.absorb(linear)
        y: Symbol = apply(FUSED_LINEAR, FusedLinearAttrs(site.op.name, site.attrs), *linear.inputs)
        site.call(y, linear.name)
        return y

    return rebuild(graph, rule, "fuse_linear") if LINEAR in graph.ops else graph
