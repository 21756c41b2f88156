"""Operators on sequences of tensors, whose lengths are known while the model is built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import GraphError
from ....graph.assume import is_equal
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import shape
from ....graph.ops.subscript import getitem
from ....graph.texts import Text
from ....graph.types import Shape, format_shape
from ..model import Array, GraphDef
from ..registry import Call, Value, converter, is_host
from ..sequences import Items, checked_length, place_in


def _items(value: Value) -> Items:
    if not isinstance(value, Items):
        raise GraphError(f"it takes a sequence, and is given {'nothing' if value is None else 'a tensor'}")
    return value


def _one(call: Call, value: Value) -> AbstractTensor | Array | Text:
    """A value as an element of a sequence: a tensor, strings, or a host value."""
    return value if is_host(value) or isinstance(value, Text) else call.tensor(value)


def _number(call: Call, value: Value) -> int:
    return int(call.scalar(value, "the place in the sequence"))


@converter("SequenceEmpty", since=11)
def empty(call: Call) -> Value:
    return Items()


@converter("SequenceConstruct", since=11)
def construct(call: Call, *values: Value) -> Value:
    return Items(_one(call, one) for one in values)


@converter("SequenceLength", since=11)
def length(call: Call, sequence: Value) -> Array:
    return np.array(len(_items(sequence)))


@converter("SequenceAt", since=11, host=(1,))
def at(call: Call, sequence: Value, place: Value) -> Value:
    items = _items(sequence)
    return items[place_in(len(items), _number(call, place))]


@converter("SequenceInsert", since=11, host=(2,))
def insert(call: Call, sequence: Value, value: Value, place: Value = None) -> Value:
    """The sequence with a value inserted before the one at a position; at the end by default."""
    items = _items(sequence)
    count = checked_length(len(items) + 1) - 1
    number = count if place is None else _number(call, place)
    number = count if number == count else place_in(count, number)
    return Items((*items[:number], _one(call, value), *items[number:]))


@converter("SequenceErase", since=11, host=(1,))
def erase(call: Call, sequence: Value, place: Value = None) -> Value:
    items = _items(sequence)
    number = place_in(len(items), -1 if place is None else _number(call, place))
    return Items((*items[:number], *items[number + 1 :]))


@converter("SplitToSequence", since=11, host=(1,), moves=(0,))
def split_to_sequence(call: Call, x: Value, sizes: Value = None) -> Value:
    """Parts along an axis, of a given size, of listed sizes, or of size 1."""
    values = x if is_host(x) else call.tensor(x)
    of: Shape = np.shape(values) if isinstance(values, np.ndarray) else values.type.shape
    axis = shape.normal_axis("SplitToSequence", call.attribute("axis", 0), len(of))
    drops = sizes is None and not call.attribute("keepdims", 1)
    found: list[AbstractTensor | Array] = []
    start: Dim = 0
    for size in _sizes(call, sizes, of[axis]):
        key = (*[slice(None)] * axis, start if drops else slice(start, start + size))
        found.append(values[*key, ...] if isinstance(values, np.ndarray) else getitem(values, key))  # type: ignore[arg-type]
        start = start + size
    return Items(found)


def _sizes(call: Call, sizes: Value, whole: Dim) -> Sequence[Dim]:
    """The sizes of the parts into which an axis is split."""
    known = np.array(1) if sizes is None else call.known(sizes, "the size of the parts")
    parts = call.dims(known, "the size of the parts")
    if known.ndim:
        if is_equal(sum(parts, 0), whole):
            return parts
        raise GraphError(f"parts of {format_shape(parts)} are no axis of {whole}")
    (each,) = parts
    if not isinstance(whole, int) or not isinstance(each, int):
        raise GraphError(f"how many parts of {each} an axis of {whole} has must be a number: fix the size of the axis")
    if each < 1:
        raise GraphError(f"an axis is not split into parts of {each}")
    count = checked_length(-(-whole // each))
    return [min(each, whole - each * i) for i in range(count)]


@converter("ConcatFromSequence", since=11, moves=(0,))
def concat_from_sequence(call: Call, sequence: Value) -> Value:
    tensors = call.tensors(*_items(sequence))
    if not tensors:
        raise GraphError("an empty sequence cannot be concatenated")
    join = shape.stack if call.attribute("new_axis", 0) else shape.concat
    return join(tensors, int(call.required("axis")))


@converter("SequenceMap", since=17)
def sequence_map(call: Call, sequence: Value, *others: Value) -> Sequence[Value]:
    """The results of a graph for each position of the sequences; other inputs are the same for all."""
    body: GraphDef = call.required("body")
    given, count = (_items(sequence), *others), len(_items(sequence))
    if any(isinstance(one, Items) and len(one) != count for one in given):
        raise GraphError(f"sequences of {', '.join(str(len(one)) for one in given if isinstance(one, Items))} values")
    rows = []
    for i in range(count):
        if not call.room.unroll(len(body.nodes)):
            raise GraphError(f"a sequence of {count} values becomes too many nodes")
        rows.append(call.run(body, [one[i] if isinstance(one, Items) else one for one in given]))
    columns = zip(*rows, strict=True) if rows else [()] * call.outputs
    return [Items(_one(call, value) for value in column) for column in columns]
