"""Operators that put parts of tensors elsewhere: sequences turned around, images cropped, elements chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops import indexing, shape
from ....graph.ops.composite import lt
from ....graph.ops.elementwise import where
from ....graph.ops.pad import pad
from ....graph.ops.promotion import cast
from ..host import ELEMENT_TYPES
from ..model import Array
from ..registry import Call, Value, converter, is_host
from .shapes import axes_of


@converter("ReverseSequence")
def reverse_sequence(call: Call, x: Value, lengths: Value) -> AbstractTensor:
    """The first so many elements of each sequence in the opposite order."""
    values: AbstractTensor = call.tensor(x)
    count: AbstractTensor = cast(call.tensor(lengths), "int64")
    time, batch = call.attribute("time_axis", 0), call.attribute("batch_axis", 1)
    size, rank = values.type.shape[time], values.type.rank
    if {time, batch} != {0, 1}:
        raise GraphError(f"its axes are 0 and 1, got {time} and {batch}")
    if not isinstance(size, int):
        raise GraphError("a sequence whose length is symbolic: give the model fixed shapes")
    place = values.constant(np.arange(size, dtype=np.int64).reshape(-1, 1) if time == 0 else np.arange(size)[None])
    count = shape.reshape(count, (1, -1) if time == 0 else (-1, 1))
    index = where(lt(place, count), count - 1 - place, place)
    spread = shape.reshape(index, (*index.type.shape, *[1] * (rank - 2)))
    return indexing.gather(values, time, shape.expand(spread, values.type.shape))


@converter("CenterCropPad", host=(1,))
def center_crop_pad(call: Call, x: Value, sizes: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    rank = values.type.rank
    axes = [axis % rank for axis in (axes_of(call, None) or range(rank))]
    amounts = [[0, 0] for _ in range(rank)]
    for axis, size in zip(axes, call.ints(sizes, "the sizes"), strict=True):
        more = size - values.type.shape[axis]
        if not isinstance(more, int):
            raise GraphError("the middle of an axis whose size is symbolic: give the model fixed shapes")
        before = more // 2 if more > 0 else -(-more // 2)
        amounts[axis] = [before, more - before]
    return pad(values, [amount for both in reversed(amounts) for amount in both])


@converter("Compress", host=(1,))
def compress(call: Call, x: Value, condition: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    if not is_host(condition):
        raise GraphError("the condition must be known when the model is built: the result's shape depends on it")
    chosen = values.constant(np.flatnonzero(condition))
    axis = call.attribute("axis")
    return indexing.index_select(shape.flatten(values) if axis is None else values, axis or 0, chosen)


WINDOWS: dict[str, Callable[[Array], Array]] = {
    "HannWindow": lambda turn: 0.5 - 0.5 * np.cos(turn),
    "HammingWindow": lambda turn: 25 / 46 - 21 / 46 * np.cos(turn),
    "BlackmanWindow": lambda turn: 0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2 * turn),
}


@converter(*WINDOWS, since=17, host=(0,))
def window(call: Call, size: Value) -> Array:
    """The numbers of a window, which are known when its size is."""
    count = int(call.scalar(size, "the size"))
    around = count if call.attribute("periodic", 1) else count - 1
    turn = 2 * np.pi * np.arange(count) / max(around, 1)
    return WINDOWS[call.node.op](turn).astype(ELEMENT_TYPES[call.attribute("output_datatype", 1)])
