"""The assumptions that a trace makes about symbolic sizes, recorded so that no shape rule guesses.

A rule that must know whether a size is 1, or at least 3, asks here. If the answer is the same for all sizes, it gets
that answer. Otherwise it gets the answer for large sizes, or the likely one, and the trace records that it relies on
it: a call with sizes for which it is wrong gets a trace of its own, with these sizes fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from zlib import crc32

from ..base.structs import struct
from ..errors import ShapeError
from .dims import Dim, FloorDiv, SymDim, parse_dim


@struct(frozen=True)
class Assumption:
    """``dim relation bound``, where the relation is one of ``==``, ``!=``, ``>=`` and ``<``."""

    dim: SymDim
    relation: str
    bound: int

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it is true for these sizes."""
        value = self.dim.evaluate(sizes)
        if self.relation in ("==", "!="):
            return (value == self.bound) == (self.relation == "==")
        return (value >= self.bound) == (self.relation == ">=")

    @property
    def negated(self) -> Assumption:
        """The opposite assumption."""
        return replace(self, relation=_NEGATED[self.relation])

    def __str__(self) -> str:
        return f"{self.dim} {self.relation} {self.bound}"


_NEGATED = {"==": "!=", "!=": "==", ">=": "<", "<": ">="}


def parse_assumption(text: str) -> Assumption:
    """The inverse of ``str(assumption)``."""
    found = re.fullmatch(r"(.+) (==|!=|>=|<) (-?[0-9]{1,18})", text)
    dim = parse_dim(found[1]) if found else None
    if found is None or not isinstance(dim, SymDim):
        raise ShapeError(f"not an assumption about sizes: {text[:60]!r}")
    return Assumption(dim, found[2], int(found[3]))


_noted: ContextVar[dict[Assumption, None] | None] = ContextVar("noted", default=None)


@contextmanager
def assuming(noted: dict[Assumption, None]) -> Iterator[None]:
    """While inside, assumptions are recorded in ``noted`` (as its keys, in order)."""
    token = _noted.set(noted)
    try:
        yield
    finally:
        _noted.reset(token)


@contextmanager
def withdrawn_on_error() -> Iterator[None]:
    """While inside, an error withdraws the assumptions made meanwhile: a branch that is not built needs none."""
    noted = _noted.get()
    if noted is None:  # outside a trace
        noted = {}
    before = len(noted)
    try:
        yield
    except BaseException:
        for one in list(noted)[before:]:
            del noted[one]
        raise


def assumed() -> tuple[Assumption, ...]:
    """The assumptions of the current trace so far."""
    return tuple(_noted.get() or ())


def is_equal(a: Dim, b: Dim) -> bool:
    """Whether ``a == b``."""
    difference = a - b
    if not isinstance(difference, SymDim):
        return difference == 0
    low, high = _bounds(difference)
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    return _assume(difference, "==", "!=")


def is_at_least(a: Dim, b: Dim, *, likely: bool = False) -> bool:
    """Whether ``a >= b``; if that depends on sizes and is ``likely``, it is assumed."""
    difference = a - b
    if not isinstance(difference, SymDim):
        return difference >= 0
    low, high = _bounds(difference)
    if low is not None and low >= 0:
        return True
    if high is not None and high < 0:
        return False
    return _assume(difference, ">=", "<", likely)


def _assume(difference: SymDim, yes: str, no: str, likely: bool = False) -> bool:
    """Whether ``difference yes 0`` for large sizes; if that is relied on, it is recorded as an assumption."""
    noted = _noted.get()
    if noted is None:
        raise ShapeError(
            f"whether {difference} {yes} 0 is not known of symbolic sizes, and there is no trace that could note what "
            f"it relies on"
        )
    constant = dict(difference.terms).get((), 0)
    dim = difference - constant
    assert isinstance(dim, SymDim)
    answer = (_known if yes == ">=" else _known_equal)(noted, dim, -constant)
    if answer is None:
        answer = likely or _is_true_of_large(Assumption(dim, yes, -constant))
    noted[Assumption(dim, yes if answer else no, -constant)] = None
    return answer


def _known(noted: Iterable[Assumption], dim: SymDim, bound: int) -> bool | None:
    """Whether ``dim >= bound`` follows from earlier assumptions; None if it is open.

    It also counts as open if the bound itself would be the only size left.
    """
    for one in noted:
        if one.dim == dim and one.relation == "==":
            return one.bound >= bound
        if one.dim == dim and one.relation in (">=", "<"):
            if one.relation == ">=" and one.bound >= bound:
                return True
            if one.relation == "<" and one.bound <= bound:
                return False
        elif one.relation in (">=", "<") and one.dim == -dim:
            if one.relation == "<" and 1 - one.bound >= bound:
                return True
            if one.relation == ">=" and -one.bound <= bound:
                return False
    return None


def _known_equal(noted: Iterable[Assumption], dim: SymDim, bound: int) -> bool | None:
    """Whether ``dim == bound`` follows from earlier assumptions; None if it is open."""
    for one in noted:
        if one.dim == dim and one.relation == "==":
            return one.bound == bound
    return None


def _is_true_of_large(assumption: Assumption) -> bool:
    for size in (1_000_003, 10_007, 101):  # a polynomial of high degree has no value for the largest
        try:
            return assumption.holds({name: _another(size, name) for name in assumption.dim.symbols})
        except ShapeError:
            continue
    raise ShapeError(f"no large size has the dimension {assumption.dim}")


def _another(size: int, name: str) -> int:
    """A size near this one, different for each symbol."""
    return size + crc32(name.encode()) % (size // 10)


def _bounds(dim: Dim) -> tuple[int | None, int | None]:
    """The least and the greatest value for all sizes from 0 on (None if unbounded); not always the tightest."""
    if isinstance(dim, int):
        return dim, dim
    low: int | None = 0
    high: int | None = 0
    for monomial, coefficient in dim.terms:
        least: int | None = coefficient if coefficient > 0 else None
        most: int | None = coefficient if coefficient < 0 else None
        if monomial:
            floors = [_least(atom) for atom in monomial]
            known = [floor for floor in floors if floor is not None]
            product = None if len(known) < len(floors) else coefficient
            for floor in known:
                product = None if product is None else product * floor
            least, most = (product, None) if coefficient > 0 else (None, product)
        else:
            least = most = coefficient
        low = None if low is None or least is None else low + least
        high = None if high is None or most is None else high + most
    return low, high


def _least(atom: str | FloorDiv) -> int | None:
    """The least value of an atom that is never negative; None for others."""
    if isinstance(atom, str):
        return 0
    low, _ = _bounds(atom.numerator)
    if low is None or low < 0 or (isinstance(atom.denominator, int) and atom.denominator < 0):
        return None
    return low // atom.denominator if isinstance(atom.denominator, int) and atom.denominator else 0


def example_sizes(symbols: Iterable[str], assumptions: Sequence[Assumption], start: int = 1) -> dict[str, int]:
    """Sizes that satisfy all assumptions: the smallest, from ``start`` on, that are easily found."""
    names = sorted(symbols)
    for size in range(start, start + 4096):
        for sizes in (dict.fromkeys(names, size), {name: size + i for i, name in enumerate(names)}):
            if all(one.holds(sizes) for one in assumptions):
                return sizes
    return {name: _another(1_000_003, name) for name in names}
