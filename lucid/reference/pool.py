"""Poolings, one window after another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..base.arrays import Array
from ..graph.ops.avgpool import (
    ADAPTIVE_ARG_MAX,
    ADAPTIVE_AVG_POOL,
    ADAPTIVE_AVG_POOL_GRAD,
    AVG_POOL,
    AVG_POOL_GRAD,
    AdaptiveAttrs,
    AdaptiveGradAttrs,
    AvgPoolAttrs,
    AvgPoolGradAttrs,
)
from ..graph.ops.pool import (
    MAX_POOL,
    MAX_POOL_GATHER,
    MAX_POOL_GRAD,
    MAX_POOL_POSITIONS,
    MaxPoolAttrs,
    MaxPoolGradAttrs,
    index_dtype,
    pad_constant,
)
from ..graph.windows import windows_of
from .evaluator import known, reference


def _counts(a: MaxPoolAttrs | AvgPoolAttrs, shape: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    windows = windows_of(a.kernel, a.stride, a.padding, dilation)
    return known(w.fit(size, a.ceil_mode) for w, size in zip(windows, shape[2:], strict=True))


def _elements(a: MaxPoolAttrs, row: int, col: int) -> Iterator[tuple[int, int, int]]:
    """Code, row and column of each element of a window."""
    code = 0
    for i in range(a.kernel[0]):
        for j in range(a.kernel[1]):
            yield (
                code,
                row * a.stride[0] - a.padding[0] + i * a.dilation[0],
                col * a.stride[1] - a.padding[1] + j * a.dilation[1],
            )
            code += 1


@reference(MAX_POOL)
def max_pool(a: MaxPoolAttrs, x: Array) -> tuple[Array, Array]:
    height, width = x.shape[2:]
    rows, cols = _counts(a, x.shape, a.dilation)
    y = np.empty((*x.shape[:2], rows, cols), x.dtype)
    index = np.empty(y.shape, index_dtype(a.kernel))
    for n, c, r, q in np.ndindex(y.shape):
        best, winner = None, 0
        padding = False
        for code, i, j in _elements(a, r, q):
            if 0 <= i < height and 0 <= j < width:
                value = x[n, c, i, j]
                if best is None or value > best or (value != value and best == best):
                    best, winner = value, code
            elif i < height + a.padding[2] and j < width + a.padding[3]:
                padding = True
        if padding and (best is None or pad_constant(a.pad_value, x.dtype) > best):
            best, winner = pad_constant(a.pad_value, x.dtype), a.kernel[0] * a.kernel[1]
        y[n, c, r, q], index[n, c, r, q] = best, winner
    return y, index


def _winner(a: MaxPoolAttrs, index: Array, at: tuple[int, ...]) -> tuple[int, int] | None:
    for code, i, j in _elements(a, at[2], at[3]):
        if code == index[at]:
            return i, j
    return None


@reference(MAX_POOL_GRAD)
def max_pool_grad(a: MaxPoolGradAttrs, dy: Array, index: Array) -> Array:
    dx = np.zeros((*dy.shape[:2], *known(a.size)), dy.dtype)
    for at in np.ndindex(dy.shape):
        place = _winner(a.pool, index, at)
        if place is not None:
            dx[(*at[:2], *place)] += dy[at]
    return dx


@reference(MAX_POOL_GATHER)
def max_pool_gather(a: MaxPoolGradAttrs, x: Array, index: Array) -> Array:
    y = np.zeros(index.shape, x.dtype)
    for at in np.ndindex(y.shape):
        place = _winner(a.pool, index, at)
        if place is not None:
            y[at] = x[(*at[:2], *place)]
    return y


@reference(MAX_POOL_POSITIONS)
def max_pool_positions(a: MaxPoolGradAttrs, index: Array) -> Array:
    y, (_, width) = np.empty(index.shape, np.int64), known(a.size)
    for at in np.ndindex(y.shape):
        place = _winner(a.pool, index, at)
        y[at] = -1 if place is None else place[0] * width + place[1]
    return y


def _average(a: AvgPoolAttrs, height: int, width: int, r: int, q: int) -> tuple[list[tuple[int, int]], int]:
    """The elements of a window, and what to divide their sum by."""
    top, left = r * a.stride[0] - a.padding[0], q * a.stride[1] - a.padding[1]
    every = [(top + i, left + j) for i in range(a.kernel[0]) for j in range(a.kernel[1])]
    real = [(i, j) for i, j in every if 0 <= i < height and 0 <= j < width]
    there = [(i, j) for i, j in every if i < height + a.padding[2] and j < width + a.padding[3]]
    return real, a.divisor_override or len(there if a.count_include_pad else real)


@reference(AVG_POOL)
def avg_pool(a: AvgPoolAttrs, x: Array) -> Array:
    y = np.empty((*x.shape[:2], *_counts(a, x.shape, (1, 1))))
    for r, q in np.ndindex(y.shape[2:]):
        real, divisor = _average(a, x.shape[2], x.shape[3], r, q)
        y[:, :, r, q] = sum(x[:, :, i, j].astype(np.float64) for i, j in real) / divisor
    return y


@reference(AVG_POOL_GRAD)
def avg_pool_grad(a: AvgPoolGradAttrs, dy: Array) -> Array:
    dx = np.zeros((*dy.shape[:2], *known(a.size)))
    for r, q in np.ndindex(dy.shape[2:]):
        real, divisor = _average(a.pool, dx.shape[2], dx.shape[3], r, q)
        for i, j in real:
            dx[:, :, i, j] += dy[:, :, r, q] / divisor
    return dx


def _adaptive(size: int, count: int, index: int) -> slice:
    return slice(index * size // count, -(-(index + 1) * size // count))


@reference(ADAPTIVE_AVG_POOL)
def adaptive_avg_pool(a: AdaptiveAttrs, x: Array) -> Array:
    height, width = known(a.size)
    y = np.empty((*x.shape[:2], height, width))
    for r, q in np.ndindex(y.shape[2:]):
        part = x[:, :, _adaptive(x.shape[2], height, r), _adaptive(x.shape[3], width, q)]
        y[:, :, r, q] = part.astype(np.float64).mean((2, 3))
    return y


@reference(ADAPTIVE_AVG_POOL_GRAD)
def adaptive_avg_pool_grad(a: AdaptiveGradAttrs, dy: Array) -> Array:
    height, width = known(a.size)
    dx = np.zeros((*dy.shape[:2], height, width))
    for r, q in np.ndindex(dy.shape[2:]):
        part = dx[:, :, _adaptive(height, dy.shape[2], r), _adaptive(width, dy.shape[3], q)]
        part += (dy[:, :, r, q] / (part.shape[2] * part.shape[3]))[:, :, None, None]
    return dx


@reference(ADAPTIVE_ARG_MAX)
def adaptive_arg_max(a: AdaptiveAttrs, x: Array) -> Array:
    height, width = known(a.size)
    index = np.empty((*x.shape[:2], height, width), np.int64)
    for n, c, r, q in np.ndindex(index.shape):
        rows, cols = _adaptive(x.shape[2], height, r), _adaptive(x.shape[3], width, q)
        i, j = np.unravel_index(np.argmax(x[n, c, rows, cols]), (rows.stop - rows.start, cols.stop - cols.start))
        index[n, c, r, q] = (rows.start + i) * x.shape[3] + cols.start + j
    return index
