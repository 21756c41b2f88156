"""Rewrites input gradients of convolutions as convolutions, to use their fast lowerings."""

from __future__ import annotations

from dataclasses import replace

from ..graph.ir import Graph
from ..graph.opdef import apply
from ..graph.ops.conv import CONV, CONV_GRAD_INPUT, ConvAttrs
from ..graph.ops.shape import transpose
from ..graph.ops.slices import flip
from ..graph.trace import Symbol
from ..graph.windows import windows_of
from .rewrite import Site, rebuild


def convolve_gradients(graph: Graph) -> Graph:
    """Rewrite the input gradient at stride 1 as the convolution of ``dy`` with the weights turned by 180 degrees.

    Input and output channels of the weights are swapped; there must be one group, or one channel per group.
    """

    def rule(site: Site) -> Symbol | None:
        a: ConvAttrs = site.attrs.conv
        dy, w = site.inputs
        kernel = tuple(k for k in w.type.shape[2:] if isinstance(k, int))
        alone = w.type.shape[0] == a.groups and w.type.shape[1] == 1
        if len(kernel) < w.type.rank - 2 or not (a.groups == 1 or alone):
            return None
        transposed = [window.transposed for window in windows_of(kernel, a.stride, a.padding, a.dilation)]
        padding = (*(window.before for window in transposed), *(window.after for window in transposed))
        if set(a.stride) != {1} or min(padding) < 0:
            return None
        if not alone:
            w = transpose(w, 0, 1)
        if max(kernel) > 1:
            w = flip(w, tuple(range(2, w.type.rank)))
        y: Symbol = apply(CONV, replace(a, padding=padding), dy, w)
        return y

    return rebuild(graph, rule, "convolve_gradients", at={CONV_GRAD_INPUT})
