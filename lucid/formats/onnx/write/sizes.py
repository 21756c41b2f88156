"""Sizes in a file: numbers if they are known, otherwise computed from the shapes of its inputs.

A size is a vector of one element, as shapes are concatenated from these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import GraphError
from ....graph.dims import Dim, FloorDiv, SymDim, symbol
from ....graph.types import TensorType, int64
from .draft import Draft, Item


class Sizes:
    """The values of a graph's sizes in its file.

    Parameters
    ----------
    draft
        The file.
    """

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._sources: dict[str, tuple[Item, int, int, int]] = {}
        self._counts: dict[str, Item] = {}

    def learn(self, item: Item, type_: TensorType) -> None:
        """Record how symbols follow from the shape of an input; axes that are a symbol alone are preferred."""
        for axis, dim in enumerate(type_.shape):
            if not isinstance(dim, SymDim) or len(dim.symbols) > 1:
                continue
            (name,) = dim.symbols
            factor = next((c for m, c in dim.terms if m == (name,)), 0)
            rest = dim - symbol(name) * factor
            known = self._sources.get(name)
            if factor and isinstance(rest, int) and (known is None or (factor, rest) == (1, 0) != known[2:]):
                self._sources[name] = item, axis, factor, rest

    def found(self, name: str, count: Item) -> None:
        """Record the scalar that is a data-dependent size."""
        self._counts[name] = count

    def size(self, dim: Dim) -> Item:
        """A size as a vector of one element."""
        if not isinstance(dim, SymDim):
            return self.draft.constant(np.array([dim], np.int64), "/size")
        known = self.draft.remembered(dim)
        if known is None:
            known = self.draft.part.made[dim] = self._computed(dim)
        return known

    def scalar(self, dim: Dim) -> Item:
        """A size as a scalar."""
        if not isinstance(dim, SymDim):
            return self.draft.constant(np.array(dim, np.int64), "/size")
        key = "scalar", dim
        known = self.draft.remembered(key)
        if known is None:
            empty = self.draft.constant(np.zeros(0, np.int64), "/shape")
            known = self.draft.part.made[key] = self._emit("Reshape", self.size(dim), empty)
        return known

    def shape(self, dims: Sequence[Dim]) -> Item:
        """Sizes as a vector."""
        if not any(isinstance(dim, SymDim) for dim in dims):
            return self.draft.constant(np.array(dims, np.int64), "/shape")
        key = "shape", tuple(dims)
        known = self.draft.remembered(key)
        if known is None:
            made = [self.size(dim) for dim in dims]
            known = self.draft.part.made[key] = made[0] if len(made) == 1 else self._emit("Concat", *made, axis=0)
        return known

    def _computed(self, dim: SymDim) -> Item:
        """A polynomial, term by term."""
        total: Item | None = None
        for monomial, coefficient in dim.terms:
            factors = [self._symbol(a) if isinstance(a, str) else self._quotient(a) for a in monomial]
            if coefficient != 1 or not factors:
                factors.append(self.size(coefficient))
            product = factors[0]
            for factor in factors[1:]:
                product = self._emit("Mul", product, factor)
            total = product if total is None else self._emit("Add", total, product)
        assert total is not None
        return total

    def _symbol(self, name: str) -> Item:
        key = "symbol", name
        known = self.draft.remembered(key)
        if known is not None:
            return known
        if name in self._counts:
            made = self._emit("Reshape", self._counts[name], self.size(1))
        elif name in self._sources:
            item, axis, factor, rest = self._sources[name]
            made = self._emit("Shape", item, start=axis, end=axis + 1)
            made = made if rest == 0 else self._emit("Sub", made, self.size(rest))
            made = made if factor == 1 else self._emit("Div", made, self.size(factor))
        else:
            raise GraphError(
                f"no input has the size {name!r} for an axis, alone or as a multiple, so that the file cannot tell "
                f"what it is: give the model a spec in which it stands by itself, or fix it"
            )
        self.draft.part.made[key] = made
        return made

    def _quotient(self, atom: FloorDiv) -> Item:
        """ONNX divides towards zero: what may be negative is first made a multiple of the divisor."""
        above, below = self.size(atom.numerator), self.size(atom.denominator)
        if not _never_negative(atom.numerator) or not _never_negative(atom.denominator):
            above = self._emit("Sub", above, self._emit("Mod", above, below))
        return self._emit("Div", above, below)

    def _emit(self, op: str, *inputs: Item, **attributes: int) -> Item:
        return self.draft.emit(op, inputs, [int64], attributes)[0]


def _never_negative(dim: Dim) -> bool:
    """Whether no sizes make it negative, as far as its signs tell."""
    if not isinstance(dim, SymDim):
        return dim >= 0
    atoms = (atom for monomial, _ in dim.terms for atom in monomial if isinstance(atom, FloorDiv))
    return all(factor >= 0 for _, factor in dim.terms) and all(
        _never_negative(atom.numerator) and _never_negative(atom.denominator) for atom in atoms
    )


def reshaped(old: Sequence[Dim], new: Sequence[Dim]) -> list[int] | None:
    """A constant shape with which ONNX's Reshape gives ``new``: 0 keeps a size, and -1 is inferred.

    None if no such shape is right for all sizes: -1 cannot be inferred beside a kept size, which may be 0.
    """
    if 0 in new:
        return None
    made = [
        dim if isinstance(dim, int) else 0 if place < len(old) and old[place] == dim else -1
        for place, dim in enumerate(new)
    ]
    return made if made.count(-1) == 0 or (made.count(-1) == 1 and 0 not in made) else None
