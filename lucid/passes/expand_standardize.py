"""Expands standardisation into simpler ops, so that they can be fused into loops.

``Standardize`` becomes a mean, a mean of squares, and a product that can fuse with its readers; the same goes for the
standardisation within ``LayerNorm``.
"""

from __future__ import annotations

from math import prod

from ..graph.ir import Graph
from ..graph.ops.elementwise import sqrt
from ..graph.ops.norm import LAYER_NORM, STANDARDIZE
from ..graph.ops.reduce import mean_over
from .lower import lower
from .rewrite import Declined, Replacement, Site, rebuild


def expand_standardize(graph: Graph) -> Graph:
    """Replace standardisations by the ops that they consist of."""

    def rule(site: Site) -> Replacement:
        (x,), a = site.inputs, site.attrs
        known = prod(dim for axis in a.axes if isinstance(dim := x.type.shape[axis], int))
        if known < a.least:
            return Declined(f"whether there are {a.least} values to take a variance of is known when sizes are")
        mean = mean_over(x, a.axes)
        centred = x - mean
        variance = mean_over(centred * centred, a.axes)
        return [centred * (1.0 / sqrt(variance + a.eps)), mean, variance]

    opened = lower(graph, lambda node: node.op is not LAYER_NORM)
    return rebuild(opened, rule, "expand_standardize", at={STANDARDIZE})
