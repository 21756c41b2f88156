"""Removes the taps of a convolution that see only padding: a 3x3 kernel on one padded pixel is a 1x1 kernel.

Deep layers have many of these if a network is used on smaller images than it was designed for.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.facts import parameter_only
from ..graph.ir import Graph
from ..graph.opdef import apply
from ..graph.ops.conv import CONV
from ..graph.ops.slices import narrow
from ..graph.trace import Symbol
from ..graph.windows import Window, windows_of
from .rewrite import Declined, Site, rebuild


def trim_kernels(graph: Graph) -> Graph:
    """Cut such taps off the edges of kernels that depend on parameters only, together with the padding."""
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | Declined | None:
        a, (x, w, *bias) = site.attrs, site.inputs
        sizes, kernel = (tuple(k for k in t.type.shape[2:] if isinstance(k, int)) for t in (x, w))
        if not len(sizes) == len(kernel) == x.type.rank - 2:
            return None
        windows = windows_of(kernel, a.stride, a.padding, a.dilation)
        cut = [_seen(window, size) for window, size in zip(windows, sizes, strict=True)]
        if cut == [(0, size) for size in kernel]:
            return None
        weights = site.producer(1)
        if weights.name not in fixed:
            return Declined(f"{weights.name} depends on the input, and what is cut once is fixed", weights)
        padding = [w.before - first * w.dilation for w, (first, _) in zip(windows, cut, strict=True)]
        padding += [w.after - (w.kernel - last) * w.dilation for w, (_, last) in zip(windows, cut, strict=True)]
        if min(padding) < 0:
            return Declined("the border of the image lies between two taps of its dilated kernel")
        for axis, (first, last) in enumerate(cut, 2):
            w = narrow(w, axis, first, last - first)
        y: Symbol = apply(CONV, replace(a, padding=tuple(padding)), x, w, *bias)
        return y

    return rebuild(graph, rule, "trim_kernels", at={CONV})


def _seen(window: Window, size: int) -> tuple[int, int]:
    """The range of taps that see a pixel of the image for some output; all taps if none does."""
    axis = window.along(size, window.fit(size))
    taps = axis.taps()
    return (min(taps), max(taps) + 1) if taps else (0, axis.kernel)
