"""Symbolic dimensions: integer polynomials over named symbols, with floor division.

A dimension of a tensor is an ``int`` or a :class:`SymDim`. Two symbolic dims are equal when their
canonical polynomials are, so ``N * 4`` equals ``2 * N + 2 * N``; nothing is ever solved or guessed.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, reduce
from keyword import iskeyword
from operator import and_
from typing import TypeAlias

from ..base.checks import LARGEST, shown
from ..base.structs import struct
from ..errors import ShapeError

MOST_TERMS, MOST_PRODUCTS, HIGHEST_DEGREE, DEEPEST, LONGEST = 100, 1000, 32, 32, 1000
"""Limits of a polynomial: its terms, the products of terms in one multiplication, its degree, divisions in divisions,
and the symbols that are written in it.

No real dimension comes near them; those of a malicious file would otherwise expand without end.
"""


class _Work:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise ShapeError("its dimensions take more arithmetic than those of any model")


_work: ContextVar[_Work | None] = ContextVar("work", default=None)


@contextmanager
def limited_work(steps: int) -> Iterator[None]:
    """While inside, dimensions may take at most this many products of terms, to limit the work for files."""
    token = _work.set(_Work(steps))
    try:
        yield
    finally:
        _work.reset(token)


@struct(frozen=True)
class FloorDiv:
    """``numerator // denominator``, kept as an atom because it is no polynomial."""

    numerator: SymDim
    denominator: Dim

    @cached_property
    def depth(self) -> int:
        """How deep divisions are nested."""
        return 1 + max(_depth(self.numerator), _depth(self.denominator))

    @cached_property
    def length(self) -> int:
        """The number of symbols in it."""
        return _length(_terms(self.numerator)) + _length(_terms(self.denominator))

    @cached_property
    def _hash(self) -> int:
        return hash((self.numerator, self.denominator))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _text(self) -> str:
        return f"({self.numerator})//({self.denominator})"

    def __str__(self) -> str:
        return self._text


Atom: TypeAlias = "str | FloorDiv"
Monomial: TypeAlias = "tuple[Atom, ...]"


def _atom_key(atom: Atom) -> tuple[int, str]:
    return (0, atom) if isinstance(atom, str) else (1, str(atom))


@struct(frozen=True)
class SymDim:
    """A canonical polynomial: ``terms`` maps each product of atoms to its integer coefficient.

    Build one with :func:`symbol` and arithmetic (``+ - * //`` with ints and other dims).
    """

    terms: tuple[tuple[Monomial, int], ...]

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Names of the symbols this dim depends on."""
        names: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                if isinstance(atom, str):
                    names.add(atom)
                else:
                    names |= atom.numerator.symbols
                    if isinstance(atom.denominator, SymDim):
                        names |= atom.denominator.symbols
        return frozenset(names)

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The value of this dim for these sizes of the symbols."""
        total = 0
        for monomial, coefficient in self.terms:
            product = coefficient
            for atom in monomial:
                if isinstance(atom, str):
                    if atom not in sizes:
                        raise ShapeError(f"no size is known for the symbolic dimension {atom!r}")
                    product *= sizes[atom]
                else:
                    divisor = evaluate(atom.denominator, sizes)
                    if not divisor:
                        raise ShapeError(f"the dimension {self} divides by zero where {_listed(sizes)}")
                    product *= evaluate(atom.numerator, sizes) // divisor
                if abs(product) > LARGEST:
                    raise ShapeError(f"the dimension {self} is larger than any array where {_listed(sizes)}")
            total += product
        return total

    def __add__(self, other: Dim) -> Dim:
        return _polynomial([*self.terms, *_terms(other)])

    def __mul__(self, other: Dim) -> Dim:
        factors = _terms(other)
        if len(self.terms) * len(factors) > MOST_PRODUCTS:
            raise ShapeError(f"a product of dimensions of {len(self.terms)} and {len(factors)} terms is no dimension")
        return _polynomial([(_times(a, b), x * y) for a, x in self.terms for b, y in factors])

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    def __floordiv__(self, other: Dim) -> Dim:
        exact = exact_quotient(self, other)
        if exact is not None:
            return exact
        dividend, divisor = _lowest(self, other)
        if isinstance(divisor, int) and divisor > 1:
            return _quotient(dividend, divisor)
        return _polynomial([((FloorDiv(dividend, divisor),), 1)])

    def __rfloordiv__(self, other: int) -> Dim:
        numerator = SymDim((((), other),)) if other else None
        return 0 if numerator is None else _polynomial([((FloorDiv(numerator, self),), 1)])

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _text(self) -> str:
        def term(monomial: Monomial, coefficient: int) -> str:
            atoms = [a if isinstance(a, str) else f"({a})" for a in monomial]
            if not atoms:
                return str(coefficient)
            return "*".join(atoms) if coefficient == 1 else "*".join([str(coefficient), *atoms])

        return " + ".join(term(m, c) for m, c in self.terms).replace("+ -", "- ")

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__


Dim: TypeAlias = "int | SymDim"


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, SymDim) else (((), dim),)


def _depth(dim: Dim) -> int:
    return max((a.depth for m, _ in _terms(dim) for a in m if isinstance(a, FloorDiv)), default=0)


def _length(terms: Iterable[tuple[Monomial, int]]) -> int:
    return sum(1 + sum(a.length if isinstance(a, FloorDiv) else 1 for a in monomial) for monomial, _ in terms)


def _listed(sizes: Mapping[str, Dim]) -> str:
    return ", ".join(f"{name} is {size}" for name, size in sizes.items())


def _times(a: Monomial, b: Monomial) -> Monomial:
    return tuple(sorted(a + b, key=_atom_key)) if a and b else a or b


def _polynomial(terms: Sequence[tuple[Monomial, int]]) -> Dim:
    """The sum of the terms, in canonical form and within the limits."""
    work = _work.get()
    if work is not None:
        work.spend(len(terms))
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    kept = {m: c for m, c in total.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    if (
        len(kept) > MOST_TERMS
        or max(map(len, kept)) > HIGHEST_DEGREE
        or any(abs(c) > LARGEST for c in kept.values())
        or any(isinstance(atom, FloorDiv) and atom.depth > DEEPEST for m in kept for atom in m)
        or _length(kept.items()) > LONGEST
    ):
        raise ShapeError(
            f"a polynomial of {len(kept)} terms and degree {max(map(len, kept))} is no dimension: at most {MOST_TERMS} "
            f"terms, degree {HIGHEST_DEGREE}, {DEEPEST} divisions in one another, {LONGEST} symbols and 64 bits"
        )
    order = sorted(kept, key=lambda m: (-len(m), [_atom_key(a) for a in m]))
    return SymDim(tuple((m, kept[m]) for m in order))


def _lowest(dividend: SymDim, divisor: Dim) -> tuple[SymDim, Dim]:
    """Both without the atoms that all their terms have in common."""
    if isinstance(divisor, int):
        return dividend, divisor
    shared = reduce(and_, (Counter(monomial) for monomial, _ in (*dividend.terms, *divisor.terms)))
    factor = SymDim(((tuple(shared.elements()), 1),))
    left, right = exact_quotient(dividend, factor), exact_quotient(divisor, factor)
    return (left, right) if isinstance(left, SymDim) and right is not None else (dividend, divisor)


def _quotient(dividend: SymDim, divisor: int) -> Dim:
    """``dividend // divisor`` in canonical form.

    Whole multiples of the divisor are moved out of the division, so that every coefficient in it is less than the
    divisor; common factors are cancelled; and a division within the division is merged with it.
    """
    whole: Dim = 0
    while True:
        parts = [(m, *divmod(c, divisor)) for m, c in dividend.terms]
        whole = whole + _polynomial([(m, quotient) for m, quotient, _ in parts])
        rest = [(m, left) for m, _, left in parts if left]
        shared = math.gcd(divisor, *(left for m, left in rest if m))
        divisor //= shared
        reduced = _polynomial([(m, left // shared) for m, left in rest])
        if isinstance(reduced, int) or divisor == 1:
            return whole + reduced // divisor
        inner = [m[0] for m, c in reduced.terms if c == 1 and len(m) == 1 and _is_quotient(m[0])]
        if not inner:
            return whole + _polynomial([((FloorDiv(reduced, divisor),), 1)])
        atom = inner[0]
        assert isinstance(atom, FloorDiv) and isinstance(atom.denominator, int)
        joined = (reduced - SymDim((((atom,), 1),))) * atom.denominator + atom.numerator
        if isinstance(joined, int):
            return whole + joined // (divisor * atom.denominator)
        dividend, divisor = joined, divisor * atom.denominator


def _is_quotient(atom: Atom) -> bool:
    return isinstance(atom, FloorDiv) and isinstance(atom.denominator, int) and atom.denominator > 0


def symbol(name: str) -> SymDim:
    """The symbolic dim called ``name``: an identifier that is not a keyword, as Python parses expressions of them."""
    if not name.isidentifier() or iskeyword(name):
        raise ShapeError(f"a symbolic dimension needs an identifier as its name, got {shown(name)}")
    return SymDim((((name,), 1),))


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """``dim`` as an int, with each symbol replaced by its size."""
    return dim.evaluate(sizes) if isinstance(dim, SymDim) else dim


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """``dim`` with symbols replaced by the given sizes or dims; the others remain."""
    if not isinstance(dim, SymDim) or dim.symbols.isdisjoint(sizes):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        product: Dim = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                product = product * (sizes[atom] if atom in sizes else symbol(atom))
            else:
                divisor = substitute(atom.denominator, sizes)
                if divisor == 0:
                    raise ShapeError(f"the dimension {dim} divides by zero where {_listed(sizes)}")
                product = product * (substitute(atom.numerator, sizes) // divisor)
        total = total + product
    return total


def exact_quotient(dividend: Dim, divisor: Dim) -> Dim | None:
    """``dividend / divisor`` if that is a polynomial; otherwise None."""
    if dividend == divisor:
        return 1
    if isinstance(dividend, int) and isinstance(divisor, int):
        return dividend // divisor if divisor and dividend % divisor == 0 else None
    parts = _terms(divisor)
    if len(parts) == 1:
        (monomial, coefficient), quotient = parts[0], []
        for atoms, value in _terms(dividend):
            rest = list(atoms)
            for atom in monomial:
                if atom not in rest:
                    return None
                rest.remove(atom)
            if not coefficient or value % coefficient:
                return None
            quotient.append((tuple(rest), value // coefficient))
        return _polynomial(quotient)
    lead, first = parts[0], _terms(dividend)[0]
    ratio = exact_quotient(SymDim((first,)) if first[0] else first[1], SymDim((lead,)))
    return ratio if ratio is not None and ratio * divisor == dividend else None


def parse_dim(text: str) -> Dim:
    """The inverse of ``str(dim)``; evaluates arithmetic over names and ints and nothing else."""
    if len(text) > _LONGEST:
        raise ShapeError(f"not a dimension: {len(text)} characters, starting {text[:60]!r}")
    try:
        return _from_ast(ast.parse(text, mode="eval").body, text)
    except ShapeError as error:
        raise ShapeError(f"not a dimension: {text[:60]!r}: {error}") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ShapeError(f"not a dimension: {text[:60]!r}") from error


_LONGEST = 2000


def _from_ast(tree: ast.expr, text: str) -> Dim:
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    if isinstance(tree, ast.Name):
        return symbol(tree.id)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_from_ast(tree.operand, text)
    if isinstance(tree, ast.BinOp):
        if isinstance(tree.op, ast.Add | ast.Sub):
            return _sum_from_ast(tree, text)
        left, right = _from_ast(tree.left, text), _from_ast(tree.right, text)
        if isinstance(tree.op, ast.Mult):
            return left * right
        if isinstance(tree.op, ast.FloorDiv) and right != 0:
            return left // right
    raise ShapeError("only sums, products and quotients of names and whole numbers are")


def _sum_from_ast(tree: ast.expr, text: str) -> Dim:
    """A chain of sums and differences at once, as adding one by one would take quadratic time."""
    parts: list[Dim] = []
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add | ast.Sub):
        right = _from_ast(tree.right, text)
        parts.append(right if isinstance(tree.op, ast.Add) else -right)
        tree = tree.left
    parts.append(_from_ast(tree, text))
    return _polynomial([term for part in parts for term in _terms(part)])


def as_dim(value: object, what: str) -> Dim:
    """``value`` as a dim: an int, a NumPy integer, a symbolic dim, or a stand-in for one while tracing."""
    value = getattr(value, "sym", value)
    if isinstance(value, SymDim):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ShapeError(f"{what}: expected an integer, got {shown(value)}")
    index: int = value.__index__()
    if not -LARGEST <= index <= LARGEST:
        raise ShapeError(f"{what}: {shown(index)} is larger than any size can be")
    return index
