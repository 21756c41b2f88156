"""Indexing ops, element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import SupportsInt

import numpy as np

from ..base.arrays import Array
from ..errors import ShapeError
from ..graph.ops import indexing as ops
from ..graph.ops.indexing import (
    EmbeddingAttrs,
    EmbeddingGradAttrs,
    IndexAddAttrs,
    IndexAttrs,
    OneHotAttrs,
    ScatterAttrs,
)
from ..graph.ops.put import PUT, PutAttrs
from ..graph.ops.shape import AxisAttrs
from ..graph.ops.slices import SLICE, SLICE_GRAD, SliceAttrs, SliceGradAttrs
from ..graph.types import TensorType
from .evaluator import known, reference

Place = tuple[int, ...]


def _checked(index: SupportsInt, size: int, *, wrap: bool = False) -> int:
    i = int(index)
    if not (-size if wrap else 0) <= i < size:
        raise ShapeError(f"index {i} is out of range for size {size}")
    return i % size


def _sliced(attrs: SliceAttrs) -> Iterator[tuple[Place, Place]]:
    """Pairs of an index in the slice, and the index of the same element in the whole array."""
    starts = known(attrs.starts)
    for place in np.ndindex(*known(attrs.sizes)):
        yield place, tuple(s + i * step for s, i, step in zip(starts, place, attrs.steps, strict=True))


@reference(SLICE)
def slice_(attrs: SliceAttrs, x: Array) -> Array:
    y = np.empty(known(attrs.sizes), x.dtype)
    for target, source in _sliced(attrs):
        y[target] = x[source]
    return y


@reference(SLICE_GRAD)
def slice_grad(attrs: SliceGradAttrs, dy: Array) -> Array:
    dx = np.zeros(known(attrs.shape), dy.dtype)
    for source, target in _sliced(attrs):
        dx[target] += dy[source]
    return dx


@reference(ops.GATHER_ELEMENTS)
def gather_elements(attrs: AxisAttrs, x: Array, index: Array) -> Array:
    axis, y = attrs.axis, np.empty(index.shape, x.dtype)
    for place, i in np.ndenumerate(index):
        y[place] = x[(*place[:axis], _checked(i, x.shape[axis]), *place[axis + 1 :])]
    return y


@reference(ops.SCATTER_ELEMENTS)
def scatter_elements(attrs: ScatterAttrs, values: Array, index: Array) -> Array:
    axis, y = attrs.axis, np.zeros(known(attrs.shape), values.dtype)
    for place, i in np.ndenumerate(index):
        y[(*place[:axis], _checked(i, y.shape[axis]), *place[axis + 1 :])] += values[place]
    return y


def _looked_up(axes: tuple[int, ...], shape: Place, indices: tuple[Array, ...]) -> Iterator[tuple[Place, Place]]:
    """Pairs of an index in the result, and one in the data of ``shape``.

    The axes of the indices replace the first of ``axes`` if these are adjacent; otherwise they come first.
    """
    together = axes[-1] - axes[0] == len(axes) - 1
    spread = np.broadcast_arrays(*indices)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    at = axes[0] if together else 0
    for found in np.ndindex(spread[0].shape):
        chosen = {a: _checked(i[found], shape[a], wrap=True) for a, i in zip(axes, spread, strict=True)}
        for rest in np.ndindex(*(shape[axis] for axis in kept)):
            free = dict(zip(kept, rest, strict=True))
            yield (*rest[:at], *found, *rest[at:]), tuple(chosen.get(a, free.get(a, 0)) for a in range(len(shape)))


@reference(ops.INDEX)
def index(attrs: IndexAttrs, x: Array, *indices: Array) -> Array:
    types = [TensorType(i.shape, i.dtype) for i in indices]
    shape = ops.indexed_shape("Index", attrs.axes, x.shape, types)
    y = np.empty(TensorType(shape, x.dtype).concrete, x.dtype)
    for target, source in _looked_up(attrs.axes, x.shape, indices):
        y[target] = x[source]
    return y


@reference(ops.INDEX_ADD)
def index_add(attrs: IndexAddAttrs, values: Array, *indices: Array) -> Array:
    y = np.zeros(known(attrs.shape), values.dtype)
    for source, target in _looked_up(attrs.axes, y.shape, indices):
        y[target] += values[source]
    return y


@reference(ops.EMBEDDING)
def embedding(attrs: EmbeddingAttrs, weight: Array, indices: Array) -> Array:
    y = np.empty((*indices.shape, weight.shape[1]), weight.dtype)
    for place, i in np.ndenumerate(indices):
        y[place] = weight[_checked(i, len(weight))]
    return y


@reference(ops.EMBEDDING_GRAD)
def embedding_grad(attrs: EmbeddingGradAttrs, dy: Array, indices: Array) -> Array:
    (rows,) = known((attrs.rows,))
    dweight = np.zeros((rows, dy.shape[-1]), dy.dtype)
    for place, i in np.ndenumerate(indices):
        row = _checked(i, rows)
        if row != attrs.padding:
            dweight[row] += dy[place]
    return dweight


@reference(ops.ONE_HOT)
def one_hot(attrs: OneHotAttrs, indices: Array) -> Array:
    (classes,) = known((attrs.classes,))
    y = np.zeros((*indices.shape, classes), attrs.dtype)
    for place, i in np.ndenumerate(indices):
        y[(*place, _checked(i, classes))] = 1
    return y


_TOGETHER: Mapping[str, Callable[..., object]] = {
    "set": lambda there, value: value, "mul": lambda there, value: there * value, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


@reference(PUT)
def put(attrs: PutAttrs, x: Array, values: Array, *indices: Array) -> Array:
    y = x.copy()
    for source, target in _looked_up(attrs.axes, y.shape, indices):
        y[target] = _TOGETHER[attrs.how](y[target], values[source])
    return y
