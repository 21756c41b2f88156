"""Arrays of texts as arrays of numbers: the letters of each along a last axis, with zeros behind.

That is how NumPy itself holds texts of a fixed width, in UTF-32: where an array is one of those, nothing is copied.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from ..errors import DTypeError, ExecutionError
from .arrays import Array

LARGEST = 1 << 28
"""Letters that an array of texts may have, those that fill up the shorter ones included."""
LAST_LETTER = 0x10FFFF


def is_array_of_texts(value: object) -> TypeGuard[Array]:
    """Whether a value is an array of texts (or of objects, which may be texts)."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "OSTU"


def as_texts(array: object) -> Array:
    """Texts in lists or an array of any kind (objects, bytes of UTF-8) as an array of those of a fixed width.

    Raises
    ------
    DTypeError
        Where something in it is no text, or the longest would make the array too large.
    """
    given = array if isinstance(array, np.ndarray) else np.array(array, object)
    if given.dtype.kind == "U" and given.dtype.itemsize:
        return given.astype(given.dtype.newbyteorder("="), copy=False)
    each = [_text(one) for one in given.astype(object).ravel().tolist()]
    longest = max(map(len, each), default=0)
    if len(each) * longest > LARGEST:
        raise DTypeError(f"{len(each):,} strings, the longest of {longest:,} characters, are too large for an array")
    return np.array(each, f"U{max(1, longest)}").reshape(given.shape)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise DTypeError(f"an array of texts holds a {type(value).__name__}")
    return value


def encoded(array: object, *, roomy: bool = False) -> Array:
    """The letters of texts as int32; ``roomy`` makes the last axis a power of two, 8 or more.

    What is compiled for a width is then compiled for few of them.
    """
    texts = as_texts(array)
    width = texts.dtype.itemsize // 4
    codes: Array = np.ascontiguousarray(texts).reshape(-1).view(np.int32).reshape(*texts.shape, width)
    more = (1 << max(3, (width - 1).bit_length())) - width if roomy else 0
    return np.pad(codes, [(0, 0)] * texts.ndim + [(0, more)]) if more else codes


def decoded(codes: Array) -> Array:
    """The texts whose letters these are.

    Raises
    ------
    ExecutionError
        Where a number is that of no letter.
    """
    if codes.size and (codes.min() < 0 or codes.max() > LAST_LETTER):
        raise ExecutionError("a string contains a number that is not a code point")
    width = codes.shape[-1]
    if not codes.size:
        return np.zeros(codes.shape[:-1], "U1")
    return np.ascontiguousarray(codes, np.int32).reshape(-1).view(f"U{width}").reshape(codes.shape[:-1])
