"""Long lists of a file, held as arrays or bytes rather than as Python objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import overload

import numpy as np

from ...graph.types import DType
from .model import Array

LONG = 1024
"""Lists with fewer elements are tuples."""


class Numbers(Sequence[float]):
    """A sequence of numbers in an array."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> Numbers: ...

    def __getitem__(self, index: int | slice) -> float | Numbers:
        if isinstance(index, slice):
            return Numbers(self.array[index])
        number: float = self.array[index].item()
        return number

    def __array__(self, dtype: DType | None = None, copy: bool | None = None) -> Array:
        return np.array(self.array, dtype, copy=copy)


class Texts(Sequence[str]):
    """A sequence of strings few of which are distinct: the distinct ones, and the index of each element."""

    def __init__(self, different: Iterable[bytes], numbers: Array) -> None:
        self.different = tuple(one.decode("utf-8", "replace") for one in different)
        self.numbers = numbers

    @classmethod
    def of(cls, data: Iterable[bytes]) -> Texts:
        """The sequence of these strings."""
        numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
        which = np.fromiter(map(numbers.__getitem__, data), np.int32)
        return cls(numbers, which)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self.different[number] for number in self.numbers[index]]
        return self.different[int(self.numbers[index])]


def integers(data: object) -> Array:
    """A list of integers as an array; of 32 bits if the file's bytes were read as such."""
    array: Array = data.array if isinstance(data, Numbers) else np.asarray(data, np.int64)
    return array if array.dtype in (np.int32, np.int64) else array.astype(np.int32 if array.itemsize < 4 else np.int64)


def numbers(data: Sequence[float], dtype: DType) -> Sequence[float]:
    """A list of numbers from a file."""
    return tuple(data) if len(data) < LONG else Numbers(np.array(data, dtype))


def texts(data: Sequence[bytes]) -> Sequence[str]:
    """A list of strings from a file."""
    found = Texts.of(data)
    return tuple(found) if len(data) < LONG else found
