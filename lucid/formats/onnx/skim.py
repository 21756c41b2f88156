"""An ONNX file without its numbers, as it is asked what it needs: they are passed over, not read.

The wire format of protocol buffers is a list of fields, each with its length; only messages that hold nodes are looked
into, and what weighs something in them is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import TypeAlias

from ...errors import GraphError

Data: TypeAlias = "bytes | mmap"

DEEPEST = 100
"""Messages in messages, as the package for protocol buffers has it."""


@dataclass(frozen=True)
class _Message:
    """Which fields of a message are looked into, and which left out, by their numbers.

    With the first of ``last`` the message ends: what has numbers, each of which may be a field, has nothing else.
    """

    inside: dict[int, _Message] = field(default_factory=dict)
    left_out: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()


# of an attribute: its number, tensors, lists of numbers and texts; what remains are its name, its kind, and graphs
_ATTRIBUTE = _Message(left_out=frozenset({4, 5, 10, 22, 23}), last=frozenset({7, 8, 9}))
_NODE = _Message({5: _ATTRIBUTE})
_GRAPH = _Message({1: _NODE}, frozenset({5, 15}))  # constants, and sparse ones
_ATTRIBUTE.inside.update({6: _GRAPH, 11: _GRAPH})
_MODEL = _Message({7: _GRAPH, 25: _Message({7: _NODE})})  # its graph, and the nodes of its functions


def skimmed(data: Data) -> bytes:
    """The model in these bytes without its numbers."""
    return _skim(data, 0, len(data), _MODEL, 0)


def _skim(data: Data, start: int, end: int, message: _Message, depth: int) -> bytes:
    if depth > DEEPEST:
        raise GraphError(f"messages stand in messages more than {DEEPEST} deep")
    kept = []
    for number, first, content, last in _fields(data, start, end):
        if number in message.last:
            break
        within = message.inside.get(number)
        if within is not None and content is not None:
            inner = _skim(data, content, last, within, depth + 1)
            kept += [_varint(number << 3 | 2), _varint(len(inner)), inner]
        elif number not in message.left_out:
            kept.append(data[first:last])
    return b"".join(kept)


def _fields(data: Data, place: int, end: int) -> Iterator[tuple[int, int, int | None, int]]:
    """Of each field its number, where it begins, where its content does if it has a length, and where it ends."""
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
            raise GraphError("it is no ONNX model: a field of an unknown kind")
        if place > end:
            raise GraphError("it is no ONNX model: a field is longer than what it stands in")
        yield key >> 3, first, content, place


def _number(data: Data, place: int, end: int) -> tuple[int, int]:
    """A number of any length that begins at a place, and where it ends."""
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
        shift += 7
    raise GraphError("it is no ONNX model: a number has no end")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
