"""Integers that a model makes of floats: they stay floats, which have gradients, until something asks for integers."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.opdef import AbstractTensor
from ...graph.ops.promotion import cast
from ...graph.types import DType


@dataclass(frozen=True, eq=False)
class Whole:
    """Integers as the floats that they are.

    Attributes
    ----------
    floats
        Whole numbers that the element type has.
    dtype
        The element type that they have as integers.
    """

    floats: AbstractTensor
    dtype: DType

    @property
    def tensor(self) -> AbstractTensor:
        """The integers."""
        found: AbstractTensor = cast(self.floats, self.dtype)
        return found
