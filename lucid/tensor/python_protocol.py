"""Python's protocols for tensors: conversion to numbers, lengths, formatting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, TypeVar

from ..base.arrays import Array
from ..base.checks import check_device
from ..errors import DTypeError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.operators import Operators
from ..graph.ops.composite import all_
from ..graph.ops.shape import normal_axis
from ..graph.trace import user_location
from ..graph.types import is_float

R = TypeVar("R", bound=AbstractTensor)


def leak(what: str) -> str:
    """The message of the error for code that reads a value while the model is traced."""
    return (
        f"{what} asks for a tensor's value while the model is traced ({user_location()}); the graph would keep "
        f"that one value for ever. Keep to tensor operations (lucid.where for a choice), or compute it outside "
        f"the compiled model and pass it in"
    )


class PythonProtocol(Operators[R]):
    """The methods of a tensor that Python calls."""

    __slots__ = ()

    _array: Array

    def numpy(self) -> Array:
        """The data as a read-only array."""
        raise NotImplementedError  # a tensor has its own

    def _concrete(self, what: str) -> None:
        """Raise if the value is not known yet."""
        raise NotImplementedError  # a tensor has its own

    def item(self) -> Any:
        """The only element, as a Python number."""
        self._concrete("item()")
        if self._array.size != 1:
            raise ShapeError(f"item: needs exactly one element, this tensor is {self.type}")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested Python lists."""
        return self.numpy().tolist()

    def equal(self, other: object) -> bool:
        """Whether another tensor has the same shape and elements."""
        same = isinstance(other, Operators) and self.shape == other.shape
        return same and bool(all_(self == other))

    def allclose(self, other: object, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
        """Whether all elements differ from those of ``other`` by at most ``atol + rtol * |other|``."""
        return bool(all_(self.isclose(other, rtol, atol, equal_nan)))

    def stride(self, dim: int | None = None) -> tuple[int, ...] | int:
        """The distance in memory, in elements, of neighbours along each axis, or along ``dim``."""
        self._concrete("stride()")
        steps = tuple(step // self._array.itemsize for step in self._array.strides)
        return steps if dim is None else steps[normal_axis("stride", dim, len(steps))]

    def is_contiguous(self) -> bool:
        """Whether it is row-major in memory."""
        self._concrete("is_contiguous()")
        return self._array.flags.c_contiguous

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("a scalar tensor has no length")
        length: int = self.shape[0]
        return length

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if is_float(self.dtype):
            raise DTypeError(f"a tensor of {self.dtype.name} is no index")
        return int(self.item())

    def cpu(self) -> Self:
        """Itself: everything runs on the processor."""
        return self

    def cuda(self, device: object = None) -> Self:
        """Refused: there is no other device."""
        check_device("Tensor.cuda", "cuda")
        return self

    def __format__(self, how: str) -> str:
        return format(self.item(), how) if how and not self.shape else format(repr(self), how)

    def __contains__(self, value: object) -> bool:
        found = self == value
        return bool(found.any()) if isinstance(found, Operators) else False
