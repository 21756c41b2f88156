"""Reading long lists of numbers and strings from a file's bytes, before the protobuf package parses the rest.

That package makes an object for each string, and eight bytes for each number, one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np

from ...errors import GraphError
from .long_lists import Numbers
from .model import Array
from .wire import FLOATS, INTS, TEXTS, Data, fields, floats, ints, texts, varint

LARGE = 1 << 16
"""Bytes of an attribute from which on its list is read here."""
MOST = 1 << 17
"""The most fields of a message that are examined one by one."""

Lists: TypeAlias = "Mapping[tuple[int, int], Sequence[float] | Sequence[str]]"
"""Lists by the number of a node in the model's graph and that of the attribute in the node."""

GRAPH, FUNCTIONS, NODE, ATTRIBUTE = 7, 25, 1, 5
"""The numbers of fields: of a model, a graph, and a node."""
KINDS = {FLOATS: b"\xa0\x01\x06", INTS: b"\xa0\x01\x07", TEXTS: b"\xa0\x01\x08"}
"""The field of an attribute that says which list it has; it follows the list, if fields are in order."""


def set_aside(data: Data) -> tuple[bytes, Lists]:
    """The model without the long lists of its graph's nodes, and these lists."""
    view, found = memoryview(data), dict[tuple[int, int], "Sequence[float] | Sequence[str]"]()

    def attribute(node: int, index: int, first: int, last: int) -> bytes | None:
        begin, kind = _list(view, first, last), bytes(view[last - 3 : last])
        read = None if begin is None else _read(np.frombuffer(view[begin : last - 3], np.uint8), kind)
        if read is None:
            return None
        found[node, index] = read
        return bytes(view[first:begin]) + kind

    def node(index: int, first: int, last: int) -> bytes | None:
        return _rewritten(view, first, last, ATTRIBUTE, lambda *place: attribute(index, *place))

    def graph(index: int, first: int, last: int) -> bytes | None:
        # of several, which are read as one, the first has the first nodes
        return None if index else _rewritten(view, first, last, NODE, node)

    try:
        # functions change the numbers of nodes
        if all(number != FUNCTIONS for number, *_ in islice(fields(data, 0, len(data)), MOST)):
            rest = _rewritten(view, 0, len(data), GRAPH, graph)
            return (bytes(data), {}) if rest is None else (rest, found)
    except GraphError:
        pass  # the package says what is wrong
    return bytes(data), {}


def _rewritten(
    view: memoryview, first: int, last: int, wanted: int, change: Callable[[int, int, int], bytes | None]
) -> bytes | None:
    """A message with large fields of one number replaced by what ``change`` returns; None if it changes none."""
    kept, done, index = list[bytes | memoryview](), first, 0
    for number, begin, content, end in islice(fields(view, first, last), MOST):
        if number != wanted or content is None:
            continue
        new = change(index, content, end) if end - content > LARGE else None
        if new is not None:
            kept += [view[done:begin], varint(wanted << 3 | 2), varint(len(new)), new]
            done = end
        index += 1
    return b"".join([*kept, view[done:last]]) if kept else None


def _list(view: memoryview, first: int, last: int) -> int | None:
    """The start of the list of an attribute."""
    for _, begin, _, _ in fields(view, first, last):
        if view[begin] in KINDS:
            return begin
    return None


def _read(data: Array, kind: bytes) -> Sequence[float] | Sequence[str] | None:
    """The list in these bytes, if they consist only of elements of the kind that the following field says."""
    tag = next((tag for tag, said in KINDS.items() if said == kind), None)
    if tag == TEXTS:
        return texts(data)
    array = floats(data) if tag == FLOATS else ints(data) if tag == INTS else None
    return None if array is None else Numbers(array)
