"""Folds batch normalisation with given statistics into the convolution before it (Jacob et al., 2018, section 3.2).

``(conv(x, w) + b - mean) * s + beta`` is ``conv(x, w * s) + ((b - mean) * s + beta)``, ``s = gamma / sqrt(var + eps)``.
The new weights are nodes of the graph that depend on parameters only, so they are computed once per change of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...graph.facts import parameter_only
from ...graph.ir import Graph
from ...graph.opdef import OpDef, apply
from ...graph.ops.conv import CONV, CONV_TRANSPOSE
from ...graph.ops.elementwise import sqrt
from ...graph.ops.norm import BATCH_NORM, STANDARDIZE
from ...graph.trace import Symbol
from ..rewrite import Declined, Site, View, fixed_point, rebuild, unfixed

IN_GROUPS = "the output channels of a transposed convolution in groups lie on two axes"


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold each ``BatchNorm`` with fixed statistics into the fixed weights of a convolution that only it reads."""
    return fixed_point(_fold_once, graph, label="fold_batch_norm")


def _fold_once(graph: Graph) -> Graph:
    if BATCH_NORM not in graph.ops and STANDARDIZE not in graph.ops:
        return graph
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | Declined | None:
        if site.op is STANDARDIZE:
            return _by_batch(site)
        if site.op is not BATCH_NORM:
            return None
        layer = site.producer(0)
        scaled = SCALED.get(layer.op)
        sources = [site.producer(i) for i in range(1, len(site.inputs))]
        sources += [layer.producer(i) for i in range(1, len(layer.inputs))]
        if scaled is None:
            return Declined(f"what it normalises is no convolution's result but that of {layer.op.name}", layer)
        if not layer.single_use:
            return layer.shared()
        if moving := unfixed(sources, fixed):
            return moving
        x, _, *bias = layer.inputs
        scale = norm_scale(site.inputs[1:], site.attrs.eps)
        weight = scaled(layer, scale)
        if weight is None:
            return Declined(IN_GROUPS, layer)
        y: Symbol = apply(layer.op, layer.attrs, x, weight, norm_shift(site.inputs[1:], scale, *bias))
        site.absorb(layer)
        site.call(y, layer.name)
        return y

    return rebuild(graph, rule, "fold_batch_norm")


def _by_batch(site: Site) -> Declined | None:
    """The reason for a normalisation behind a layer that uses the statistics of the batch, as in training."""
    layer = site.producer(0)
    if layer.op not in SCALED or 0 not in site.attrs.axes:
        return None
    return Declined("in training mode it normalises with the statistics of the batch", layer)


def norm_scale(vectors: Sequence[Symbol], eps: float) -> Symbol:
    """The factor of a normalisation; ``vectors`` are all its inputs but the first."""
    _, var, *affine = vectors
    scale = 1.0 / sqrt(var + eps)
    return scale * affine[0] if affine else scale


def norm_shift(vectors: Sequence[Symbol], scale: Symbol, bias: Symbol | None = None) -> Symbol:
    """The summand of a normalisation, after the factor; ``bias`` is that of the layer before it."""
    mean, _, *affine = vectors
    shift = (-mean if bias is None else bias - mean) * scale
    return shift + affine[1] if len(affine) > 1 else shift


def _scaled_conv(layer: View, scale: Symbol) -> Symbol | None:
    return layer.inputs[1] * scale.reshape(-1, 1, 1, 1)


def _scaled_transpose(layer: View, scale: Symbol) -> Symbol | None:
    if layer.attrs.conv.groups != 1:
        return None  # then output channels lie on two axes
    return layer.inputs[1] * scale.reshape(1, -1, 1, 1)


SCALED: dict[OpDef, Callable[[View, Symbol], Symbol | None]] = {CONV: _scaled_conv, CONV_TRANSPOSE: _scaled_transpose}
"""For each layer, a function that returns its weights with scaled outputs, or None if that is impossible."""
