"""Average pooling as sums over rows, then columns; adaptive pooling the same with windows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....graph.ops.avgpool import (
    ADAPTIVE_ARG_MAX,
    ADAPTIVE_AVG_POOL,
    ADAPTIVE_AVG_POOL_GRAD,
    AVG_POOL,
    AVG_POOL_GRAD,
    AvgPoolAttrs,
)
from ....graph.windows import Axis, axes_of
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ..shared.windows import bind, channels_last, deal, image_blocks, image_scratch, over_blocks, recheck
from .max import bind_steps, window_steps

BLOCK_BYTES = 1 << 19


def _axes(a: AvgPoolAttrs, image: Sequence[int], counts: Sequence[int]) -> tuple[Axis, Axis]:
    rows, cols = axes_of(image, a.kernel, a.stride, a.padding, (1, 1), counts)
    return rows, cols


def _divisors(a: AvgPoolAttrs, rows: Axis, cols: Axis, dtype: Any) -> Any:
    """What each sum is divided by: a number, or an array (rows, columns)."""
    if a.divisor_override is not None:
        return np.array(a.divisor_override, dtype)
    counts = []
    for axis in (rows, cols):
        start = np.arange(axis.count) * axis.stride - axis.before
        end = np.minimum(start + axis.kernel, axis.size + axis.after)
        if not a.count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, axis.size)
        counts.append(end - start)
    table = np.multiply.outer(*counts).astype(dtype)
    return table.ravel()[0].reshape(()) if (table == table.ravel()[0]).all() else table


@kernel(AVG_POOL)
def avg_pool(k: Emitter) -> None:
    recheck(k)
    (x,), (y,), a = k.ins, k.outs, k.attrs
    rows, cols = _axes(a, x.shape, y.shape[2:])
    last = channels_last(x)
    per_row = x.dtype.itemsize * rows.size * cols.size // rows.count + 1
    blocks = image_blocks(x.shape[0], x.shape[1], rows.count, per_row, BLOCK_BYTES, last)
    work = deal(blocks, k.threads)
    if not work:
        return
    divisor = _divisors(a, rows, cols, x.dtype)
    size = (
        max(b.n1 - b.n0 for b in blocks), max(b.c1 - b.c0 for b in blocks), max(b.r1 - b.r0 for b in blocks), cols.size,
    )  # fmt: skip
    held = [image_scratch(k, size, x.dtype, last, "rows") for _ in work] if min(a.kernel) > 1 else []
    steps = [[list(window_steps(rows, cols, b)) for b in mine] for mine in work]
    parts = [[(slice(b.n0, b.n1), slice(b.c0, b.c1), slice(b.r0, b.r1)) for b in mine] for mine in work]
    zero = k.use(np.zeros((), x.dtype), "zero")
    lists = [
        bind(k, "sums", f"{k.use(bind_steps)}({k.use(steps, k.name + '_steps')}, {x}, "
             f"({''.join(f'{h}, ' for h in held)}), {y}, {zero}, {zero})", x, y, *held),
        bind(k, "outputs", f"{k.use(bind_divisions)}({k.use(parts, k.name + '_parts')}, {y}, "
             f"{k.use(divisor, k.name + '_divisor')})", y),
    ]  # fmt: skip
    sums, out, first, second, whole, count = (k.names.fresh(n) for n in ("sums", "out", "a", "b", "y_block", "count"))
    body = [
        f"for {out}, {first}, {second} in {sums}:",
        f"    np.add({first}, {second}, out={out})",
        f"np.divide({whole}, {count}, out={whole})",
    ]
    over_blocks(k, len(work), [sums, f"({whole}, {count})"], lists, body)


def bind_divisions(parts: Sequence[Sequence[Any]], y: Any, divisor: Any) -> list[list[tuple[Any, Any]]]:
    """Each block's sums, and what to divide them by."""
    return [[(y[part], divisor[part[2]] if divisor.ndim else divisor) for part in mine] for mine in parts]


@kernel(AVG_POOL_GRAD)
def avg_pool_grad(k: Emitter) -> None:
    """Each window's share, added to every element that the window saw."""
    recheck(k)
    (dy,), (dx,), a = k.ins, k.outs, k.attrs.pool
    rows, cols = _axes(a, dx.shape, dy.shape[2:])
    share = image_scratch(k, dy.shape, dy.dtype, channels_last(dx), "share")  # type: ignore[arg-type]
    divisor = k.use(_divisors(a, rows, cols, dy.dtype), f"{k.name}_divisor")
    k.line(f"np.divide({dy}, {divisor}, out={share})")
    k.line(f"{dx}.fill(0)")
    entries = [
        (
            (..., rows.source(down), cols.source(right)),
            (..., slice(down.first, down.last), slice(right.first, right.last)),
        )
        for down in rows.taps()
        for right in cols.taps()
        if down.last > down.first and right.last > right.first
    ]
    _emit_spread(k, entries, dx, share)


def bind_spread(entries: Sequence[tuple[Any, Any]], target: Any, source: Any) -> list[tuple[Any, Any]]:
    """Views for ``target[a] += source[b]``."""
    return [(target[a], source[b]) for a, b in entries]


def _emit_spread(k: Emitter, entries: Sequence[tuple[Any, Any]], target: Operand, source: Operand) -> None:
    views = bind(
        k, "taps", f"{k.use(bind_spread)}({k.use(entries, k.name + '_slices')}, {target}, {source})", target, source
    )
    a, b = k.names.fresh("target"), k.names.fresh("part")
    k.line(f"for {a}, {b} in {views}:\n    np.add({a}, {b}, out={a})")


def _spans(size: int, count: int) -> list[slice]:
    """Adaptive windows: from floor(i size / count) to ceil((i + 1) size / count)."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


@kernel(ADAPTIVE_AVG_POOL)
def adaptive_avg_pool(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    n, c, height, width = x.shape
    rows, cols = _spans(height, y.shape[2]), _spans(width, y.shape[3])
    held = image_scratch(k, (n, c, y.shape[2], width), x.dtype, channels_last(x), "rows")
    down = k.use([(..., s, slice(None)) for s in rows], f"{k.name}_rows")
    right = k.use([(..., s) for s in cols], f"{k.name}_cols")
    for axis, source, target, spans in ((2, x, held, down), (3, held, y, right)):
        views = bind(k, "spans", f"{k.use(bind_means)}({spans}, {source}, {target}, {axis})", source, target)
        a, b = k.names.fresh("span"), k.names.fresh("mean")
        k.line(f"for {a}, {b} in {views}:\n    np.mean({a}, axis={axis}, out={b})")


def bind_means(spans: Sequence[Any], source: Any, target: Any, axis: int) -> list[tuple[Any, Any]]:
    """Each span of the source, and the slice of the target that its mean goes to."""
    moved = target.transpose(axis, *(i for i in range(4) if i != axis))
    return [(source[span], moved[i]) for i, span in enumerate(spans)]


@kernel(ADAPTIVE_AVG_POOL_GRAD)
def adaptive_avg_pool_grad(k: Emitter) -> None:
    (dy,), (dx,) = k.ins, k.outs
    rows, cols = _spans(dx.shape[2], dy.shape[2]), _spans(dx.shape[3], dy.shape[3])
    counts = np.multiply.outer([s.stop - s.start for s in rows], [s.stop - s.start for s in cols]).astype(dy.dtype)
    share = image_scratch(k, dy.shape, dy.dtype, channels_last(dx), "share")  # type: ignore[arg-type]
    k.line(f"np.divide({dy}, {k.use(counts, k.name + '_counts')}, out={share})")
    k.line(f"{dx}.fill(0)")
    entries = [
        ((..., down, right), (..., slice(i, i + 1), slice(j, j + 1)))
        for i, down in enumerate(rows)
        for j, right in enumerate(cols)
    ]
    _emit_spread(k, entries, dx, share)


@kernel(ADAPTIVE_ARG_MAX)
def adaptive_arg_max(k: Emitter) -> None:
    (x,), (index,) = k.ins, k.outs
    windows = k.use(
        [(down, right) for down in _spans(x.shape[2], index.shape[2]) for right in _spans(x.shape[3], index.shape[3])],
        f"{k.name}_windows",
    )
    k.line(f"{k.use(windows_arg_max)}({windows}, {x}, {index})")


def windows_arg_max(windows: Sequence[tuple[slice, slice]], x: Any, index: Any) -> None:
    """Flat position of the first maximum (or NaN) of each window."""
    width, cols = x.shape[3], index.shape[3]
    for number, (down, right) in enumerate(windows):
        part = x[:, :, down, right]
        best = part.reshape(*part.shape[:2], part.shape[2] * part.shape[3]).argmax(2)
        row, col = np.divmod(best, part.shape[3])
        index[:, :, number // cols, number % cols] = (down.start + row) * width + right.start + col
