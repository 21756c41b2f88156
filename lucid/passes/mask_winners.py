"""Masks and sums the gradient of a max pooling before it is spread over the larger image.

Each number of the gradient goes to the element that won its window, whose value is in the pooled image. So a mask that
is computed from the image, such as the gradient of an activation before the pooling, can be computed from the pooled
image instead, and nothing reads the image any more. A sum over the whole image is the sum of the gradient before it is
spread.
"""

from __future__ import annotations

import math

from ..graph.ir import Graph
from ..graph.opdef import NoAttrs, apply
from ..graph.ops.elementwise import WHERE
from ..graph.ops.pool import MAX_POOL, MAX_POOL_GRAD, MaxPoolAttrs
from ..graph.ops.reduce import SUM
from ..graph.trace import Symbol
from ..graph.types import bool_
from .rewrite import Site, View, rebuild
from .simplify import fill_value


def mask_winners(graph: Graph) -> Graph:
    """Mask gradients of max poolings by the maxima, and sum them, before they are spread."""

    rules = {WHERE: _masked, SUM: _added_up}
    here = rules.keys() if MAX_POOL_GRAD in graph.ops else ()
    return rebuild(graph, lambda site: rules[site.op](site), "mask_winners", at=here)


def _masked(site: Site) -> Symbol | None:
    """The gradient of a pooling, masked before it is spread, if the condition depends on the pooled image alone."""
    condition, *choices = site.inputs
    for slot in (0, 1):
        spread, other = site.made_by(choices[slot]), choices[1 - slot]
        if spread.op is not MAX_POOL_GRAD or spread.uses() > 1:
            continue
        if other.type.shape != () or fill_value(site, other) != 0:
            continue
        dy, index = spread.inputs
        pool = site.made_by(index)
        if pool.op is not MAX_POOL or spread.attrs.pool != pool.attrs or index.value.output != 1:
            continue
        seen = _of_maxima(site.made_by(condition), pool)
        if seen is not None:
            kept = (dy, other) if slot == 0 else (other, dy)
            made: Symbol = apply(MAX_POOL_GRAD, spread.attrs, apply(WHERE, NoAttrs(), seen, *kept), index)
            return made
    return None


def _of_maxima(condition: View, pool: View) -> Symbol | None:
    """A comparison of the pooling's input with a number as a comparison of the maxima; None if it is anything else."""
    image, maxima = pool.inputs[0], pool.symbols[0]
    if not condition.op.elementwise or condition.type.dtype != bool_ or len(condition.inputs) != 2:
        return None
    others = [x for x in condition.inputs if x.value != image.value]
    if len(others) != 1 or others[0].type.shape != ():
        return None
    compared = [maxima if x.value == image.value else x for x in condition.inputs]
    made: Symbol = apply(condition.op, condition.attrs, *compared)
    return made


def _added_up(site: Site) -> Symbol | None:
    spread = site.made_by(site.inputs[0])
    if spread.op is not MAX_POOL_GRAD or not {2, 3} <= set(site.attrs.axes) or not _real_ones_win(spread.attrs.pool):
        return None
    made: Symbol = apply(SUM, site.attrs, spread.inputs[0])
    return made


def _real_ones_win(pool: MaxPoolAttrs) -> bool:
    """Whether padding never wins a window; no window sees padding only."""
    return not any(pool.padding) or pool.pad_value == -math.inf
