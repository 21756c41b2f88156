"""Moves factors out of sums, and to the smallest tensor that they can multiply instead.

In the gradient of a standardisation, ``mean(dy * weight)`` becomes ``weight * mean(dy)`` if the weight is the same for
all summands; the sum of ``dy`` is computed anyway, as the bias's gradient. The rest of it,
``(dy * weight - m - y * p) / s``, becomes ``dy * (weight / s) - m / s - y * (p / s)``: three vectors are divided
instead of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add, mul, sub, truediv

from ..graph.ir import Graph
from ..graph.ops.elementwise import ADD, DIV, MUL, SUB
from ..graph.ops.fused import adds_up
from ..graph.ops.reduce import MEAN
from ..graph.ops.shape import reshape
from ..graph.trace import Symbol
from ..graph.types import broadcast_shapes, is_float, product
from .rewrite import Site, View, rebuild

DEPTH = 8
"""How many nested products and sums are looked through."""


def move_factors(graph: Graph) -> Graph:
    """Take factors out of sums and means over axes, and apply factors of images to smaller tensors."""

    def rule(site: Site) -> Symbol | None:
        if not is_float(site.type.dtype):
            return None
        if adds_up(site.node):
            return _without_factors(site)
        return _small_first(site) if site.op is MUL or site.op is DIV else None

    return rebuild(graph, rule, "move_factors")


# ---------------------------------------------------------------- out of sums


def _without_factors(site: Site) -> Symbol | None:
    (x,), axes = site.inputs, site.attrs.axes
    shape = x.type.shape
    inside, outside = list[Symbol](), list[Symbol]()
    for factor in _factors(site.made_by(x), x, DEPTH):
        (outside if _constant_over(factor, axes, len(shape)) else inside).append(factor)
    if not outside or not inside:
        return None
    within: Symbol = reduce(mul, inside)
    if within.type.shape != shape:
        return None
    kept = tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    total: Symbol = reshape(within.sum(axes), kept)
    if site.op is MEAN:
        total = total / product(shape[axis] for axis in axes)
    made: Symbol = reduce(mul, outside, total)
    return reshape(made, site.type.shape)


def _factors(view: View, symbol: Symbol, depth: int) -> Iterator[Symbol]:
    """The factors of a product, looking through nested products of the whole shape."""
    if view.op is not MUL or depth == 0 or view.type.shape != symbol.type.shape:
        yield symbol
        return
    for factor in view.inputs:
        if factor.type.shape == symbol.type.shape:
            yield from _factors(view.made_by(factor), factor, depth - 1)
        else:
            yield factor


def _constant_over(factor: Symbol, axes: tuple[int, ...], rank: int) -> bool:
    lead = rank - factor.type.rank
    return all(axis < lead or factor.type.shape[axis - lead] == 1 for axis in axes)


# ---------------------------------------------------------------- to smaller tensors


def _small_first(site: Site) -> Symbol | None:
    """``(x * a) * b`` as ``x * (a * b)`` if ``a * b`` is as small as one of them; in a sum, for every term."""
    by: Callable[[Symbol, Symbol], Symbol] = mul if site.op is MUL else truediv
    for slot in (0, 1) if site.op is MUL else (0,):
        large, b = site.inputs[slot], site.inputs[1 - slot]
        if large.type.shape == site.type.shape != b.type.shape:
            return _scaled(site.made_by(large), large, b, by, DEPTH)
    return None


def _scaled(view: View, x: Symbol, b: Symbol, by: Callable[[Symbol, Symbol], Symbol], depth: int) -> Symbol | None:
    """``x`` times (or divided by) ``b``, computed on tensors smaller than ``x``; None if that is impossible."""
    shape = x.type.shape
    if view.op is MUL:
        for large, a in (view.inputs, view.inputs[::-1]):
            if large.type.shape == shape != a.type.shape and _is_small(a, b):
                return large * by(a, b)
        return None
    if depth == 0 or view.uses() > 1 or (view.op is not ADD and view.op is not SUB):
        return None
    terms = []
    for term in view.inputs:
        if term.type.shape == shape:
            terms.append(_scaled(view.made_by(term), term, b, by, depth - 1))
        else:
            terms.append(by(term, b) if _is_small(term, b) else None)
    one, two = terms
    if one is None or two is None:
        return None
    made: Symbol = (add if view.op is ADD else sub)(one, two)
    return made


def _is_small(a: Symbol, b: Symbol) -> bool:
    """Whether both broadcast to the shape of one of them."""
    return broadcast_shapes("Mul", a.type.shape, b.type.shape) in (a.type.shape, b.type.shape)
