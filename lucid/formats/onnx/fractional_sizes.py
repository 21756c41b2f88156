"""Fractional symbolic sizes, for models that scale a size and round the result to a size again."""

from __future__ import annotations

from fractions import Fraction
from types import NotImplementedType

import numpy as np

from ...base.structs import struct
from ...graph.dims import Dim, SymDim, exact_quotient

FINEST = 4096
"""The largest denominator of fractions that numbers are read as."""


@struct(frozen=True)
class FractionalSize:
    """``dim / over``, exactly."""

    dim: SymDim
    over: int = 1

    __array_ufunc__ = None

    @staticmethod
    def of(size: Dim | FractionalSize | float) -> FractionalSize | float:
        """A size as a fraction, or a float if it is no symbol."""
        return size if isinstance(size, FractionalSize | float) else _share(size, 1)

    def __add__(self, other: object) -> FractionalSize | float | NotImplementedType:
        theirs = _parts(other)
        return NotImplemented if theirs is None else _share(
            self.dim * theirs[1] + theirs[0] * self.over, self.over * theirs[1]
        )  # fmt: skip

    __radd__ = __add__

    def __neg__(self) -> FractionalSize:
        return FractionalSize(-self.dim, self.over)  # type: ignore[arg-type]  # of a dim that is no number

    def __sub__(self, other: object) -> FractionalSize | float | NotImplementedType:
        theirs = _parts(other)
        return NotImplemented if theirs is None else _share(
            self.dim * theirs[1] - theirs[0] * self.over, self.over * theirs[1]
        )  # fmt: skip

    def __rsub__(self, other: object) -> FractionalSize | float | NotImplementedType:
        return -self + other

    def __mul__(self, other: object) -> FractionalSize | float | NotImplementedType:
        theirs = _parts(other)
        return NotImplemented if theirs is None else _share(self.dim * theirs[0], self.over * theirs[1])

    __rmul__ = __mul__

    def __rtruediv__(self, other: object) -> FractionalSize | float | NotImplementedType:
        theirs = _parts(other)
        ratio = None if theirs is None else exact_quotient(theirs[0] * self.over, self.dim * theirs[1])
        return NotImplemented if ratio is None else _share(ratio, 1)

    def __truediv__(self, other: object) -> FractionalSize | float | NotImplementedType:
        theirs = _parts(other)
        if theirs is None or theirs[0] == 0:
            return NotImplemented
        if isinstance(theirs[0], int):
            sign = 1 if theirs[0] > 0 else -1
            return _share(self.dim * (theirs[1] * sign), self.over * abs(theirs[0]))
        ratio = exact_quotient(self.dim * theirs[1], theirs[0] * self.over)
        return NotImplemented if ratio is None else _share(ratio, 1)

    def __floor__(self) -> Dim:
        return self.dim // self.over

    def __ceil__(self) -> Dim:
        return -(-self.dim // self.over)


def _parts(value: object) -> tuple[Dim, int] | None:
    """Numerator and denominator of a number that is a simple fraction, or of a fractional size; None for others."""
    if isinstance(value, FractionalSize):
        return value.dim, value.over
    if not isinstance(value, int | float | np.number) or not np.isfinite(value):
        return None
    near = Fraction(float(value)).limit_denominator(FINEST)
    return (near.numerator, near.denominator) if np.float32(float(near)) == np.float32(value) else None


def _share(dim: Dim, over: int) -> FractionalSize | float:
    return FractionalSize(dim, over) if isinstance(dim, SymDim) else dim / over
