"""Sequences in a model: their lengths are known while the model is built, and no graph holds one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from ...base.structs import struct
from ...errors import GraphError
from ...graph.maps import Maps
from ...graph.opdef import AbstractTensor
from ...graph.texts import Text
from .float_integers import FloatIntegers
from .model import Array

LONGEST = 1 << 16
"""The most values of a sequence."""


class Items(tuple["AbstractTensor | Array | Text", ...]):
    """A sequence of tensors or strings, or of host values."""

    __slots__ = ()


Value: TypeAlias = "AbstractTensor | Array | Text | FloatIntegers | Items | Maps | None"
"""An operand: a tensor, a host value, strings, integers held as floats, a sequence, maps, or nothing."""


def checked_length(count: int) -> int:
    """The length of a sequence, refused if it is too large."""
    if count > LONGEST:
        raise GraphError(f"a sequence of {count:,} values is not made while a model is built; {LONGEST:,} are the most")
    return count


def place_in(count: int, number: int) -> int:
    """A position among ``count``, which may be negative to count from the end."""
    if not -count <= number < count:
        raise GraphError(f"there is no place {number} among {count}")
    return number % count


@struct(frozen=True)
class Layout:
    """How values that a graph in a node passes on are laid out in a flat list of tensors.

    Attributes
    ----------
    counts
        For each value, its number of tensors; or its kind, if it is not a sequence.
    """

    counts: tuple[int | str, ...]

    @staticmethod
    def of(values: Sequence[Value]) -> Layout:
        """The layout of these values."""
        return Layout(tuple(map(_count, values)))

    def flat(self, values: Sequence[Value], tensor: Callable[[Value], AbstractTensor]) -> list[AbstractTensor]:
        """The tensors of values that must have this layout."""
        if Layout.of(values) != self:
            raise GraphError("the length of the sequence that it carries changes from one iteration to the next")
        return [tensor(one) for value in values for one in _parts(value)]

    def restored(self, tensors: Iterable[AbstractTensor]) -> list[Value]:
        """The values that these tensors represent."""
        rest = iter(tensors)
        return [_restored(count, rest) for count in self.counts]


def _count(value: Value) -> int | str:
    if isinstance(value, Items):
        return len(value)
    return "text" if isinstance(value, Text) else "nothing" if value is None else "tensor"


def _parts(value: Value) -> Sequence[Value]:
    if isinstance(value, Text):
        return (value.tensor,)
    return value if isinstance(value, Items) else () if value is None else (value,)


def _restored(count: int | str, rest: Iterator[AbstractTensor]) -> Value:
    if isinstance(count, int):
        return Items(next(rest) for _ in range(count))
    return None if count == "nothing" else Text(next(rest)) if count == "text" else next(rest)
