"""Equations between sizes: for which values two dimensions are equal.

The file of a model may give several names to sizes that its operators require to be equal, or leave a size open for
which only few values are valid. The solution is substituted for the symbols, so shapes are never compared
conditionally.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from itertools import chain
from operator import and_
from typing import NamedTuple, TypeAlias

from ..errors import ShapeError
from .dims import Dim, FloorDiv, SymDim, evaluate, exact_quotient, substitute, symbol

Solution: TypeAlias = "Mapping[str, Dim]"
"""What to substitute for each symbol that is no longer free."""

LARGEST_STEP = 4096
"""The largest number of which a size is tried to be a multiple."""
LARGEST_SIZE = 2048
"""The largest size that is tried if only few are valid."""


class Line(NamedTuple):
    """The dim ``factor * name + offset``."""

    name: str
    factor: int
    offset: int

    def size(self, value: int) -> int | None:
        """The size of the symbol for which the dim has this value; None if there is none."""
        size, rest = divmod(value - self.offset, self.factor)
        return None if rest or size < 0 else size


@lru_cache(maxsize=1024)
def line(dim: Dim) -> Line | None:
    """The dim as a multiple of one symbol plus a number; None if it has another form."""
    if not isinstance(dim, SymDim):
        return None
    terms = dict(dim.terms)
    offset = terms.pop((), 0)
    if len(terms) != 1:
        return None
    ((monomial, factor),) = terms.items()
    return Line(monomial[0], factor, offset) if len(monomial) == 1 and isinstance(monomial[0], str) else None


def solution(a: Dim, b: Dim, order: Sequence[str]) -> Solution | None:
    """What to substitute for symbols so that ``a`` and ``b`` are equal; None if that is not found.

    Parameters
    ----------
    a, b
        The dims.
    order
        The symbols, those to be eliminated preferably first.
    """
    difference = a - b
    if not isinstance(difference, SymDim):
        return None if difference else {}
    difference = _reduced(difference)
    names = [name for name in order if name in difference.symbols]
    for found in chain(_by_one(difference, names), _by_steps(difference, names), _by_trial(difference, names)):
        return found
    return None


def _reduced(difference: SymDim) -> SymDim:
    """The equation ``difference == 0`` without common factors of all terms."""
    content = math.gcd(*(coefficient for _, coefficient in difference.terms))
    shared = reduce(and_, (Counter(monomial) for monomial, _ in difference.terms))
    left = exact_quotient(difference, SymDim(((tuple(shared.elements()), content),)))
    return left if isinstance(left, SymDim) else difference


def _by_one(difference: SymDim, names: Iterable[str]) -> Iterator[Solution]:
    """Solve for a symbol: preferably as a sum of others, which is a size whatever these are, before a difference."""
    terms, differences = dict(difference.terms), list[Solution]()
    for name in names:
        factor = terms.get((name,), 0)
        if abs(factor) != 1:
            continue
        rest: Dim = (difference - factor * symbol(name)) * -factor
        if isinstance(rest, int):
            if rest >= 0:
                yield {name: rest}
        elif name not in rest.symbols:
            signs = {factor > 0 for monomial, factor in rest.terms if monomial}
            if signs == {True}:
                yield {name: rest}
            elif True in signs:
                differences.append({name: rest})
    yield from differences


def _by_steps(difference: SymDim, names: Sequence[str]) -> Iterator[Solution]:
    """Solve by making symbols multiples of a number, so that divisions have no remainder."""
    steps = {name: math.lcm(*_divisors(difference, name)) for name in names}
    steps = {name: step for name, step in steps.items() if 1 < step <= LARGEST_STEP}
    for name, step in steps.items():
        for factor in (one for one in range(2, step + 1) if step % one == 0):
            for offset in range(factor):
                found = {name: symbol(_stepped(name, factor)) * factor + offset}
                if substitute(difference, found) == 0:
                    yield found
    every = {name: symbol(_stepped(name, step)) * step for name, step in steps.items()}
    if len(every) > 1 and substitute(difference, every) == 0:
        yield every


def _stepped(name: str, step: int) -> str:
    return f"{name}_by_{step}"


def _divisors(dim: Dim, name: str) -> Iterator[int]:
    """The divisors of expressions with the symbol, including nested divisions."""
    atoms = (atom for monomial, _ in dim.terms for atom in monomial) if isinstance(dim, SymDim) else ()
    for atom in atoms:
        if isinstance(atom, FloorDiv) and name in atom.numerator.symbols:
            inner = math.lcm(*_divisors(atom.numerator, name))
            yield inner * (abs(atom.denominator) if isinstance(atom.denominator, int) else 1)


def _by_trial(difference: SymDim, names: Sequence[str]) -> Iterator[Solution]:
    """Solve by numbers: the roundest that fit, equal for all symbols."""
    fit: list[int] = []
    for size in range(1, LARGEST_SIZE):
        try:
            if evaluate(difference, dict.fromkeys(names, size)) == 0:
                fit.append(size)
        except ShapeError:
            break
    if fit:
        yield dict.fromkeys(names, max(fit, key=lambda size: (size & -size, -size)))
