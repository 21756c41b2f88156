"""Lets a linear layer activate its result itself; and prepares linear layers for products in blocks."""

from __future__ import annotations

from ...graph.facts import parameter_only
from ...graph.ir import Graph
from ...graph.opdef import apply
from ...graph.ops.fused_linear import FUSED_LINEAR, FusedLinearAttrs
from ...graph.ops.linalg import LINEAR
from ...graph.trace import Symbol
from ..rewrite import Site, rebuild


def fuse_linear(graph: Graph) -> Graph:
    """Fuse ``Linear`` with the activation that follows, if any; the node takes the linear layer's name.

    What is between must be read by the activation only. For graphs that are run again and again with the same weights:
    the fused op keeps a copy of them, ordered for its products.
    """
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | None:
        if site.op is LINEAR and site.name not in fixed:
            y: Symbol = apply(FUSED_LINEAR, FusedLinearAttrs(), *site.inputs)
            return y
        if not site.op.activation:
            return None
        linear = site.producer(0)
        if linear.op is not LINEAR or not linear.single_use:
            return None
        site.absorb(linear)
        y = apply(FUSED_LINEAR, FusedLinearAttrs(site.op.name, site.attrs), *linear.inputs)
        site.call(y, linear.name)
        return y

    return rebuild(graph, rule, "fuse_linear")
