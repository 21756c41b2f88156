"""Kernels of resizing: axis by axis, shrinking ones first; whole-number repetition is a copy of all axes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...base.arrays import Array
from ...graph.ops import resize as ops
from ...graph.ops.resize import ResizeAttrs, ResizeGradAttrs
from ...graph.resampling import Taps, taps
from ..planning.registry import kernel
from ..program.emitter import Emitter, Operand

MOST_REPEATS = 8
"""Repetitions along the innermost axis up to which each is written separately, in long runs."""


class ResizedAxis(NamedTuple):
    """One axis: its place in memory, and the elements and weights that each of its new elements is computed from."""

    place: int
    size: int
    new: int
    taps: Taps

    @property
    def repeats(self) -> int:
        """How often each element is repeated, if resizing does nothing else."""
        index, weight, outside = self.taps
        count, rest = divmod(self.new, self.size)
        plain = not rest and len(index) == 1 and not outside.size and bool((weight == 1).all())
        return count if plain and np.array_equal(index[0], np.arange(self.new) // count) else 0

    def key(self, text: object) -> str:
        """A subscript with this text for the axis."""
        return ", ".join([*[":"] * self.place, str(text)])

    def along(self, rank: int, weights: Array, x: Operand) -> Array:
        """Weights in a shape that broadcasts along this axis of an operand."""
        return weights.astype(x.dtype).reshape(-1, *[1] * (rank - self.place - 1))


def _axes(a: ResizeAttrs, shape: tuple[int, ...], order: tuple[int, ...]) -> list[ResizedAxis]:
    """The axes in the order in which they are resized."""
    found = []
    for number, (axis, new, scale) in enumerate(zip(a.axes, a.sizes, a.scales, strict=True)):
        assert isinstance(new, int)
        crop = a.crop[number] if a.crop else (0.0, 1.0)
        found.append(ResizedAxis(order.index(axis), shape[axis], new, taps(a.how, shape[axis], new, scale, crop)))
    return sorted(found, key=lambda one: one.new / one.size)


def _with(shape: tuple[int, ...], axis: ResizedAxis, size: int) -> tuple[int, ...]:
    return (*shape[: axis.place], size, *shape[axis.place + 1 :])


def _in_memory(k: Emitter, x: Operand, y: Operand) -> tuple[tuple[int, ...], Operand, Operand]:
    """The order of the result's axes in memory, and both operands with their axes in it."""
    order = y.type.order or tuple(range(y.type.rank))
    return order, k.permuted(x, order), k.permuted(y, order, "rows")


@kernel(ops.RESIZE)
def resize(k: Emitter[ResizeAttrs]) -> None:
    (x,), (y,), a = k.ins, k.outs, k.attrs
    k.node.op.infer(a, x.type)  # sizes that were symbolic while tracing may be none
    order, source, target = _in_memory(k, x, y)
    if 0 in y.shape:
        return
    axes = _axes(a, x.shape, order)
    if y.contiguous and all(axis.repeats for axis in axes):
        _repeat(k, source, target, axes)
        return
    for axis in axes:
        last = axis is axes[-1]
        made = target if last else k.scratch(_with(source.shape, axis, axis.new), y.dtype, "resized")
        _combine(k, source, made, axis)
        source = made
    for axis in axes:
        if axis.taps.outside.size:
            k.line(f"{target}[{axis.key(k.use(axis.taps.outside, 'outside'))}] = {k.number(_of(a.fill, y))}")


def _of(value: float, y: Operand) -> float:
    """The number rounded to the result's element type."""
    return value if y.dtype.kind == "f" else int(value)


def _combine(k: Emitter[ResizeAttrs], x: Operand, y: Operand, axis: ResizedAxis) -> None:
    """Resize one axis: take each tap, and add it up with its weight."""
    for tap, (index, weight) in enumerate(zip(axis.taps.sources, axis.taps.weights, strict=True)):
        out = y if tap == 0 else k.scratch(y.shape, y.dtype, "tap")
        chosen = k.use(index, f"{k.name}_index")
        k.line(f"np.take({x}, {chosen}, axis={axis.place}, out={out}, mode='clip')")
        if not (weight == 1).all():
            share = k.use(axis.along(x.type.rank, weight, y), f"{k.name}_weight")
            k.line(f"np.multiply({out}, {share}, out={out})")
        if tap:
            k.line(f"np.add({y}, {out}, out={y})")


def _repeat(k: Emitter[ResizeAttrs], x: Operand, y: Operand, axes: list[ResizedAxis]) -> None:
    """Repeat along all axes at once, by views of the result with the repetitions as axes of their own."""
    counts = {axis.place: axis.repeats for axis in axes}
    split = [one for i, size in enumerate(x.shape) for one in ((size, counts[i]) if i in counts else (size,))]
    apart = k.target(y, split, "apart")
    spread = ", ".join(":, None" if i in counts else ":" for i in range(x.type.rank))
    inner = counts.get(x.type.rank - 1, 0)
    if not 1 < inner <= MOST_REPEATS:
        k.line(f"{apart}[...] = {x}[{spread}]")
        return
    outer = [i for i in counts if i < x.type.rank - 1]

    def rows(of: dict[int, str]) -> str:
        """The subscript with these numbers of repetitions, and all of the innermost axis."""
        return ", ".join(f":, {of[i]}" if i in of else ":" for i in range(x.type.rank))

    first = dict.fromkeys(outer, "0")
    for i in range(inner):
        k.line(f"{apart}[{rows(first)}, {i}] = {x}")
    for i in outer:  # copy finished rows to their repetitions
        k.line(f"{apart}[{rows({**first, i: '1:'})}] = {apart}[{rows({**first, i: '0:1'})}]")
        first[i] = ":"


@kernel(ops.RESIZE_GRAD)
def resize_grad(k: Emitter[ResizeGradAttrs]) -> None:
    (dy,), (dx,), a = k.ins, k.outs, k.attrs
    k.node.op.infer(a, dy.type)
    order, source, target = _in_memory(k, dy, dx)
    if 0 in dx.shape:
        return
    axes = _axes(a.forward, dx.shape, order)[::-1]
    for axis in axes:
        made = target if axis is axes[-1] else k.scratch(_with(source.shape, axis, axis.size), dx.dtype, "summed")
        _gather(k, source, made, axis)
        source = made


def _gather(k: Emitter[ResizeGradAttrs], dy: Operand, dx: Operand, axis: ResizedAxis) -> None:
    """The gradient of one axis: for each original element, the weighted sum over the elements computed from it."""
    if axis.repeats:
        shape = (*dx.shape[: axis.place + 1], axis.repeats, *dx.shape[axis.place + 1 :])
        k.line(f"np.add.reduce({k.reshaped(dy, shape, 'apart')}, axis={axis.place + 1}, out={dx})")
        return
    index, weight, _ = axis.taps
    used = np.flatnonzero(weight)
    places, owner, share = np.broadcast_to(np.arange(axis.new), index.shape).ravel()[used], index.ravel()[used], weight
    turned = np.argsort(owner, kind="stable")
    owners, first = np.unique(owner[turned], return_index=True)
    parts = k.scratch(_with(dy.shape, axis, len(used)), dy.dtype, "parts")
    k.line(f"np.take({dy}, {k.use(places[turned], f'{k.name}_index')}, axis={axis.place}, out={parts}, mode='clip')")
    shares = share.ravel()[used][turned]
    if not (shares == 1).all():
        k.line(f"np.multiply({parts}, {k.use(axis.along(dy.type.rank, shares, dy), f'{k.name}_weight')}, out={parts})")
    summed = f"np.add.reduceat({parts}, {k.use(first, f'{k.name}_first')}, axis={axis.place}"
    if len(owners) == axis.size:
        k.line(f"{summed}, out={dx})")
    else:
        k.line(f"{dx}.fill(0)")
        if len(owners):
            k.line(f"{dx}[{axis.key(k.use(owners, f'{k.name}_owners'))}] = {summed})")
