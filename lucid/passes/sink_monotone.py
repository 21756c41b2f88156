"""Moves monotone element-wise ops and per-channel biases below max pooling, where there is less to compute.

``pool(relu(x + b)) = relu(pool(x) + b)``: the maximum of f(x) is f of the maximum. Rounding preserves order too, so
this holds bit for bit, with two exceptions: which zero wins if -0.0 and 0.0 tie, and an infinite bias (or one of NaN)
added to an opposite infinity. NaN wins before and after.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..graph.ir import Graph
from ..graph.opdef import apply, apply_all
from ..graph.ops import elementwise as ew
from ..graph.ops.bounds import CLIP, ClipAttrs
from ..graph.ops.pool import MAX_POOL, MaxPoolAttrs
from ..graph.trace import Symbol
from ..graph.types import is_float, product
from .rewrite import Declined, Site, View, rebuild


def sink_monotone(graph: Graph) -> Graph:
    """Sink ops below each ``MaxPool2d`` that makes its input smaller and whose index is not read."""

    def rule(site: Site) -> list[Symbol | None] | Declined | None:
        if site.uses(1) or not _shrinks(site):
            return _stays(site)
        pool: MaxPoolAttrs = site.attrs
        above: View = site
        slot, sunk = 0, list[tuple[View, int]]()
        while True:
            below = above.producer(slot)
            moved = _before(below, pool) if below.single_use else None
            if moved is None:
                site.leave(_not_before(below, pool))
                break
            slot, pool = moved
            sunk.append((below, slot))
            above = below
        if not sunk:
            return None
        y, _ = apply_all(MAX_POOL, pool, above.inputs[slot])
        site.call(y, site.name)
        for view, slot in reversed(sunk):
            inputs: list[Any] = list(view.inputs)
            inputs[slot] = y
            y = apply(view.op, view.attrs, *inputs)
            site.call(y, view.name)
        site.absorb(*(view for view, _ in reversed(sunk)))
        return [y, None]

    return rebuild(graph, rule, "sink_monotone", at={MAX_POOL})


def _stays(site: Site) -> Declined | None:
    """Why nothing sinks below a pooling, although an op before it could."""
    below = site.producer(0)
    if _before(below, site.attrs) is None:
        return None
    if site.uses(1):
        return Declined(f"where the maxima of {site.name} were is read too", below)
    sizes = [product(shape[2:]) for shape in (site.inputs[0].type.shape, site.type.shape)]
    known = all(isinstance(size, int) for size in sizes)
    return Declined("it makes no image smaller" if known else "whether it makes images smaller is not known", below)


def _not_before(view: View, pool: MaxPoolAttrs) -> Declined | None:
    """Why an op stays before a pooling, if it is one that could sink."""
    if not view.op.rises(view.attrs) and not _is_bias(view):
        return None
    if not view.single_use:
        return view.shared()
    return Declined(f"the padding holds {pool.pad_value:g}, which no padding before {view.name} gives", view)


def _shrinks(site: Site) -> bool:
    """Whether a pooling makes images smaller: only if sizes are known, when every window is known to see an element."""
    before, after = (product(shape[2:]) for shape in (site.inputs[0].type.shape, site.type.shape))
    return isinstance(before, int) and isinstance(after, int) and after < before


def _before(view: View, pool: MaxPoolAttrs) -> tuple[int, MaxPoolAttrs] | None:
    """The input slot that may be pooled instead of the output, and the pooling; None if that is impossible."""
    padded = any(pool.padding)
    if view.op.rises(view.attrs):
        return (0, pool) if not padded else _pad_before(view, pool)
    if _is_bias(view) and (not padded or pool.pad_value == -math.inf):
        return _full_slot(view), pool
    return None


def _pad_before(view: View, pool: MaxPoolAttrs) -> tuple[int, MaxPoolAttrs] | None:
    pad = pool.pad_value
    if pad == -math.inf:
        return 0, pool
    before = view.op.root if pad == 0 else None
    if view.op is CLIP and _within(view.attrs, pad):
        before = pad
    return None if before is None else (0, replace(pool, pad_value=before))


def _within(attrs: ClipAttrs, value: float) -> bool:
    return (attrs.low is None or attrs.low <= value) and (attrs.high is None or value <= attrs.high)


def _full_slot(view: View) -> int:
    return next(i for i, x in enumerate(view.inputs) if x.type.shape == view.type.shape)


def _is_bias(view: View) -> bool:
    """Whether it is ``x + b`` or ``x - b`` with one number of ``b`` for each channel."""
    shapes = [x.type.shape for x in view.inputs]
    first = bool(shapes) and shapes[0] == view.type.shape
    if not (view.op is ew.ADD or (view.op is ew.SUB and first)) or not is_float(view.type.dtype):
        return False
    bias = shapes[1] if first else shapes[0]
    return view.type.shape in shapes and all(dim == 1 for dim in bias[-2:])
