"""An ONNX file without its numbers, for questions about its operators: data are skipped rather than read.

Only messages that contain nodes are examined, and their large fields are left out.
"""

from __future__ import annotations

from dataclasses import field

from ...base.structs import struct
from ...errors import GraphError
from .wire import Data, fields, varint

DEEPEST = 100
"""How deep messages may be nested, as in the protobuf package."""


@struct(frozen=True)
class _Message:
    """Which fields of a message are examined, and which are left out, by number.

    The message ends with the first field in ``last``: nothing follows long lists, each element of which may be a field.
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
    """The model in these bytes, without its numbers."""
    return _skim(data, 0, len(data), _MODEL, 0)


def _skim(data: Data, start: int, end: int, message: _Message, depth: int) -> bytes:
    if depth > DEEPEST:
        raise GraphError(f"messages are nested more than {DEEPEST} deep")
    kept: list[bytes | memoryview] = []
    for number, first, content, last in fields(data, start, end):
        if number in message.last:
            break
        within = message.inside.get(number)
        if within is not None and content is not None:
            inner = _skim(data, content, last, within, depth + 1)
            kept += [varint(number << 3 | 2), varint(len(inner)), inner]
        elif number not in message.left_out:
            kept.append(data[first:last])
    return b"".join(kept)
