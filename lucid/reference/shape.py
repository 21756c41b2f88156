"""Shape ops, element by element."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.opdef import Attrs
from ..graph.ops import shape
from ..graph.ops.shape import AxisAttrs, ShapeAttrs, TransposeAttrs
from .evaluator import known, reference


@reference(shape.RESHAPE)
def reshape(attrs: ShapeAttrs, x: Array) -> Array:
    y = np.empty(known(attrs.shape), x.dtype)
    for target, source in zip(np.ndindex(y.shape), np.ndindex(x.shape), strict=True):
        y[target] = x[source]
    return y


@reference(shape.TRANSPOSE)
def transpose(attrs: TransposeAttrs, x: Array) -> Array:
    y = np.empty([x.shape[axis] for axis in attrs.perm], x.dtype)
    for place, value in np.ndenumerate(x):
        y[tuple(place[axis] for axis in attrs.perm)] = value
    return y


@reference(shape.EXPAND)
def expand(attrs: ShapeAttrs, x: Array) -> Array:
    y = np.empty(known(attrs.shape), x.dtype)
    lead = y.ndim - x.ndim
    for place in np.ndindex(y.shape):
        y[place] = x[tuple(0 if size == 1 else i for size, i in zip(x.shape, place[lead:], strict=True))]
    return y


@reference(shape.CONCAT)
def concat(attrs: AxisAttrs, *inputs: Array) -> Array:
    first, axis = inputs[0], attrs.axis
    total = sum(x.shape[axis] for x in inputs)
    y = np.empty((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)
    start = 0
    for x in inputs:
        for place, value in np.ndenumerate(x):
            y[(*place[:axis], place[axis] + start, *place[axis + 1 :])] = value
        start += x.shape[axis]
    return y


@reference(shape.STOP_GRADIENT)
def stop_gradient(attrs: Attrs, x: Array) -> Array:
    return x.copy()


@reference(shape.OVERWRITTEN)
def overwritten(attrs: Attrs, value: Array, x: Array) -> Array:
    return value.copy()
