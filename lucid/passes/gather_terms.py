"""Adds up the small terms of a sum before they meet the large: ``(x - m) * s + b`` becomes ``x * s + (b - m * s)``.

What is normalised is so in two passes over the image instead of three, and the gradient of that in four instead of
five. It rounds as coarsely as ``m * s`` is large, which is how far apart the numbers of ``x`` are, seen so.

Numbers that stand in a model, and what is added only to be taken away again, are there to round: ``(x + c) - c``.
"""

from __future__ import annotations

from dataclasses import field
from functools import reduce
from operator import add, mul, sub

from ..base.structs import struct
from ..graph.ir import Graph
from ..graph.opdef import OpDef
from ..graph.ops.elementwise import ADD, MUL, SUB
from ..graph.ops.source import CONSTANT, FULL
from ..graph.trace import Symbol
from ..graph.types import broadcast_shapes, is_float
from .rewrite import Site, View, rebuild

DEPTH = 8
"""Sums of sums are looked through so deep."""


def gather_terms(graph: Graph) -> Graph:
    """Rewrite sums that have several small terms."""

    def rule(site: Site) -> Symbol | None:
        if not _adds(site.op) or not is_float(site.type.dtype):
            return None
        terms = _Terms(site)
        terms.of_sum(site, (), False, DEPTH)
        return terms.gathered() if len(terms.small) > 1 else None

    return rebuild(graph, rule, "gather_terms")


@struct
class _Terms:
    """The terms of a sum, each with what it is multiplied with, and whether it is subtracted.

    Attributes
    ----------
    site
        The sum.
    large, small
        Terms of its shape, and others.
    """

    site: Site
    large: list[tuple[Symbol, tuple[Symbol, ...], bool]] = field(default_factory=list)
    small: list[tuple[Symbol, tuple[Symbol, ...], bool]] = field(default_factory=list)

    def is_large(self, x: Symbol) -> bool:
        return x.type.shape == self.site.type.shape

    def of_sum(self, view: View, factors: tuple[Symbol, ...], minus: bool, depth: int) -> None:
        """Take the terms of a sum that is multiplied with these factors; at no depth its operands as they are."""
        for slot, x in enumerate(view.inputs):
            negative = minus != (slot == 1 and view.op is SUB)
            if not self.is_large(x):
                self.small.append((x, factors, negative))
            elif depth:
                self.of_operand(x, factors, negative, depth - 1)
            else:
                self.large.append((x, factors, negative))

    def of_operand(self, x: Symbol, factors: tuple[Symbol, ...], minus: bool, depth: int) -> None:
        """Take a large operand, or what it is made of, where nothing is computed twice so.

        A difference that is multiplied may be read by others: it is computed for each of them anyway
        (:mod:`.repeat_cheap`).
        """
        view = self.site.made_by(x)
        alone = view.uses() <= 1
        inner = [one for one in view.inputs if self.is_large(one)] if view.op is MUL or _adds(view.op) else []
        other = next((one for one in view.inputs if not self.is_large(one)), None) if inner else None
        if view.op is MUL and alone and depth and other is not None and _are_small((*factors, other)):
            self.of_operand(inner[0], (*factors, other), minus, depth - 1)
        elif inner and view.op is not MUL and (other is not None if factors else alone):
            self.of_sum(view, factors, minus, depth if alone else 0)
        else:
            self.large.append((x, factors, minus))

    def rounds(self) -> bool:
        """Whether the order of the sum is meant: a small term is a constant, or there twice."""
        terms = {(x.value, *(one.value for one in factors)) for x, factors, _ in self.small}
        made = [self.site.made_by(x).op for x, _, _ in self.small]
        return len(terms) < len(self.small) or any(op is CONSTANT or op is FULL for op in made)

    def gathered(self) -> Symbol | None:
        """The sum, of the large terms and one small; None where that would not be small, or nothing is added to."""
        if self.rounds():
            return None
        first = next((i for i, (_, _, minus) in enumerate(self.large) if not minus), None)
        if first is None or not _are_small([x for one, factors, _ in self.small for x in (one, *factors)]):
            return None
        large = [self.large[first], *self.large[:first], *self.large[first + 1 :]]
        return _sum([*large, (_small_sum(self.small), (), False)])


def _adds(op: OpDef) -> bool:
    return op is ADD or op is SUB


def _small_sum(terms: list[tuple[Symbol, tuple[Symbol, ...], bool]]) -> Symbol:
    terms = sorted(terms, key=lambda term: term[2])
    head, factors, minus = terms[0]
    return _sum([(-head if minus else head, factors, False), *terms[1:]])


def _sum(terms: list[tuple[Symbol, tuple[Symbol, ...], bool]]) -> Symbol:
    made = [(reduce(mul, factors[1:], factors[0]) if factors else None, x, minus) for x, factors, minus in terms]
    scaled = [(x if factor is None else x * factor, minus) for factor, x, minus in made]
    total: Symbol = reduce(lambda y, term: (sub if term[1] else add)(y, term[0]), scaled[1:], scaled[0][0])
    return total


def _are_small(terms: list[Symbol] | tuple[Symbol, ...]) -> bool:
    """Whether all together are as small as one of them."""
    shape = terms[0].type.shape
    for one in terms[1:]:
        shape = broadcast_shapes("Add", shape, one.type.shape)
    return any(one.type.shape == shape for one in terms)
