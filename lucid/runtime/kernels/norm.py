"""Kernels of softmax and the normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...graph.ops import norm as ops
from ..planning.registry import kernel
from ..program.emitter import Emitter, Operand
from .elementwise import intermediate, scalar, without_broadcast
from .shared.row_sums import sum_over


def _without(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))


def _shifted(k: Emitter, x: Operand, y: Operand, axis: int) -> Operand:
    """Write ``x`` minus its maximum along the axis to ``y``; returns the scratch that held the maxima."""
    m = k.scratch(_without(x.shape, (axis,)), x.dtype, "row")
    if m.type.size == 1 and x.contiguous:
        flat = k.target(k.permuted(x, x.type.order or tuple(range(x.type.rank))), (x.type.size,), "flat")  # type: ignore[arg-type]
        k.line(f"{m}[...] = {flat}[{flat}.argmax()]")  # a third of the time of max(); NaN is the largest here too
    else:
        k.line(f"np.maximum.reduce({x}, axis={axis}, keepdims=True, out={m})")
    k.line(f"np.subtract({x}, {without_broadcast(k, m, y)}, out={y})")
    return m


@kernel(ops.SOFTMAX)
def softmax(k: Emitter) -> None:
    (x,), (y,), axis = k.ins, k.outs, k.attrs.axis
    if x.shape[axis] == 0:
        return
    m = _shifted(k, x, y, axis)
    k.line(f"np.exp({y}, out={y})")
    sum_over(k, y, (axis,), m)
    k.line(f"np.divide({y}, {without_broadcast(k, m, y)}, out={y})")
    k.may_overwrite(0, 0)


@kernel(ops.LOG_SOFTMAX)
def log_softmax(k: Emitter) -> None:
    (x,), (y,), axis = k.ins, k.outs, k.attrs.axis
    if x.shape[axis] == 0:
        return
    m = _shifted(k, x, y, axis)
    e = k.scratch(x.shape, x.dtype, "exp")
    k.line(f"np.exp({y}, out={e})")
    sum_over(k, e, (axis,), m)
    k.line(f"np.log({m}, out={m})")
    k.line(f"np.subtract({y}, {m}, out={y})")
    k.may_overwrite(0, 0)


def _mean(k: Emitter, x: Operand, axes: tuple[int, ...], total: Operand) -> None:
    """Write the mean over axes to ``total``.

    If the innermost axis is not among them, NumPy adds up row after row, with one rounding per row. The longest axis is
    then added up first, so that errors grow with some hundred additions instead of with the pixels of all images.
    """
    last, count = x.type.order[-1] if x.type.order else x.type.rank - 1, math.prod(x.shape[axis] for axis in axes)
    if len(axes) > 1 and last not in axes:
        longest = max(axes, key=lambda axis: x.shape[axis])
        part = k.scratch(_without(x.shape, (longest,)), x.dtype, "part", x.type.order)
        k.line(f"np.add.reduce({x}, axis={longest}, keepdims=True, out={part})")
        x = part
    sum_over(k, x, axes, total, count)


def _standardize(
    k: Emitter, x: Operand, y: Operand, axes: tuple[int, ...], eps: float, statistics: tuple[Operand, Operand]
) -> None:
    """Two passes for the mean and the squared deviations, one to scale; ``y`` may share the memory of ``x``."""
    mean, var = statistics
    squares = k.scratch(x.shape, x.dtype, "squares")
    scale = k.scratch(var.shape, x.dtype, "scale")
    step = intermediate(k, scale)
    _mean(k, x, axes, mean)
    k.line(f"np.subtract({x}, {without_broadcast(k, mean, y)}, out={y})")
    k.line(f"np.multiply({y}, {y}, out={squares})")
    _mean(k, squares, axes, var)
    k.line(f"np.add({var}, {scalar(k, eps, x.dtype)}, out={scale})")
    k.line(f"np.sqrt({scale}, out={step})")
    k.line(f"np.reciprocal({step}, out={scale})")
    k.line(f"np.multiply({y}, {without_broadcast(k, scale, y)}, out={y})")


def _statistics(k: Emitter, shape: tuple[int, ...], axes: tuple[int, ...], x: Operand) -> tuple[Operand, Operand]:
    """Memory for a mean and a variance that are not read elsewhere."""
    kept = _without(shape, axes)
    return k.scratch(kept, x.dtype, "mean"), k.scratch(kept, x.dtype, "var")


@kernel(ops.STANDARDIZE)
def standardize(k: Emitter) -> None:
    (x,), (y, mean, var), a = k.ins, k.outs, k.attrs
    kept = _without(x.shape, a.axes)
    mean, var = mean or k.scratch(kept, x.dtype, "mean"), var or k.scratch(kept, x.dtype, "var")
    _standardize(k, x, y, a.axes, a.eps, (mean, var))
    k.may_overwrite(0, 0)


def _affine(k: Emitter, y: Operand, factors: Sequence[object]) -> None:
    for name, factor in zip(("multiply", "add"), factors, strict=False):
        k.line(f"np.{name}({y}, {factor}, out={y})")


@kernel(ops.LAYER_NORM)
def layer_norm(k: Emitter) -> None:
    (x, *affine), (y,), a = k.ins, k.outs, k.attrs
    axes = tuple(range(x.type.rank - a.rank, x.type.rank))
    _standardize(k, x, y, axes, a.eps, _statistics(k, x.shape, axes, x))
    _affine(k, y, [without_broadcast(k, v, y) for v in affine])
    k.may_overwrite(0, 0)


def _per_channel(vector: Operand, rank: int) -> str:
    return f"{vector}.reshape({(vector.shape[0], *(1,) * (rank - 2))})"


@kernel(ops.GROUP_NORM)
def group_norm(k: Emitter) -> None:
    (x, *affine), (y,), a = k.ins, k.outs, k.attrs
    split = (x.shape[0], a.groups, x.shape[1] // a.groups, *x.shape[2:])
    target = y if y.type.order is None else k.scratch(y.shape, y.dtype)
    source, seen = k.reshaped(x, split), k.target(target, split)
    axes = tuple(range(2, len(split)))
    _standardize(k, source, seen, axes, a.eps, _statistics(k, split, axes, x))
    _affine(k, target, [_per_channel(v, x.type.rank) for v in affine])
    if target is not y:
        k.line(f"{y}[...] = {target}")


@kernel(ops.BATCH_NORM)
def batch_norm(k: Emitter) -> None:
    (x, mean, var, *affine), (y,), a = k.ins, k.outs, k.attrs
    channels, rank = x.shape[1], x.type.rank
    with k.once(mean, var, *affine):
        scale, shift = (k.scratch((channels, *(1,) * (rank - 2)), x.dtype, name) for name in ("scale", "shift"))
        flat_scale, flat_shift = k.seen(scale, (channels,)), k.seen(shift, (channels,))
        k.line(f"np.add({var}, {k.number(a.eps)}, out={flat_scale})")
        k.line(f"np.sqrt({scale}, out={scale})")
        k.line(f"np.divide({affine[0] if affine else 1}, {flat_scale}, out={flat_scale})")
        k.line(f"np.multiply({mean}, {flat_scale}, out={flat_shift})")
        k.line(f"np.subtract({affine[1] if len(affine) > 1 else 0}, {flat_shift}, out={flat_shift})")
    k.line(f"np.multiply({x}, {scale}, out={y})")
    k.line(f"np.add({y}, {shift}, out={y})")
    k.may_overwrite(0, 0)
