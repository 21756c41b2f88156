"""The wire format of protocol buffers: a message is a list of fields, each with a number, a type and a length."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import TypeAlias

import numpy as np

from ...errors import GraphError
from .long_lists import Texts
from .model import Array

Data: TypeAlias = "bytes | memoryview | mmap"

FLOATS, INTS, TEXTS = 0x3D, 0x40, 0x4A
"""What stands before each number or text of an attribute's lists: the field's number and kind."""
BLOCK = 1 << 16
"""Bytes that are read at once, so that they stay in the cache."""
LONGEST = 10
"""The most bytes of a variable-length number."""
FEW = 32
"""The most distinct strings of a list for it to be read here."""


def fields(data: Data, place: int, end: int) -> Iterator[tuple[int, int, int | None, int]]:
    """For each field its number, its start, the start of its content if it has a length, and its end."""
    while place < end:
        first = place
        key, place = _number(data, place, end)
        kind, content = key & 7, None
        if kind == 0:
            _, place = _number(data, place, end)
        elif kind == 2:
            length, content = _number(data, place, end)
            place = content + length
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise GraphError("it is not an ONNX model: a field of an unknown kind")
        if place > end:
            raise GraphError("it is not an ONNX model: a field is longer than what it stands in")
        yield key >> 3, first, content, place


def _number(data: Data, place: int, end: int) -> tuple[int, int]:
    """A variable-length number at a position, and its end."""
    value = shift = 0
    while place < end and shift < 7 * LONGEST:
        byte = data[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
        shift += 7
    raise GraphError("it is not an ONNX model: a number has no end")


def varint(value: int) -> bytes:
    """A number in variable-length form."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


# ---------------------------------------------------------------- lists that are read at once
# Each of these takes bytes that may be a list of fields of one kind, and gives None where they are not that alone.


def floats(data: Array) -> Array | None:
    """Numbers of four bytes, each preceded by its tag."""
    if len(data) % 5 or (data[::5] != FLOATS).any():
        return None
    return np.ndarray(len(data) // 5, "<f4", data, 1, (5,)).astype(np.float32)


def ints(data: Array) -> Array | None:
    """Variable-length numbers, each preceded by its tag, in a type that holds all of them."""
    found, place = list[Array](), 0
    while place < len(data):
        block = data[place : place + BLOCK]
        ends = np.flatnonzero(block < 128)
        values = _ints(block, ends[:-1:2], ends[1::2])
        if values is None:
            return None
        found.append(values)
        place += int(ends[1::2][-1]) + 1
    return np.concatenate(found) if found else None


def _ints(block: Array, tags: Array, ends: Array) -> Array | None:
    """The numbers in a block, if tags and ends of numbers are where they seem to be."""
    if not len(ends) or tags[0] or (tags[1:] != ends[:-1] + 1).any() or (block.take(tags) != INTS).any():
        return None
    lengths, values = ends - tags, block.take(ends)
    longest = int(lengths.max())
    if longest > LONGEST or (longest == LONGEST and values[lengths == LONGEST].max() > 1):
        return None
    if longest > 1:
        values = values.astype(np.int32 if longest < 5 else np.int64)  # four bytes have 28 bits
    lengths = lengths.astype(np.int8)
    for before in range(1, longest):
        np.copyto(values, values << 7 | block.take(ends - before, mode="clip") & 127, where=lengths > before)
    return values


def texts(data: Array) -> Texts | None:
    """Strings of fewer than 128 bytes, few of which are distinct."""
    found, kinds, place = list[Array](), list[bytes](), 0
    while place < len(data):
        block = data[place : place + BLOCK]
        tags = np.flatnonzero(block[:-1] == TEXTS)
        ends = tags + 2 + block[tags + 1]
        whole = len(tags) - (not len(tags) or bool(ends[-1] > len(block)))
        # where no text has the tag's byte in it, each tag stands where the text before it ends
        if whole < 1 or tags[0] or (ends[:-1] != tags[1:]).any():
            return None
        numbers = _texts(block[: ends[whole - 1]], tags[:whole], kinds)
        if numbers is None:
            return None
        found.append(numbers)
        place += int(ends[whole - 1])
    return Texts(kinds, np.concatenate(found)) if found else None


def _texts(block: Array, tags: Array, kinds: list[bytes]) -> Array | None:
    """The index of each string among the distinct ones, to which new ones are appended."""
    lengths, found = block[tags + 1], np.zeros(len(tags), np.uint8)
    for length in np.flatnonzero(np.bincount(lengths)).tolist():
        which = np.flatnonzero(lengths == length)
        # with its length before each, as such texts lose zeros at their ends
        read = np.ndarray(len(block) - length, f"S{length + 1}", block, 0, (1,))[tags[which] + 1]
        known = [number for number, text in enumerate(kinds) if len(text) == length]
        while len(which):
            if not known:
                known.append(len(kinds))
                kinds.append(block[tags[which[0]] + 2 :][:length].tobytes())
            if len(kinds) > FEW or length > 127:
                return None
            number = known.pop()
            same = read == bytes([length]) + kinds[number]
            found[which[same]] = number
            which, read = which[~same], read[~same]
    return found
