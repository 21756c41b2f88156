"""Records of which thread ran which part of a region and when, written by the parts themselves to shared memory."""

from __future__ import annotations

from threading import get_native_id
from time import perf_counter

from ...base.arrays import Array

BEGAN, ENDED, WHO = range(3)
"""Columns of the records, which have a row for each part."""


def note(parts: Array, worker: int, column: int) -> None:
    """Record that a part begins or ends, by the clock that all processes of the machine share."""
    parts[worker, column] = perf_counter()
    if column == BEGAN:
        parts[worker, WHO] = get_native_id()


def helped(parts: Array, since: float) -> list[float]:
    """For each part, the seconds since ``since`` that a thread other than this one has worked on it."""
    own = get_native_id()
    return [max(0.0, ended - began) if began >= since and who != own else 0.0 for began, ended, who in parts.tolist()]
