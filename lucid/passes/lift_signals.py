"""Keeps signals as images of one row between layers, rather than converting back and forth.

A convolution of signals is a convolution of images between two reshapes (:mod:`~lucid.graph.ops.conv_axes`). The second
reshape prevents fusion with the ops that follow, so this pass moves it behind them.
"""

from __future__ import annotations

from ..graph.facts import is_elementwise
from ..graph.ir import Graph
from ..graph.opdef import apply
from ..graph.ops.norm import BATCH_NORM
from ..graph.ops.shape import RESHAPE
from ..graph.trace import Symbol
from .rewrite import Declined, Site, View, rebuild


def lift_signals(graph: Graph) -> Graph:
    """Replace ``f(reshape(image))`` by ``reshape(f(image))`` if the reshape drops a single row or column.

    ``f`` may be an element-wise op, whose other operands get the axis too, or a normalisation by channels.
    """
    images: set[str] = set()

    def rule(site: Site) -> Symbol | Declined | None:
        if site.op is RESHAPE:
            inner = site.made_by(site.inputs[0])
            return inner.inputs[0].reshape(site.attrs.shape) if inner.op is RESHAPE else None
        if site.type.rank != 3:
            return None
        axes = (_left_out(site.made_by(x), images) for x in site.inputs if x.type.shape == site.type.shape)
        axis = next((axis for axis in axes if axis), None)
        if axis is None:
            return None
        if not _lifts(site):
            return None if site.op.view else Declined(f"{site.op.name} does something else with one axis more")
        x, *rest = site.inputs
        others = rest if site.op is BATCH_NORM else [_lifted(site, other, axis) for other in rest]
        y: Symbol = apply(site.op, site.attrs, _lifted(site, x, axis), *others)
        images.add(y.value.node)
        return y.reshape(site.type.shape)

    return rebuild(graph, rule, "lift_signals") if RESHAPE in graph.ops else graph


def _lifts(site: Site) -> bool:
    """Whether an op computes the same with an additional axis of size 1."""
    return site.op is BATCH_NORM or is_elementwise(site.node)


def _left_out(view: View, images: set[str]) -> int | None:
    """The axis of an image, of one row (2) or one column (3), that a reshape drops; otherwise None."""
    if view.op is not RESHAPE or view.type.rank != 3:
        return None
    (image,) = view.inputs
    if image.type.rank != 4 or not (image.value.node in images or view.made_by(image).op.channels_last):
        return None
    sizes = image.type.shape
    return next((a for a in (2, 3) if sizes[a] == 1 and (*sizes[:a], *sizes[a + 1 :]) == view.type.shape), None)


def _lifted(site: Site, x: Symbol, axis: int) -> Symbol:
    """An operand of an op on signals as an operand of the same op on images."""
    maker, shape = site.made_by(x), (1,) * (3 - x.type.rank) + x.type.shape
    wanted = (*shape[:axis], 1, *shape[axis:])
    if maker.op is RESHAPE and maker.inputs[0].type.shape == wanted:
        return maker.inputs[0]
    return x if x.type.rank <= 3 - axis else x.reshape(wanted)
