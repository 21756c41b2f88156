"""Arrays of strings as arrays of numbers: the code points of each along the last axis, padded with zeros.

NumPy itself stores strings of a fixed width like this, in UTF-32, so that such arrays are not copied.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from ..errors import DTypeError, ExecutionError
from .arrays import Array

LARGEST = 1 << 28
"""The most characters that an array of strings may have, including padding."""
LAST_LETTER = 0x10FFFF


def is_array_of_texts(value: object) -> TypeGuard[Array]:
    """Whether a value is an array of strings (or of objects, which may be strings)."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "OSTU"


def as_texts(array: object) -> Array:
    """Strings in lists or in any array (also of objects or UTF-8 bytes) as an array of fixed-width strings.

    Raises
    ------
    DTypeError
        If an element is not a string, or the longest would make the array too large.
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
    """The code points of strings as int32. With ``roomy``, the last axis is a power of two of at least 8.

    So a model, which is compiled for a width, is compiled for only a few widths.
    """
    texts = as_texts(array)
    width = texts.dtype.itemsize // 4
    codes: Array = np.ascontiguousarray(texts).reshape(-1).view(np.int32).reshape(*texts.shape, width)
    more = (1 << max(3, (width - 1).bit_length())) - width if roomy else 0
    return np.pad(codes, [(0, 0)] * texts.ndim + [(0, more)]) if more else codes


def decoded(codes: Array) -> Array:
    """The strings that have these code points.

    Raises
    ------
    ExecutionError
        If a number is not a code point.
    """
    if codes.size and (codes.min() < 0 or codes.max() > LAST_LETTER):
        raise ExecutionError("a string contains a number that is not a code point")
    width = codes.shape[-1]
    if not codes.size:
        return np.zeros(codes.shape[:-1], "U1")
    return np.ascontiguousarray(codes, np.int32).reshape(-1).view(f"U{width}").reshape(codes.shape[:-1])
