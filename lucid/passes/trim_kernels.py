"""Leaves out the taps of a convolution that see nothing but padding: a 3x3 kernel on one padded pixel is a 1x1 kernel.

Deep layers of a network that is given smaller images than it was made for are full of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..graph.facts import parameter_only
from ..graph.ir import Graph
from ..graph.opdef import apply
from ..graph.ops.conv import CONV
from ..graph.ops.slices import narrow
from ..graph.trace import Symbol
from .rewrite import Site, rebuild


def trim_kernels(graph: Graph) -> Graph:
    """Cut such taps from the edges of kernels that depend on parameters only, and the padding with them."""
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | None:
        if site.op is not CONV or site.producer(1).name not in fixed:
            return None
        a, (x, w, *bias) = site.attrs, site.inputs
        sizes, kernel = x.type.shape[2:], w.type.shape[2:]
        if not all(isinstance(size, int) for size in (*sizes, *kernel)):
            return None
        cut = [_seen(sizes[i], kernel[i], a.stride[i], a.padding[i], a.padding[2 + i], a.dilation[i]) for i in (0, 1)]
        if cut == [(0, size) for size in kernel]:
            return None
        padding = [before - first * step for before, (first, _), step in zip(a.padding, cut, a.dilation, strict=False)]
        padding += [
            after - (size - last) * step
            for after, size, (_, last), step in zip(a.padding[2:], kernel, cut, a.dilation, strict=True)
        ]
        if min(padding) < 0:  # of a dilated kernel the border may lie between two taps
            return None
        for axis, (first, last) in enumerate(cut, 2):
            w = narrow(w, axis, first, last - first)
        y: Symbol = apply(CONV, replace(a, padding=tuple(padding)), x, w, *bias)
        return y

    return rebuild(graph, rule, "trim_kernels")


def _seen(size: Any, kernel: Any, stride: int, before: int, after: int, dilation: int) -> tuple[int, int]:
    """The first tap that sees a pixel of the image for some output, and the one after the last; all if none does."""
    outputs = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1

    def sees(tap: int) -> bool:
        place = tap * dilation - before
        first = max(0, -(place // stride))
        return bool(first < outputs and first * stride + place < size)

    taps = [tap for tap in range(kernel) if sees(tap)]
    return (taps[0], taps[-1] + 1) if taps else (0, kernel)
