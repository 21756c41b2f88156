"""Folds batch normalisation with given statistics into the convolution before it (Jacob et al., 2018, section 3.2).

``(conv(x, w) + b - mean) * s + beta`` is ``conv(x, w * s) + ((b - mean) * s + beta)``, ``s = gamma / sqrt(var + eps)``.
The new weights are nodes of the graph; they depend on parameters only, so they run once per change of these.
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
from ..rewrite import Declined, Site, View, fixed_point, rebuild

IN_GROUPS = "the output channels of a transposed convolution in groups lie on two axes"


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold each ``BatchNorm`` whose input is a convolution that nothing else reads, weights and statistics fixed."""
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
        moving = next((source for source in sources if source.name not in fixed), None)
        if moving is not None:
            return Declined(f"{moving.name} depends on the input, and what is folded is fixed", moving)
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
    """Why what follows a layer is no normalisation with given statistics, if it is one as in training."""
    layer = site.producer(0)
    if layer.op not in SCALED or 0 not in site.attrs.axes:
        return None
    return Declined("in training mode it normalises with the statistics of the batch", layer)


def norm_scale(vectors: Sequence[Symbol], eps: float) -> Symbol:
    """What a normalisation multiplies with; ``vectors`` are its inputs but the first."""
    _, var, *affine = vectors
    scale = 1.0 / sqrt(var + eps)
    return scale * affine[0] if affine else scale


def norm_shift(vectors: Sequence[Symbol], scale: Symbol, bias: Symbol | None = None) -> Symbol:
    """What it adds then; the bias is what was added before."""
    mean, _, *affine = vectors
    shift = (-mean if bias is None else bias - mean) * scale
    return shift + affine[1] if len(affine) > 1 else shift


def _scaled_conv(layer: View, scale: Symbol) -> Symbol | None:
    return layer.inputs[1] * scale.reshape(-1, 1, 1, 1)


def _scaled_transpose(layer: View, scale: Symbol) -> Symbol | None:
    if layer.attrs.conv.groups != 1:
        return None  # output channels lie on two axes then
    return layer.inputs[1] * scale.reshape(1, -1, 1, 1)


SCALED: dict[OpDef, Callable[[View, Symbol], Symbol | None]] = {CONV: _scaled_conv, CONV_TRANSPOSE: _scaled_transpose}
"""What multiplies the outputs of a layer: its weights that do, or None where they cannot."""
