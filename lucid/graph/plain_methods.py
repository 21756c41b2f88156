"""What a tensor's type alone says, and other names of what there is, as tensors and symbols have it."""

from __future__ import annotations

from typing import TypeVar

from ..errors import OptionError, ShapeError
from .dims import Dim
from .opdef import AbstractTensor
from .ops import elementwise as ew
from .ops import shape as sh
from .types import DTYPES

P = TypeVar("P", bound="PlainMethods")


class PlainMethods(AbstractTensor):
    """Sizes in bytes, kinds of numbers, and what complex numbers would make different."""

    __slots__ = ()

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.type.dtype.itemsize

    def element_size(self) -> int:
        """Bytes of an element."""
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> Dim:
        """Bytes of all elements."""
        return self.type.size * self.type.dtype.itemsize

    def is_signed(self) -> bool:
        """Whether the elements can be negative."""
        return self.type.dtype.kind in "fi"

    def is_complex(self) -> bool:
        """False: there are no complex numbers."""
        return False

    def is_same_size(self, other: object) -> bool:
        """Whether another tensor has this one's shape."""
        if not isinstance(other, AbstractTensor):
            raise OptionError(f"is_same_size: takes a tensor, got {type(other).__name__}")
        return self.type.shape == other.type.shape

    @property
    def mH(self: P) -> P:  # noqa: N802 - PyTorch's name
        """With the last two axes exchanged."""
        return self.adjoint()

    @property
    def H(self: P) -> P:  # noqa: N802 - PyTorch's name
        """The transpose of a matrix."""
        if self.type.rank not in (0, 2):
            raise ShapeError(f"H is for matrices; this tensor is {self.type}; use mH, permute or transpose")
        return self.adjoint() if self.type.rank else self

    def adjoint(self: P) -> P:
        """With the last two axes exchanged; a scalar as it is."""
        if self.type.rank == 0:
            return self
        if self.type.rank < 2:
            raise ShapeError(f"adjoint: is for matrices and batches of them; this tensor is {self.type}")
        return sh.transpose(self, -2, -1)

    def conj(self: P) -> P:
        """Itself: there are no complex numbers."""
        return self

    @property
    def real(self: P) -> P:
        """Itself: there are no complex numbers."""
        return self

    def short(self: P) -> P:
        """As int16."""
        return ew.cast(self, DTYPES["int16"])

    def byte(self: P) -> P:
        """As uint8."""
        return ew.cast(self, DTYPES["uint8"])

    def char(self: P) -> P:
        """As int8."""
        return ew.cast(self, DTYPES["int8"])
