"""Integers that a model computes from floats: kept as floats, which have gradients, until integers are needed."""

from __future__ import annotations

from ...base.structs import struct
from ...graph.opdef import AbstractTensor
from ...graph.ops.promotion import cast
from ...graph.types import DType


@struct(frozen=True, eq=False)
class FloatIntegers:
    """Integers held as floats.

    Attributes
    ----------
    floats
        Whole numbers, within the range of the element type.
    dtype
        The integer type that they stand for.
    """

    floats: AbstractTensor
    dtype: DType

    @property
    def tensor(self) -> AbstractTensor:
        """The integers."""
        found: AbstractTensor = cast(self.floats, self.dtype)
        return found
