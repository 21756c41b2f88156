"""Who did which part of a region, and when: as the parts themselves note it, in memory that workers reach."""

from __future__ import annotations

from threading import get_native_id
from time import perf_counter

from ...base.arrays import Array

BEGAN, ENDED, WHO = range(3)
"""Columns of the notes, which have a row for each part."""


def note(parts: Array, worker: int, column: int) -> None:
    """Note that a part begins, or that it ends: by the clock that all processes of the machine share."""
    parts[worker, column] = perf_counter()
    if column == BEGAN:
        parts[worker, WHO] = get_native_id()


def helped(parts: Array, since: float) -> list[float]:
    """For each part how many seconds another thread than this one has worked on it since then."""
    own = get_native_id()
    return [max(0.0, ended - began) if began >= since and who != own else 0.0 for began, ended, who in parts.tolist()]
