"""Concatenates parts that would each be padded with zeros and then added.

The gradients of a value that was split have this form. The result is the same except for the sign of zero. Parts that
each flatten two axes to one, like attention heads, are concatenated before that, so that each number is copied once.
"""

from __future__ import annotations

from dataclasses import replace

from ..base.structs import struct
from ..graph.ir import Graph
from ..graph.opdef import apply
from ..graph.ops.elementwise import ADD
from ..graph.ops.shape import CONCAT, RESHAPE, AxisAttrs
from ..graph.ops.slices import SLICE_GRAD, SliceGradAttrs
from ..graph.trace import Symbol
from .rewrite import Site, View, rebuild


@struct(frozen=True)
class _Part:
    """Adjacent values along an axis, from ``first`` to ``last``, within a tensor of zeros."""

    attrs: SliceGradAttrs
    axis: int
    first: int
    last: int
    values: tuple[Symbol, ...]


def join_slices(graph: Graph) -> Graph:
    """Replace the sum of two adjacent parts by one part, or by the whole tensor if they fill it."""

    def rule(site: Site) -> Symbol | None:
        parts = [part for part in (_part(site.made_by(x), site) for x in site.inputs) if part is not None]
        if len(parts) < 2:
            return None
        a, b = sorted(parts, key=lambda part: part.first)
        if a.axis != b.axis or a.last != b.first:
            return None
        joined: Symbol = apply(CONCAT, AxisAttrs(a.axis), *a.values, *b.values)
        if joined.type.shape == a.attrs.shape:
            return joined
        sizes = tuple(b.last - a.first if axis == a.axis else d for axis, d in enumerate(a.attrs.sizes))
        made: Symbol = apply(SLICE_GRAD, replace(a.attrs, sizes=sizes), joined)
        return made

    joined = rebuild(graph, rule, "join_slices", at={ADD})
    return joined if joined is graph else rebuild(joined, _before_reshapes, "join_slices", at={CONCAT})


def _part(maker: View, site: Site) -> _Part | None:
    """The part that a node pads with zeros, if it does so along a single axis."""
    if maker.op is not SLICE_GRAD:
        return None
    a: SliceGradAttrs = maker.attrs
    axes = [axis for axis, (size, dim) in enumerate(zip(a.sizes, a.shape, strict=True)) if size != dim]
    if len(axes) != 1 or set(a.steps) != {1}:
        return None
    (axis,), (dy,) = axes, maker.inputs
    first, size = a.starts[axis], a.sizes[axis]
    if not isinstance(first, int) or not isinstance(size, int):
        return None
    inner = site.made_by(dy)
    joined = inner.op is CONCAT and inner.attrs.axis == axis
    return _Part(a, axis, first, first + size, inner.inputs if joined else (dy,))


def _before_reshapes(site: Site) -> Symbol | None:
    """A reshape of the concatenated parts, if each part is a reshape that flattens the axis with the next one."""
    axis, makers = site.attrs.axis, [site.made_by(x) for x in site.inputs]
    if any(maker.op is not RESHAPE for maker in makers):
        return None
    parts = [maker.inputs[0] for maker in makers]
    last = parts[0].type.shape[axis + 1 : axis + 2]
    if not last:  # the reshape has added an axis of size 1 rather than flattened two
        return None
    for part, x in zip(parts, site.inputs, strict=True):
        before, after = part.type.shape, x.type.shape
        if before != (*after[:axis], *before[axis : axis + 1], *last, *after[axis + 1 :]):
            return None
    made: Symbol = apply(CONCAT, AxisAttrs(axis), *parts).reshape(site.type.shape)
    return made
