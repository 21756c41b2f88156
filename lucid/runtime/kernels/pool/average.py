"""Average pooling as sums over rows, then over columns; adaptive pooling likewise, with windows of varying size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ....base.arrays import Array
from ....graph.ops.avgpool import (
    ADAPTIVE_ARG_MAX,
    ADAPTIVE_AVG_POOL,
    ADAPTIVE_AVG_POOL_GRAD,
    AVG_POOL,
    AVG_POOL_GRAD,
    AvgPoolAttrs,
)
from ....graph.types import DType
from ....graph.windows import Axis, axes_of
from ...planning.registry import kernel
from ...program.emitter import Emitter
from ..shared.cut import deal, per_block
from ..shared.loop import BlockLoop, bind, recheck
from ..shared.pooling_views import At, tap_parts
from .average_views import bind_divisions, bind_means, bind_spread, windows_arg_max
from .max import blocks_of, reduce_windows


def _axes(a: AvgPoolAttrs, image: Sequence[int], counts: Sequence[int]) -> tuple[Axis, Axis]:
    rows, cols = axes_of(image, a.kernel, a.stride, a.padding, (1, 1), counts)
    return rows, cols


def _divisors(a: AvgPoolAttrs, rows: Axis, cols: Axis, dtype: DType) -> Array:
    """The divisor of each sum: a number, or an array (rows, columns)."""
    if a.divisor_override is not None:
        return np.array(a.divisor_override, dtype)
    counts = []
    for axis in (rows, cols):
        windows = range(axis.count)
        counts.append([axis.there(o) if a.count_include_pad else axis.inside(o).number for o in windows])
    table = np.multiply.outer(*counts).astype(dtype)
    return table.ravel()[0].reshape(()) if (table == table.ravel()[0]).all() else table


@kernel(AVG_POOL)
def avg_pool(k: Emitter) -> None:
    recheck(k)
    (x,), (y,), a = k.ins, k.outs, k.attrs
    axes = _axes(a, x.shape, y.shape[2:])
    work = deal(blocks_of(x.type, *axes), k.threads)
    if not work:
        return
    loop = BlockLoop(k, work)
    reduce_windows(loop, "np.add", axes, np.zeros((), x.dtype))
    parts = k.use(per_block(lambda b: (b.images, b.channels, b.rows), loop.work), f"{k.name}_parts")
    divisions = loop.bind("outputs", bind_divisions, parts, y, _divisors(a, *axes, x.dtype))
    whole, count = loop.over(divisions, "whole", "count")
    loop.line(f"np.divide({whole}, {count}, out={whole})")
    loop.emit()


@kernel(AVG_POOL_GRAD)
def avg_pool_grad(k: Emitter) -> None:
    """Add each window's share of its gradient to all its elements."""
    recheck(k)
    (dy,), (dx,), a = k.ins, k.outs, k.attrs.pool
    axes = _axes(a, dx.shape, dy.shape[2:])
    _spread(k, [(source, at) for _, source, at in tap_parts(*axes)], _divisors(a, *axes, dy.dtype))


def _spread(k: Emitter, parts: list[tuple[At, At]], divisor: Array) -> None:
    """Write lines that divide the upstream gradient, and add parts of the quotients to parts of the result."""
    (dy,), (dx,) = k.ins, k.outs
    share = k.scratch(dy.shape, dy.dtype, "share", dx.type.order)
    k.line(f"np.divide({dy}, {k.use(divisor, f'{k.name}_divisor')}, out={share})")
    k.line(f"{dx}.fill(0)")
    views = bind(k, "taps", bind_spread, k.use(parts, f"{k.name}_slices"), dx, share)
    a, b = k.names.fresh("target"), k.names.fresh("part")
    k.line(f"for {a}, {b} in {views}:\n    np.add({a}, {b}, out={a})")


def _spans(size: int, count: int) -> list[slice]:
    """Adaptive windows: from floor(i size / count) to ceil((i + 1) size / count)."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


@kernel(ADAPTIVE_AVG_POOL)
def adaptive_avg_pool(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    n, c, height, width = x.shape
    held = k.scratch((n, c, y.shape[2], width), x.dtype, "rows", x.type.order)
    down: list[At] = [(..., span, slice(None)) for span in _spans(height, y.shape[2])]
    right: list[At] = [(..., span) for span in _spans(width, y.shape[3])]
    for axis, source, target, spans in ((2, x, held, down), (3, held, y, right)):
        views = bind(k, "means", bind_means, k.use(spans, f"{k.name}_spans"), source, target, axis)
        a, b = k.names.fresh("span"), k.names.fresh("mean")
        k.line(f"for {a}, {b} in {views}:\n    np.mean({a}, axis={axis}, out={b})")


@kernel(ADAPTIVE_AVG_POOL_GRAD)
def adaptive_avg_pool_grad(k: Emitter) -> None:
    (dy,), (dx,) = k.ins, k.outs
    rows, cols = _spans(dx.shape[2], dy.shape[2]), _spans(dx.shape[3], dy.shape[3])
    counts = np.multiply.outer([s.stop - s.start for s in rows], [s.stop - s.start for s in cols]).astype(dy.dtype)
    parts: list[tuple[At, At]] = [
        ((..., down, right), (..., slice(i, i + 1), slice(j, j + 1)))
        for i, down in enumerate(rows)
        for j, right in enumerate(cols)
    ]
    _spread(k, parts, counts)


@kernel(ADAPTIVE_ARG_MAX)
def adaptive_arg_max(k: Emitter) -> None:
    (x,), (index,) = k.ins, k.outs
    rows, cols = _spans(x.shape[2], index.shape[2]), _spans(x.shape[3], index.shape[3])
    windows = k.use(list(product(rows, cols)), f"{k.name}_windows")
    k.line(f"{k.use(windows_arg_max)}({windows}, {x}, {index})")
