"""Operators that rearrange parts of tensors: reversed sequences, cropped images, chosen elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....errors import GraphError
from ....graph.assume import is_at_least
from ....graph.dims import Dim, exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops import indexing, shape
from ....graph.ops.bounds import clip
from ....graph.ops.composite import ge, logical_and, lt
from ....graph.ops.conv import ConvAttrs, ConvTransposeAttrs
from ....graph.ops.conv_axes import convolve_transposed
from ....graph.ops.elementwise import remainder, where
from ....graph.ops.pad import pad
from ....graph.ops.promotion import cast
from ....graph.ops.put import counted
from ..host import ELEMENT_TYPES, evaluated
from ..limits import checked
from ..model import Array, NodeDef
from ..registry import Call, Value, converter
from .shapes import axes_of


@converter("ReverseSequence")
def reverse_sequence(call: Call, x: Value, lengths: Value) -> AbstractTensor:
    """The first elements of each sequence, as many as its length, in reverse order."""
    values: AbstractTensor = call.tensor(x)
    count: AbstractTensor = cast(call.tensor(lengths), "int64")
    time, batch = call.attribute("time_axis", 0), call.attribute("batch_axis", 1)
    size, rank = values.type.shape[time], values.type.rank
    if {time, batch} != {0, 1}:
        raise GraphError(f"its axes are 0 and 1, got {time} and {batch}")
    place = shape.reshape(counted(values, size), (-1, 1) if time == 0 else (1, -1))
    count = shape.reshape(count, (1, -1) if time == 0 else (-1, 1))
    index = where(lt(place, count), count - 1 - place, place)
    spread = shape.reshape(index, (*index.type.shape, *[1] * (rank - 2)))
    return indexing.gather(values, time, shape.expand(spread, values.type.shape))


@converter("CenterCropPad", host=(1,))
def center_crop_pad(call: Call, x: Value, sizes: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    rank = values.type.rank
    axes = [axis % rank for axis in (axes_of(call, None) or range(rank))]
    amounts: list[list[Dim]] = [[0, 0] for _ in range(rank)]
    for axis, size in zip(axes, call.dims(sizes, "the sizes"), strict=True):
        more = size - values.type.shape[axis]
        before = more // 2 if is_at_least(more, 0, likely=True) else -(-more // 2)
        amounts[axis] = [before, more - before]
    return pad(values, [amount for both in reversed(amounts) for amount in both])


WINDOWS: dict[str, Callable[[Array], Array]] = {
    "HannWindow": lambda turn: 0.5 - 0.5 * np.cos(turn),
    "HammingWindow": lambda turn: 25 / 46 - 21 / 46 * np.cos(turn),
    "BlackmanWindow": lambda turn: 0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2 * turn),
}


@converter(*WINDOWS, since=17, host=(0,))
def window(call: Call, size: Value) -> Array:
    """The numbers of a window function, known when its size is."""
    count = int(call.scalar(size, "the size"))
    around = count if call.attribute("periodic", 1) else count - 1
    turn = 2 * np.pi * np.arange(*checked(count)) / max(around, 1)
    return WINDOWS[call.node.op](turn).astype(ELEMENT_TYPES[call.attribute("output_datatype", 1)])


@converter("TensorScatter", since=24)
def tensor_scatter(call: Call, cache: Value, update: Value, first: Value = None) -> AbstractTensor:
    """A cache with new values from a position on that each sample of the batch has for itself."""
    (before, new), start = call.tensors(cache, update), call.optional(first)
    rank, axis = before.type.rank, call.attribute("axis", -2) % before.type.rank
    size, count = before.type.shape[axis], new.type.shape[axis]
    if not isinstance(size, int) or not isinstance(count, int) or axis == 0:
        raise GraphError(f"a cache {before.type} and {new.type}, axis {axis}: the lengths must be numbers")
    if call.attribute("mode", "linear") not in ("linear", "circular"):
        raise GraphError(f"unknown mode {call.attribute('mode')!r}")
    place = before.constant(np.arange(size, dtype=np.int64).reshape(-1, *[1] * (rank - axis - 1)))
    if start is not None:
        place = place - shape.reshape(cast(start, "int64"), (-1, *[1] * (rank - 1)))
    if call.attribute("mode", "linear") == "circular":
        place = remainder(place, size)
    wanted = shape.expand(clip(place, 0, count - 1), before.type.shape)
    taken = indexing.gather(new, axis, wanted)
    return where(logical_and(ge(place, 0), lt(place, count)), taken, before)


@evaluated("MelWeightMatrix")
def mel_weights(node: NodeDef, bins: Array, length: Array, rate: Array, low: Array, high: Array) -> Array:
    """The weight of each frequency in each bin; bins are triangles at equal distances on the mel scale."""
    ends = 2595 * np.log10(1 + np.array([float(low), float(high)]) / 700)
    count, size = int(bins), int(length)
    mels = ends[0] + (ends[1] - ends[0]) / (count + 2) * np.arange(count + 2)
    places = ((size + 1) * (700 * (10 ** (mels / 2595) - 1)) // int(rate)).astype(int)
    made = np.zeros(checked(size // 2 + 1, count))
    for i, (first, middle, last) in enumerate(zip(places, places[1:], places[2:], strict=False)):
        made[first : middle + 1, i] = np.linspace(0, 1, middle - first + 1) if middle > first else 1
        made[middle:last, i] = np.linspace(1, 0, last - middle, endpoint=False)
    return made.astype(ELEMENT_TYPES[node.attributes.get("output_datatype", 1)])


@converter("MelWeightMatrix", since=17, host=(0, 1, 2, 3, 4))
def mel_weight_matrix(call: Call, *inputs: Value) -> Array:
    numbers = [call.known(one, "what the weights are made of") for one in inputs]
    return mel_weights(call.node, *(np.reshape(one, ()) for one in numbers))


@converter("Col2Im", since=18, host=(1, 2))
def col2im(call: Call, x: Value, image: Value, block: Value) -> AbstractTensor:
    """A transposed convolution in which each channel puts one element of a block in its place."""
    columns: AbstractTensor = call.tensor(x)
    sizes, kernel = call.ints(image, "the image's shape"), call.ints(block, "the block's shape")
    axes, taps = len(kernel), math.prod(kernel)
    stride, dilation = (tuple(call.attribute(name, (1,) * axes)) for name in ("strides", "dilations"))
    pads = tuple(call.attribute("pads", (0,) * 2 * axes))
    reach = [size + pads[i] + pads[i + axes] - dilation[i] * (kernel[i] - 1) - 1 for i, size in enumerate(sizes)]
    counts = [more // step + 1 for more, step in zip(reach, stride, strict=True)]
    channels = exact_quotient(columns.type.shape[1], taps)
    if not isinstance(channels, int):
        raise GraphError(f"blocks of {kernel} do not divide the channels of {columns.type}")
    weight = np.tile(np.eye(taps, dtype=columns.type.dtype).reshape(taps, 1, *kernel), (channels, 1, *(1,) * axes))
    attrs = ConvTransposeAttrs(
        ConvAttrs(stride, pads, dilation, channels),
        tuple(more % step for more, step in zip(reach, stride, strict=True)),
    )
    pixels = shape.reshape(columns, (*columns.type.shape[:2], *counts))
    return convolve_transposed(attrs, pixels, columns.constant(weight))
