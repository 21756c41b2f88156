"""Operators that only move or pick elements, applied to values that are not tensors of numbers.

They run on surrogates: indices into a table for strings, and the floats themselves for integers held as floats.
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
    """Whether a value is strings, known or not, or a sequence of some."""
    if isinstance(value, Items):
        return any(map(is_text, value))
    return isinstance(value, Text) or (isinstance(value, np.ndarray) and value.dtype.kind == "U")


def as_text(world: AbstractTensor, value: Value) -> Text:
    """The value, which must be strings."""
    if isinstance(value, np.ndarray) and is_text(value):
        return constant(world, value)
    if not isinstance(value, Text):
        raise GraphError("it takes text, and is given " + ("nothing" if value is None else "something else"))
    return value


class TextIndices:
    """The strings that an operator moves, represented by indices into a table.

    Attributes
    ----------
    texts
        All strings that it is given, which form the table.
    """

    def __init__(self, world: AbstractTensor) -> None:
        self.world = world
        self.texts: list[Text] = []
        self.count: Dim = 0

    def numbers(self, value: Value) -> Value:
        """The value with indices into the table in place of strings."""
        if isinstance(value, Items):
            return Items(map(self.numbers, value))  # type: ignore[arg-type]  # of which none is a sequence or absent
        text = as_text(self.world, value)
        size = product(text.shape)
        found = reshape(counted(self.world, size) + self.count, text.shape)
        self.texts.append(text)
        self.count = self.count + size
        return found

    def results(self, found: Sequence[Value]) -> list[Value]:
        """The strings at these indices; host values, such as shapes, are unchanged."""
        return [self._result(one, table(self.texts)) for one in found]

    def _result(self, value: Value, of: AbstractTensor) -> Value:
        if isinstance(value, Items):
            return Items(self._result(one, of) for one in value)  # type: ignore[misc]  # as above
        return Text(index_with(of, (0,), (value,))) if isinstance(value, AbstractTensor) else value


def by_numbers(
    apply: Callable[..., Sequence[Value]], world: AbstractTensor, moves: frozenset[int], inputs: Sequence[Value]
) -> Sequence[Value]:
    """The results of an operator that moves elements of the inputs ``moves`` (-1: all) for strings."""
    moved = TextIndices(world)
    given = [
        moved.numbers(one) if one is not None and (slot in moves or -1 in moves) else one
        for slot, one in enumerate(inputs)
    ]
    return moved.results(apply(*given))


def by_floats(
    apply: Callable[..., Sequence[Value]], slots: frozenset[int], inputs: Sequence[Value]
) -> Sequence[Value]:  # fmt: skip
    """The results of an operator that picks elements of the inputs ``slots`` (-1: all) for integers held as floats."""
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
