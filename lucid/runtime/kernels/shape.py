"""Kernels of the shape ops: views wherever the memory order allows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ...graph.ops import shape
from ...graph.ops.shape import parted_order
from ...graph.types import TensorType
from ..planning.machine import this_machine
from ..planning.phase import Phase
from ..planning.registry import kernel
from ..planning.work import Work, shared_by
from ..program.emitter import Emitter, Operand, inverse

COLUMNS = 16
"""Rows of at most this many numbers are copied column by column."""


@kernel(shape.RESHAPE)
def reshape(k: Emitter) -> None:
    (x,), (y,) = k.ins, k.outs
    plain = x.type.order is None and y.type.order is None
    if x.contiguous and plain:
        k.alias(0, k.seen(x, y.shape), contiguous=True)
    elif x.contiguous and _stays(x.type, y.type):
        # with their axes in memory order, both are row-major
        flat = k.permuted(x, x.type.order or tuple(range(x.type.rank)))
        memory = y.type.order or tuple(range(y.type.rank))
        seen = k.reshaped(flat, tuple(y.shape[axis] for axis in memory))
        k.alias(0, f"{seen}.transpose({inverse(memory)})", contiguous=True)
    elif plain and _splits(x.shape, y.shape):
        k.alias(0, k.seen(x, y.shape))
    elif x.phase is Phase.CALL and plain:
        # the caller's array: a view where its strides allow it, else NumPy copies
        k.alias(0, f"{x}.reshape({y.shape})")
    elif (order := _order_within(x, y)) is not None:
        _copy_by_columns(k, x, y, order)
    else:
        # the copy runs in x's logical order, so it writes to y viewed in x's shape
        target = y if y.type.order is None else k.scratch(y.shape, y.dtype)
        _copy(k, [(k.target(target, x.shape), x)])
        if target is not y:
            k.line(f"{y}[...] = {target}")


def _stays(x: TensorType, y: TensorType) -> bool:
    """Whether a reshape of an array without gaps leaves its numbers in place."""
    groups = _same_axes(x.concrete, y.concrete)
    lie = [_lie(t, [pair[i] for pair in groups]) for i, t in enumerate((x, y))]
    return lie[0] is not None and lie[0] == lie[1]


def _same_axes(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of axes of ``a`` and of ``b`` with equal products, without axes of size 1; none if one is 0.

    For example, (6, 4) and (2, 3, 4) have the groups ([0], [0, 1]) and ([1], [2]).
    """
    if 0 in a:
        return []
    left, right = (iter([axis for axis, size in enumerate(shape) if size != 1]) for shape in (a, b))
    groups = list[tuple[list[int], list[int]]]()
    for axis in left:
        of_a, of_b = [axis], list[int]()
        size_a, size_b = a[axis], 1
        while size_a != size_b:
            if size_a > size_b:
                of_b.append(next(right))
                size_b *= b[of_b[-1]]
            else:
                of_a.append(next(left))
                size_a *= a[of_a[-1]]
        groups.append((of_a, of_b))
    return groups


def _splits(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a reshape splits axes and joins none: then a view is possible, whatever the strides."""
    return 0 not in before and all(len(axes) == 1 for axes, _ in _same_axes(before, after))


def _lie(t: TensorType, groups: list[list[int]]) -> list[int] | None:
    """The groups of axes in memory order, by number; None unless the axes of each are adjacent and in order there."""
    memory = [axis for axis in t.order or range(t.rank) if t.concrete[axis] != 1]
    numbers = sorted(range(len(groups)), key=lambda number: memory.index(groups[number][0]))
    return numbers if memory == [axis for number in numbers for axis in groups[number]] else None


def _order_within(x: Operand, y: Operand) -> tuple[int, ...] | None:
    """The memory order of ``y`` viewed in the shape of ``x``, if the copy is best made column by column; else None.

    That is so for images whose channels are permuted a few at a time.
    """
    if x.phase is Phase.CALL or y.type.order is None or not y.contiguous:
        return None
    order = parted_order(y.type, x.shape)
    few = order is not None and order[-1] > 0 and x.shape[order[-1]] <= COLUMNS
    return order if few and _stays(x.type.with_order(order), y.type) else None


def _copy(k: Emitter, pairs: Sequence[tuple[Operand, Operand]]) -> None:
    """Copy the second array of each pair to the first; workers share the first axis if that pays."""
    size, nbytes = min(x.shape[0] if x.shape else 1 for _, x in pairs), sum(x.type.nbytes for _, x in pairs)
    alone = k.last or any(x.phase is not Phase.ARENA for pair in pairs for x in pair) or size < k.threads
    workers = 1 if alone else shared_by(Work(far=2 * nbytes), k.threads, this_machine())[1]
    if workers == 1:
        for to, x in pairs:
            k.line(f"{to}[...] = {x}")
        return
    part, body = k.names.fresh("part"), list[str]()
    for length, alike in groupby(pairs, lambda pair: pair[1].shape[0]):
        body.append(f"{part} = slice(worker * {length} // {workers}, (worker + 1) * {length} // {workers})")
        body += [f"{to}[{part}] = {x}[{part}]" for to, x in alike]
    k.shared(k.names.fresh(f"{k.name}_parts"), workers, body)


def _copy_by_columns(k: Emitter, x: Operand, y: Operand, order: tuple[int, ...]) -> None:
    """Copy column by column if rows are short: NumPy would start a loop for each row."""
    source, flat = k.permuted(x, order), k.permuted(y, y.type.order or tuple(range(y.type.rank)))
    seen, column = k.target(flat, source.shape), k.names.fresh("column")
    k.line(f"for {column} in range({source.shape[-1]}):\n    {seen}[..., {column}] = {source}[..., {column}]")


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


@kernel(shape.OVERWRITTEN)
def overwritten(k: Emitter) -> None:
    value, (y,) = k.ins[0], k.outs
    k.alias(0, f"{value}[...]", contiguous=value.contiguous and value.type.order == y.type.order)


MOST_COPIES = 16
"""Up to this many arrays are copied by a line each, which takes 0.3 to 0.9 of the time of ``np.concatenate``."""


@kernel(shape.CONCAT)
def concat(k: Emitter) -> None:
    (y,), axis, end = k.outs, k.attrs.axis, 0
    if len(k.ins) > MOST_COPIES:
        k.line(f"np.concatenate(({', '.join(map(str, k.ins))},), axis={axis}, out={y})")
        return
    pairs = []
    for x in k.ins:
        start, end = end, end + x.shape[axis]
        pairs.append((k.view(y, f"{y}[{':, ' * axis}{start}:{end}]", x.shape, label="part"), x))
    _copy(k, pairs)
