"""Reductions, one lane of elements at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base.arrays import Array
from ..graph.ops import reduce
from ..graph.ops.reduce import ArgAttrs, CumSumAttrs, ReduceAttrs
from ..graph.ops.shape import AxisAttrs
from .elementwise import wide
from .evaluator import reference


def _lanes(x: Array, axes: tuple[int, ...]) -> Array:
    """``x`` as a matrix: one row for each element of the result, the reduced axes along it."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    rows = math.prod(x.shape[axis] for axis in kept)
    columns = math.prod(x.shape[axis] for axis in axes)
    return x.transpose(*kept, *axes).reshape(rows, columns)


def _reduce(x: Array, axes: tuple[int, ...], keepdims: bool, one: Callable[[Array], Any], dtype: Any) -> Array:
    shape = [d for i, d in enumerate(x.shape) if i not in axes]
    if keepdims:
        shape = [1 if i in axes else d for i, d in enumerate(x.shape)]
    return np.array([one(lane) for lane in _lanes(x, axes)], dtype).reshape(shape)


def _sum(lane: Array) -> Any:
    total = lane.dtype.type(0)
    for element in lane:
        total = total + element
    return total


def _largest(lane: Array) -> object:
    return next((v for v in lane if v != v), max(lane))


def _smallest(lane: Array) -> object:
    return next((v for v in lane if v != v), min(lane))


@reference(reduce.SUM)
def sum_(attrs: ReduceAttrs, x: Array) -> Array:
    x = wide(x)
    return _reduce(x, attrs.axes, attrs.keepdims, _sum, x.dtype)


def _product(lane: Array) -> object:
    total = lane.dtype.type(1)
    for element in lane:
        total = total * element
    return total


@reference(reduce.PROD)
def prod(attrs: ReduceAttrs, x: Array) -> Array:
    x = wide(x)
    return _reduce(x, attrs.axes, attrs.keepdims, _product, x.dtype)


@reference(reduce.PRODUCT_OF_OTHERS)
def product_of_others(attrs: AxisAttrs, x: Array) -> Array:
    source = np.moveaxis(wide(x), attrs.axis, -1)
    result = np.empty_like(source)
    for i in range(source.shape[-1]):
        others = np.delete(source, i, -1)
        result[..., i] = _reduce(others, (others.ndim - 1,), False, _product, others.dtype)
    return np.moveaxis(result, -1, attrs.axis)


@reference(reduce.MEAN)
def mean(attrs: ReduceAttrs, x: Array) -> Array:
    return _reduce(wide(x), attrs.axes, attrs.keepdims, lambda v: _sum(v) / np.float64(len(v)), np.float64)


@reference(reduce.MAX)
def max_(attrs: ReduceAttrs, x: Array) -> Array:
    return _reduce(x, attrs.axes, attrs.keepdims, _largest, x.dtype)


@reference(reduce.MIN)
def min_(attrs: ReduceAttrs, x: Array) -> Array:
    return _reduce(x, attrs.axes, attrs.keepdims, _smallest, x.dtype)


def _position(best: Callable[[Array], object]) -> Callable[[Array], int]:
    def find(lane: Array) -> int:
        wanted = best(lane)
        return next(i for i, v in enumerate(lane) if v == wanted or (v != v and wanted != wanted))

    return find


@reference(reduce.ARGMAX)
def argmax(attrs: ArgAttrs, x: Array) -> Array:
    return _reduce(x, (attrs.axis,), attrs.keepdims, _position(_largest), np.int64)


@reference(reduce.ARGMIN)
def argmin(attrs: ArgAttrs, x: Array) -> Array:
    return _reduce(x, (attrs.axis,), attrs.keepdims, _position(_smallest), np.int64)


@reference(reduce.CUMSUM)
def cumsum(attrs: CumSumAttrs, x: Array) -> Array:
    source = np.moveaxis(wide(x), attrs.axis, 0)
    result = np.empty_like(source)
    total = np.zeros(source.shape[1:], source.dtype)
    steps = range(len(source))
    for i in reversed(steps) if attrs.reverse else steps:
        total = total + source[i]
        result[i] = total
    return np.moveaxis(result, 0, attrs.axis)


@reference(reduce.LOG_SUM_EXP)
def log_sum_exp(attrs: ReduceAttrs, x: Array) -> Array:
    def one(lane: Array) -> Any:
        top = max(lane, default=0.0)
        shift = top if math.isfinite(top) else 0.0
        return np.log(_sum(np.exp(lane - shift))) + shift

    return _reduce(wide(x), attrs.axes, attrs.keepdims, one, np.float64)
