"""Folds the subtraction of the mean of a linear layer's outputs, with which layer normalisation begins, into the layer.

``y - y.mean(-1)`` of ``y = x @ w.T + b`` is ``x @ (w - w.mean(0)).T + (b - b.mean())``. The new weights are nodes of
the graph that depend on parameters only, so they are computed once per change of these.
"""

from __future__ import annotations

from ...graph.facts import parameter_only
from ...graph.ir import Graph
from ...graph.opdef import NoAttrs, apply
from ...graph.ops.elementwise import SUB
from ...graph.ops.linalg import LINEAR
from ...graph.ops.reduce import MEAN
from ...graph.trace import Symbol
from ..rewrite import Declined, Site, rebuild, unfixed


def fold_means(graph: Graph) -> Graph:
    """Fold each mean that is subtracted from a linear layer with fixed weights and no other reader.

    Sums round differently than before, so this is for graphs that need not be exact.
    """
    if LINEAR not in graph.ops or MEAN not in graph.ops:
        return graph
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | Declined | None:
        if site.op is not SUB or site.name in fixed:
            return None
        layer, mean = site.producer(0), site.producer(1)
        if layer.op is not LINEAR or mean.op is not MEAN or mean.inputs[0].value != site.inputs[0].value:
            return None
        if mean.attrs.axes != (layer.type.rank - 1,) or not mean.attrs.keepdims:
            return None
        if not mean.single_use:
            return mean.shared()
        if layer.uses() != 2:
            return layer.shared()
        x, weight, *bias = layer.inputs
        if moving := unfixed(map(layer.producer, range(1, len(layer.inputs))), fixed):
            return moving
        less = [weight - weight.mean(0, keepdim=True), *(one - one.mean() for one in bias)]
        y: Symbol = apply(LINEAR, NoAttrs(), x, *less)
        site.absorb(layer, mean)
        site.call(y, layer.name)
        return y

    return rebuild(graph, rule, "fold_means")
