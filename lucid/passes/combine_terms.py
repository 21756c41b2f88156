"""Adds the small terms of a sum before the large ones: ``(x - m) * s + b`` becomes ``x * s + (b - m * s)``.

A normalisation then takes two passes over the image instead of three, and its gradient four instead of five. The result
rounds as coarsely as ``m * s`` is large.

Sums with constants, or with a term that is subtracted again, are left alone: ``(x + c) - c`` is written to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import reduce
from operator import add, mul, sub
from typing import NamedTuple

from ..base.structs import struct
from ..graph.ir import Graph
from ..graph.opdef import OpDef
from ..graph.ops.elementwise import ADD, MUL, SUB
from ..graph.ops.source import CONSTANT, FULL
from ..graph.trace import Symbol
from ..graph.types import broadcast_shapes, is_float
from .rewrite import Site, View, rebuild

DEPTH = 8
"""How many nested sums are looked through."""


def combine_terms(graph: Graph) -> Graph:
    """Rewrite sums that have several small terms."""

    def rule(site: Site) -> Symbol | None:
        if not _adds(site.op) or not is_float(site.type.dtype):
            return None
        terms = _Terms(site)
        terms.of_sum(site, (), False, DEPTH)
        return terms.combined() if len(terms.small) > 1 else None

    return rebuild(graph, rule, "combine_terms")


class _Term(NamedTuple):
    """A term of a sum: a value times factors, which is added or, if ``negative``, subtracted."""

    value: Symbol
    factors: tuple[Symbol, ...] = ()
    negative: bool = False

    @property
    def scaled(self) -> Symbol:
        """The value times its factors."""
        return self.value * reduce(mul, self.factors) if self.factors else self.value


@struct
class _Terms:
    """The terms of a sum.

    Attributes
    ----------
    site
        The sum.
    large, small
        Terms of its shape, and smaller ones.
    """

    site: Site
    large: list[_Term] = field(default_factory=list)
    small: list[_Term] = field(default_factory=list)

    def is_large(self, x: Symbol) -> bool:
        return x.type.shape == self.site.type.shape

    def of_sum(self, view: View, factors: tuple[Symbol, ...], minus: bool, depth: int) -> None:
        """Collect the terms of a sum that is multiplied by these factors; at depth 0, its operands as they are."""
        for slot, x in enumerate(view.inputs):
            negative = minus != (slot == 1 and view.op is SUB)
            if not self.is_large(x):
                self.small.append(_Term(x, factors, negative))
            elif depth:
                self.of_operand(x, factors, negative, depth - 1)
            else:
                self.large.append(_Term(x, factors, negative))

    def of_operand(self, x: Symbol, factors: tuple[Symbol, ...], minus: bool, depth: int) -> None:
        """Collect a large operand, or the terms that it consists of if none of them is then computed twice.

        A difference that is multiplied may have other readers: it is recomputed for each of them anyway
        (:mod:`.recompute_cheap`).
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
            self.large.append(_Term(x, factors, minus))

    def rounds(self) -> bool:
        """Whether the order of the sum is deliberate: a small term is a constant, or occurs twice."""
        terms = {(x.value, *(one.value for one in factors)) for x, factors, _ in self.small}
        made = [self.site.made_by(term.value).op for term in self.small]
        return len(terms) < len(self.small) or any(op is CONSTANT or op is FULL for op in made)

    def combined(self) -> Symbol | None:
        """The sum of the large terms and the sum of the small; None if that is not small, or all large are negative."""
        if self.rounds():
            return None
        first = next((i for i, term in enumerate(self.large) if not term.negative), None)
        if first is None or not _are_small([x for one, factors, _ in self.small for x in (one, *factors)]):
            return None
        large = [self.large[first], *self.large[:first], *self.large[first + 1 :]]
        return _sum([*large, _Term(_small_sum(self.small))])


def _adds(op: OpDef) -> bool:
    return op is ADD or op is SUB


def _small_sum(terms: Sequence[_Term]) -> Symbol:
    first, *rest = sorted(terms, key=lambda term: term.negative)
    if first.negative:
        first = _Term(-first.value, first.factors)
    return _sum([first, *rest])


def _sum(terms: Sequence[_Term]) -> Symbol:
    """The sum of terms, of which the first is not negative."""
    first, *rest = [(term.scaled, term.negative) for term in terms]
    total: Symbol = reduce(lambda y, term: (sub if term[1] else add)(y, term[0]), rest, first[0])
    return total


def _are_small(terms: Sequence[Symbol]) -> bool:
    """Whether all of them broadcast to the shape of one."""
    shape = terms[0].type.shape
    for one in terms[1:]:
        shape = broadcast_shapes("Add", shape, one.type.shape)
    return any(one.type.shape == shape for one in terms)
