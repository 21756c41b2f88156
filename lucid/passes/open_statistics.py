"""Writes standardisation as what it consists of, and takes factors out of sums: then loops can be made of both.

``Standardize`` becomes a mean, a mean of squares, and a product that goes on into whatever reads it. Of its gradient
``mean(dy * weight)`` becomes ``weight * mean(dy)``, where the weight is one for all that is added up: the sum of ``dy``
is the bias's gradient, and is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from math import prod
from operator import mul

from ..graph.ir import Graph
from ..graph.ops.elementwise import MUL, sqrt
from ..graph.ops.fused import adds_up
from ..graph.ops.norm import STANDARDIZE
from ..graph.ops.reduce import MEAN
from ..graph.ops.shape import reshape
from ..graph.trace import Symbol
from ..graph.types import broadcast_shapes, is_float, product
from .rewrite import Declined, Replacement, Site, View, rebuild

DEPTH = 8
"""Factors of factors are looked for so deep."""


def open_statistics(graph: Graph) -> Graph:
    """Take standardisations apart, and factors out of sums and means."""

    def rule(site: Site) -> Replacement:
        if site.op is STANDARDIZE:
            return _standardized(site)
        if adds_up(site.node) and is_float(site.type.dtype):
            return _without_factors(site)
        return _small_first(site) if site.op is MUL and is_float(site.type.dtype) else None

    return rebuild(graph, rule, "open_statistics")


def _standardized(site: Site) -> Replacement:
    (x,), a = site.inputs, site.attrs
    known = prod(dim for axis in a.axes if isinstance(dim := x.type.shape[axis], int))
    if known < a.least:
        return Declined(f"whether there are {a.least} values to take a variance of is known when sizes are")
    mean = x.mean(a.axes, keepdim=True)
    centred = x - mean
    variance = (centred * centred).mean(a.axes, keepdim=True)
    return [centred * (1.0 / sqrt(variance + a.eps)), mean, variance]


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


def _small_first(site: Site) -> Symbol | None:
    """``(x * a) * b`` as ``x * (a * b)`` where ``a * b`` is as small as one of them."""
    for large, b in (site.inputs, site.inputs[::-1]):
        inner = site.made_by(large)
        if inner.op is not MUL or large.type.shape != site.type.shape or b.type.shape == site.type.shape:
            continue
        for x, a in (inner.inputs, inner.inputs[::-1]):
            if x.type.shape == site.type.shape and a.type.shape != site.type.shape:
                small = broadcast_shapes("Mul", a.type.shape, b.type.shape)
                if small in (a.type.shape, b.type.shape):
                    made: Symbol = x * (a * b)
                    return made
    return None


def _factors(view: View, symbol: Symbol, depth: int) -> Iterator[Symbol]:
    """What is multiplied, as far as it has the whole shape; else a product is one factor."""
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
