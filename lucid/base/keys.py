"""Keys of dictionaries."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from .arrays import Array

SAMPLE = 512
"""How many elements of an array, at most, its hash is computed from."""


class Key:
    """A tuple whose hash is computed only once, as keys may contain other keys."""

    __slots__ = ("hash", "value")

    def __init__(self, value: tuple[Hashable, ...]) -> None:
        self.value, self.hash = value, hash(value)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Key) and self.hash == other.hash and self.value == other.value)


class Content:
    """The content of an array as a key: equal for arrays of the same type, shape and bytes.

    The hash is computed from a sample of the elements; all bytes are compared only if that is equal.

    Attributes
    ----------
    array
        The array, which must not change; it is copied only if it is not contiguous.
    """

    __slots__ = ("_hash", "array")

    def __init__(self, array: Array) -> None:
        self.array: Array = array if array.flags.c_contiguous else array.copy()
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            flat = self.array.reshape(-1)
            some = flat[:: flat.size // SAMPLE | 1]  # an odd step goes through all columns of most matrices
            self._hash = hash((self.array.dtype, self.array.shape, some.tobytes()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Content) and self._same(other.array))

    def _same(self, other: Array) -> bool:
        mine = self.array
        if mine is other:
            return True
        return mine.dtype == other.dtype and mine.shape == other.shape and np.array_equal(_bytes(mine), _bytes(other))


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)
