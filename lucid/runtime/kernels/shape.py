"""Kernels of the shape ops: views wherever the memory order allows."""

from __future__ import annotations

from ...graph.ops import shape
from ...graph.types import TensorType
from ..planning.phase import Phase
from ..planning.registry import kernel
from ..program.emitter import Emitter, inverse


@kernel(shape.RESHAPE)
def reshape(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    plain = x.type.order is None and y.type.order is None
    if x.contiguous and plain:
        k.alias(0, k.seen(x, y.shape), contiguous=True)
    elif x.contiguous and _stays(x.type, y.type):
        # in memory order both are row-major
        flat = k.permuted(x, x.type.order or tuple(range(x.type.rank)))
        memory = y.type.order or tuple(range(y.type.rank))
        seen = k.reshaped(flat, tuple(y.shape[axis] for axis in memory))
        k.alias(0, f"{seen}.transpose({inverse(memory)})", contiguous=True)
    elif plain and _splits(x.shape, y.shape):
        k.alias(0, k.seen(x, y.shape))
    elif x.phase is Phase.CALL and plain:
        # the caller's array: a view where its strides allow it, else NumPy copies
        k.alias(0, f"{x}.reshape({y.shape})")
    else:
        # the copy runs in x's logical order, so y is seen in x's shape
        target = y if y.type.order is None else k.scratch(y.shape, y.dtype)
        seen = k.target(target, x.shape)
        k.line(f"{seen}[...] = {x}")
        if target is not y:
            k.line(f"{y}[...] = {target}")


def _stays(x: TensorType, y: TensorType) -> bool:
    """Whether the numbers of an array without gaps lie where those of its reshape do: only axes of size 1 differ."""

    def lie(t: TensorType) -> list[int]:
        """The axes but those of size 1 in memory order, each by its number among them."""
        axes = [axis for axis, size in enumerate(t.concrete) if size != 1]
        return [axes.index(axis) for axis in t.order or range(t.rank) if axis in axes]

    alike = [size for size in x.concrete if size != 1] == [size for size in y.concrete if size != 1]
    return alike and lie(x) == lie(y)


def _splits(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether each axis becomes one or several, and none a part of one: then it is a view, whatever lies between."""
    sizes = iter(after)
    for whole in (size for size in before if size != 1):
        found = 1
        while found < whole and (size := next(sizes, 0)):
            found *= size
        if found != whole:
            return False
    return set(sizes) <= {1}


@kernel(shape.TRANSPOSE)
def transpose(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    memory = x.type.order or tuple(range(x.type.rank))
    order = tuple(k.attrs.perm.index(axis) for axis in memory)
    matches = x.contiguous and order == (y.type.order or tuple(range(y.type.rank)))
    k.alias(0, f"{x}.transpose({k.attrs.perm})", contiguous=matches)


@kernel(shape.EXPAND)
def expand(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.alias(0, f"np.broadcast_to({x}, {y.shape})")


@kernel(shape.STOP_GRADIENT)
def stop_gradient(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    k.alias(0, f"{x}[...]", contiguous=x.contiguous and x.type.order == y.type.order)


LINES = 16
"""Arrays up to which each has a line of the program: that takes a third to nine tenths of the time."""


@kernel(shape.CONCAT)
def concat(k: Emitter) -> None:
    (y,), axis, end = k.outs, k.attrs.axis, 0
    if len(k.ins) > LINES:
        k.line(f"np.concatenate(({', '.join(map(str, k.ins))},), axis={axis}, out={y})")
        return
    for x in k.ins:
        start, end = end, end + x.shape[axis]
        part = k.view(y, f"{y}[{':, ' * axis}{start}:{end}]", x.shape, label="part")
        k.line(f"{part}[...] = {x}")
