"""The strides that values of a trace would have eagerly, which decide in PyTorch whether a reshape is a view.

Strides are in elements, not bytes. Sizes may be symbolic; when a rule compares them, the trace notes the assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..graph.assume import is_at_least, is_equal
from ..graph.dims import Dim
from ..graph.types import Shape

Strides: TypeAlias = "tuple[Dim, ...]"


class Layout:
    """The memory layout of a value, computed when it is first needed.

    Parameters
    ----------
    find
        Returns the strides, or None if they are unknown.
    """

    __slots__ = ("_find", "_found")

    def __init__(self, find: Callable[[], Strides | None]) -> None:
        self._find: Callable[[], Strides | None] | None = find
        self._found: Strides | None = None

    @property
    def strides(self) -> Strides | None:
        """The strides by axis; None if they are unknown."""
        if self._find is not None:
            self._found, self._find = self._find(), None
        return self._found


def in_rows(shape: Shape) -> Strides:
    """The strides of a row-major value."""
    found: list[Dim] = []
    step: Dim = 1
    for size in reversed(shape):
        found.append(step)
        step = step * size
    return tuple(reversed(found))


def lies_in_rows(shape: Shape, strides: Strides) -> bool:
    """Whether strides are row-major, ignoring those of axes of size 1."""
    pairs = zip(shape, strides, in_rows(shape), strict=True)
    return any(is_equal(size, 0) for size in shape) or all(
        own == row or is_equal(size, 1) or is_equal(own, row) for size, own, row in pairs
    )


def repeats(shape: Shape, strides: Strides) -> bool:
    """Whether several elements share one memory location, as after ``expand``."""
    return any(step == 0 and not is_equal(size, 1) for size, step in zip(shape, strides, strict=True))


def reshaped(shape: Shape, strides: Strides, new: Shape) -> Strides | None:
    """The strides of a reshape that is a view; None if it must be a copy."""
    if any(is_equal(size, 0) for size in shape):
        return in_rows(new)
    runs = _runs(shape, strides)
    found: list[Dim] = []
    waiting = list(reversed(new))
    for count, step in reversed(runs):
        left: Dim = 1
        while waiting and not is_equal(left, count):
            size = waiting.pop(0)
            found.append(step * left)
            left = left * size
            if not is_at_least(count, left):
                return None
        if not is_equal(left, count):
            return None
    if any(not is_equal(size, 1) for size in waiting):
        return None
    return (*([1] * len(waiting)), *reversed(found))


def _runs(shape: Shape, strides: Strides) -> list[tuple[Dim, Dim]]:
    """The axes with those merged that are contiguous with each other: (size, stride) of each."""
    runs: list[tuple[Dim, Dim]] = []
    for size, step in zip(shape, strides, strict=True):
        if is_equal(size, 1):
            continue
        if runs and is_equal(runs[-1][1], size * step):
            runs[-1] = runs[-1][0] * size, step
        else:
            runs.append((size, step))
    return runs


def elementwise(shape: Shape, operands: Sequence[tuple[Shape, Strides]]) -> Strides:
    """The strides of an element-wise result, whose axes are in the order of those of the operands.

    As in PyTorch, the order of two axes is that of the first operand in which they have one.
    """
    rank = len(shape)
    spread = [_broadcast(shape, *one) for one in operands]
    order = list(reversed(range(rank)))  # the innermost first
    for i in range(1, rank):
        at = i
        for j in range(i - 1, -1, -1):
            verdict = _outer(shape, spread, order[j], order[at])
            if verdict > 0:
                order[j], order[at] = order[at], order[j]
                at = j
            elif verdict < 0:
                break
    found: list[Dim] = [0] * rank
    step: Dim = 1
    for axis in order:
        found[axis] = step
        step = step * shape[axis]
    return tuple(found)


def _broadcast(shape: Shape, own: Shape, strides: Strides) -> Strides:
    lead = len(shape) - len(own)
    return (*[0] * lead, *(0 if size == 1 else step for size, step in zip(own, strides, strict=True)))


def _outer(shape: Shape, operands: Sequence[Strides], a: int, b: int) -> int:
    """1 if axis ``a`` is outside axis ``b`` in memory, -1 if inside, 0 if no operand decides."""
    for strides in operands:
        if strides[a] == 0 or strides[b] == 0:
            continue
        if not is_equal(strides[a], strides[b]):
            return -1 if is_at_least(strides[b], strides[a]) else 1
        if not is_at_least(shape[b], shape[a]):
            return 1
    return 0
