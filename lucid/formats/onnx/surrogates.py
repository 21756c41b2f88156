"""Operators that only move or pick elements, on what is no tensor of numbers.

They are applied to the numbers of texts in a table of all, and to the floats that integers are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import GraphError
from ...graph.dims import Dim
from ...graph.opdef import AbstractTensor
from ...graph.ops.indexing import index_with
from ...graph.ops.promotion import cast
from ...graph.ops.put import counted
from ...graph.ops.shape import reshape
from ...graph.texts import Text, constant, table
from ...graph.types import product
from .float_integers import FloatIntegers
from .sequences import Items, Value


def is_text(value: Value) -> bool:
    """Whether a value is texts, known or not, or a sequence of some."""
    if isinstance(value, Items):
        return any(map(is_text, value))
    return isinstance(value, Text) or (isinstance(value, np.ndarray) and value.dtype.kind == "U")


def as_text(world: AbstractTensor, value: Value) -> Text:
    """The value, which must be texts."""
    if isinstance(value, np.ndarray) and is_text(value):
        return constant(world, value)
    if not isinstance(value, Text):
        raise GraphError("it takes text, and is given " + ("nothing" if value is None else "something else"))
    return value


class Moved:
    """Texts that an operator moves.

    Attributes
    ----------
    texts
        All that it was given.
    """

    def __init__(self, world: AbstractTensor) -> None:
        self.world = world
        self.texts: list[Text] = []
        self.count: Dim = 0

    def numbers(self, value: Value) -> Value:
        """In the place of texts their numbers in the table."""
        if isinstance(value, Items):
            return Items(map(self.numbers, value))  # type: ignore[arg-type]  # of which none is a sequence or absent
        text = as_text(self.world, value)
        size = product(text.shape)
        found = reshape(counted(self.world, size) + self.count, text.shape)
        self.texts.append(text)
        self.count = self.count + size
        return found

    def results(self, found: Sequence[Value]) -> list[Value]:
        """The texts that have these numbers; what is known, such as a shape, stays."""
        return [self._result(one, table(self.texts)) for one in found]

    def _result(self, value: Value, of: AbstractTensor) -> Value:
        if isinstance(value, Items):
            return Items(self._result(one, of) for one in value)  # type: ignore[misc]  # as above
        return Text(index_with(of, (0,), (value,))) if isinstance(value, AbstractTensor) else value


def by_numbers(
    apply: Callable[..., Sequence[Value]], world: AbstractTensor, moves: frozenset[int], inputs: Sequence[Value]
) -> Sequence[Value]:
    """What an operator that moves the elements of these inputs gives for texts."""
    moved = Moved(world)
    given = [
        moved.numbers(one) if one is not None and (slot in moves or -1 in moves) else one
        for slot, one in enumerate(inputs)
    ]
    return moved.results(apply(*given))


def by_floats(
    apply: Callable[..., Sequence[Value]], slots: frozenset[int], inputs: Sequence[Value]
) -> Sequence[Value]:  # fmt: skip
    """What an operator that picks elements of these inputs (-1: of all) gives for integers that are floats."""
    first = next(one for one in inputs if isinstance(one, FloatIntegers))
    kind = first.floats.type.dtype

    def floats(value: Value) -> Value:
        if isinstance(value, np.ndarray):
            return value.astype(kind)
        if isinstance(value, FloatIntegers):
            value = value.floats
        return cast(value, kind) if isinstance(value, AbstractTensor) else value

    found = apply(*(floats(one) if slots & {slot, -1} else one for slot, one in enumerate(inputs)))
    return [
        FloatIntegers(one, first.dtype) if isinstance(one, AbstractTensor) and one.type.dtype == kind else one
        for one in found
    ]
