"""Ops that make, move and join elements without computing."""

from __future__ import annotations

import numpy as np

from .....graph.dims import Dim, SymDim
from .....graph.opdef import AbstractTensor, apply
from .....graph.ops.indexing import INDEX_ADD, IndexAddAttrs
from .....graph.ops.pad import PAD, PadAttrs
from .....graph.ops.put import counted
from .....graph.ops.shape import (
    CONCAT,
    EXPAND,
    OVERWRITTEN,
    RESHAPE,
    STOP_GRADIENT,
    TRANSPOSE,
    AxisAttrs,
    ShapeAttrs,
    TransposeAttrs,
)
from .....graph.ops.slices import SLICE, SLICE_GRAD, SliceAttrs, SliceGradAttrs
from .....graph.ops.source import CONSTANT, FULL, ConstantAttrs, FullAttrs
from .....graph.ops.source import full as full_of
from .....graph.types import int64
from ..draft import Item
from ..registry import Use, writer
from ..sizes import reshaped

LAST = np.iinfo(np.int64).max
"""An end beyond all elements."""

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@writer(CONSTANT)
def constant(use: Use[ConstantAttrs]) -> Item:
    return use.draft.constant(use.attrs.value.array, f"{use.scope}/constant")


@writer(FULL)
def full(use: Use[FullAttrs]) -> Item:
    value, dtype, shape = use.attrs.value, use.attrs.dtype, use.attrs.shape
    if isinstance(value, SymDim):
        number = use.cast(use.size(value), dtype)
        return use.emit("Expand", number, use.shape(shape)) if shape else number
    if not shape:
        return use.number(value, dtype)
    return use.emit("ConstantOfShape", use.shape(shape), dtype=dtype, value=np.array([value], dtype))


@writer(RESHAPE)
def reshape(use: Use[ShapeAttrs]) -> Item:
    (x,), new = use.inputs, use.attrs.shape
    plain = reshaped(use.types[0].shape, new)
    return use.reshape(x, new) if plain is None else use.emit("Reshape", x, use.array(plain))


@writer(TRANSPOSE)
def transpose(use: Use[TransposeAttrs]) -> Item:
    return use.emit("Transpose", *use.inputs, perm=list(use.attrs.perm)) if use.attrs.perm else use.inputs[0]


@writer(EXPAND)
def expand(use: Use[ShapeAttrs]) -> Item:
    return use.emit("Expand", *use.inputs, use.shape(use.attrs.shape))


@writer(CONCAT)
def concat(use: Use[AxisAttrs]) -> Item:
    return use.emit("Concat", *use.inputs, axis=use.attrs.axis)


@writer(STOP_GRADIENT, OVERWRITTEN)
def value(use: Use) -> Item:
    """Ops that differ from their first input in the gradient only."""
    return use.inputs[0]


@writer(SLICE)
def slice_(use: Use[SliceAttrs]) -> Item:
    (x,), a = use.inputs, use.attrs
    shape = use.types[0].shape
    ends = [_end(*one) for one in zip(a.starts, a.sizes, a.steps, shape, strict=True)]
    axes = [i for i, dim in enumerate(shape) if a.sizes[i] != dim or a.starts[i] != 0 or a.steps[i] != 1]
    if not axes:
        return x
    starts, stops = (use.shape([side[i] for i in axes]) for side in (a.starts, ends))
    steps = [a.steps[i] for i in axes]
    more = () if set(steps) == {1} else (use.array(steps),)
    return use.emit("Slice", x, starts, stops, use.array(axes), *more)


def _end(start: Dim, size: Dim, step: int, dim: Dim) -> Dim:
    """The end of a slice; at the end of an axis, independent of its size.

    Backwards it counts from the end, as -1, the position before the first element, would mean the last one.
    """
    end = start + size * step
    if step > 0:
        return LAST if end == dim and size != 0 else end
    if isinstance(end, int):
        return end if end >= 0 else -LAST
    return end - step - 1 - dim


@writer(SLICE_GRAD)
def slice_grad(use: Use[SliceGradAttrs]) -> Item:
    (dy,), a = use.inputs, use.attrs
    if set(a.steps) - {1}:
        return use.inline(lambda y: _put_back(a, y))[0]
    after = [dim - size - start for start, size, dim in zip(a.starts, a.sizes, a.shape, strict=True)]
    return use.emit("Pad", dy, use.shape([*a.starts, *after]), use.number(0)) if a.shape else dy


def _put_back(a: SliceGradAttrs, dy: AbstractTensor) -> AbstractTensor:
    """Axis by axis, add each element to zeros at its position."""
    for axis, (start, size, step) in enumerate(zip(a.starts, a.sizes, a.steps, strict=True)):
        shape = (*a.shape[: axis + 1], *dy.type.shape[axis + 1 :])
        places = counted(dy, size) * step + full_of(dy, start, (), int64)
        dy = apply(INDEX_ADD, IndexAddAttrs((axis,), shape), dy, places)
    return dy


@writer(PAD)
def pad(use: Use[PadAttrs]) -> Item:
    (x,), a = use.inputs, use.attrs
    if not a.before:
        return x
    if a.mode == "circular":
        use.need(19, "the mode circular")
    amounts = use.shape([*a.before, *a.after])
    value = (use.number(a.value),) if a.mode == "constant" else ()
    return use.emit("Pad", x, amounts, *value, mode=MODES[a.mode])
