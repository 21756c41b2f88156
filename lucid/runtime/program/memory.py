"""Offset assignment: a place in one arena for every live interval, without overlap in both time and space.

The first attempt is greedy, in order of time with best fit. If the arena is then larger than the largest live set,
intervals are also placed in order of size (Pisarchyk and Lee, "Efficient memory management for deep neural net
inference", 2020), a few times, each time with the interval that ended highest placed first. The smallest arena wins:
on real networks it is the largest live set, or within a few percent of it.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from ...base.structs import struct
from ..workers.settings import ALIGNMENT
from .liveness import Interval

_BY_SIZE_LIMIT = 2000
"""With more intervals than this, they are placed in order of time only, which takes n log n time."""
_NEAR = 1.02
"""An arena at most this much larger (relative) than the largest live set is good enough."""
_TRIES = 32
_PAIRS = 2_000_000
"""The most orders tried by size, and about the most pairs of intervals compared (some 50 ms)."""


ARENA, WORKSPACE, PACKED = "arena", "workspace", "packed"
"""The memory of a run, that of packing, and that of a packing, as programs call them."""


class Place(NamedTuple):
    """Where an operand is: ``offset`` bytes into the arena, the workspace, or the packing of a number."""

    memory: str
    offset: int
    packing: int = 0

    @property
    def name(self) -> str:
        """The memory, as it is written in a program."""
        return f"{self.memory}[{self.packing}]" if self.memory == PACKED else self.memory


@struct(frozen=True)
class Layout:
    """Offsets (bytes) in the order of the intervals, the arena's size, and its lower bound, the largest live set."""

    offsets: tuple[int, ...]
    size: int
    lower_bound: int


def aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def assign_offsets(intervals: Sequence[Interval]) -> Layout:
    """Place all intervals."""
    bound = largest_live_set(intervals)
    offsets = _by_time(intervals)
    size = _extent(intervals, offsets)
    if size > bound * _NEAR and len(intervals) <= _BY_SIZE_LIMIT:
        others = _by_size(intervals, bound)
        if _extent(intervals, others) < size:
            offsets, size = others, _extent(intervals, others)
    return Layout(tuple(offsets), size, bound)


def _extent(intervals: Sequence[Interval], offsets: Sequence[int]) -> int:
    return max((o + aligned(i.nbytes) for o, i in zip(offsets, intervals, strict=True)), default=0)


def largest_live_set(intervals: Sequence[Interval]) -> int:
    """The most bytes that are needed at one step."""
    return max(live_bytes(intervals, max((i.stop for i in intervals), default=0)), default=0)


def live_bytes(intervals: Sequence[Interval], steps: int) -> list[int]:
    """The bytes that are needed at each step, and after the last."""
    changes = [0] * (steps + 2)
    for interval in intervals:
        changes[interval.start] += aligned(interval.nbytes)
        changes[interval.stop + 1] -= aligned(interval.nbytes)
    return list(accumulate(changes))[:-1]


def _by_size(intervals: Sequence[Interval], bound: int = 0) -> list[int]:
    """Largest first; until the arena is about as small as ``bound``, again with the topmost interval placed first."""
    order = sorted(range(len(intervals)), key=lambda i: (-intervals[i].nbytes, intervals[i].start))
    best: list[int] = []
    least: int | None = None
    for _ in range(max(1, min(_TRIES, _PAIRS // max(1, len(order)) ** 2))):
        offsets = _in_order(intervals, order)
        size = _extent(intervals, offsets)
        if least is None or size < least:
            best, least = offsets, size
        if size <= bound * _NEAR:
            break
        topmost = next(i for i in order if offsets[i] + aligned(intervals[i].nbytes) == size)
        order.remove(topmost)
        order.insert(0, topmost)
    return best


def _in_order(intervals: Sequence[Interval], order: Sequence[int]) -> list[int]:
    """Each interval at the lowest offset that is free during its whole life."""
    offsets = [0] * len(intervals)
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, start, stop), sorted by offset
    for index in order:
        start, stop, need, at = intervals[index].start, intervals[index].stop, aligned(intervals[index].nbytes), 0
        for offset, end, born, died in placed:
            if born > stop or died < start:
                continue
            if offset - at >= need:
                break
            if end > at:
                at = end
        offsets[index] = at
        insort(placed, (at, at + need, start, stop), key=itemgetter(0))
    return offsets


def _by_time(intervals: Sequence[Interval]) -> list[int]:
    """In order of their first step, each in the smallest hole that is large enough at that step."""
    offsets = [0] * len(intervals)
    holes: list[tuple[int, int]] = []  # (offset, bytes), sorted, no two adjacent
    dying: list[tuple[int, int]] = []  # heap of (last step, index) of live intervals
    top = 0
    for index in sorted(range(len(intervals)), key=lambda i: (intervals[i].start, -intervals[i].nbytes)):
        this = intervals[index]
        while dying and dying[0][0] < this.start:
            dead = heapq.heappop(dying)[1]
            _release(holes, offsets[dead], aligned(intervals[dead].nbytes))
        need = aligned(this.nbytes)
        fits = [hole for hole in holes if hole[1] >= need]
        if fits:
            offset, size = min(fits, key=lambda hole: (hole[1], hole[0]))
            holes.remove((offset, size))
            if size > need:
                insort(holes, (offset + need, size - need))
        elif holes and sum(holes[-1]) == top:
            offset = holes.pop()[0]
            top = offset + need
        else:
            offset, top = top, top + need
        offsets[index] = offset
        heapq.heappush(dying, (this.stop, index))
    return offsets


def _release(holes: list[tuple[int, int]], offset: int, size: int) -> None:
    """Add a hole, merging it with adjacent ones."""
    if size == 0:
        return
    insort(holes, (offset, size))
    at = holes.index((offset, size))
    if at + 1 < len(holes) and offset + size == holes[at + 1][0]:
        size += holes.pop(at + 1)[1]
        holes[at] = (offset, size)
    if at > 0 and sum(holes[at - 1]) == offset:
        before = holes.pop(at - 1)
        holes[at - 1] = (before[0], before[1] + size)
