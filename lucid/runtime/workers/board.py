"""The board: 64-bit numbers at the beginning of the heap, through which the caller and its workers communicate.

It relies on x86-64, where one side sees the other's writes in the order in which they were made; on other machines
programs use threads. Each cache line is written by one side only.

A region is posted as a *turn*. A worker that sees a new turn writes that it starts, and then checks whether the turn
was taken from it. The caller, when its own blocks are done, writes that it takes the turn, and then checks whether the
worker has started. Each passes a memory fence between writing and checking, so at least one of them sees the other. If
both do, the worker leaves the turn alone, and says so.

Each worker process has cache lines of its own, its *place*. It is given to another worker only when the process is
known to have ended, so a worker that is dismissed, or begins late, cannot write in the name of its successor.
"""

from __future__ import annotations

import struct
from _thread import allocate_lock

MESSAGE = struct.Struct("qqq")
"""A message to a worker about a job, through its socket: the job's number, and the offset and size of its description
in the heap. With a size of 0, the job is to be forgotten."""

LINE = 8
"""Numbers of the board per cache line."""
WORKERS = 255
"""The most workers, including those that are ending."""
BYTES = 8 * LINE * (1 + 2 * WORKERS)

TURN, JOB, REGION, DUTY = 0, 1, 2, 3
"""The number of posted regions (turns); the job of the last one, and its region; whether more may follow soon."""

REGIONS = 1 << 20
"""``REGION`` holds its turn's number times this, plus the region: a worker that nobody waits for may read it while the
next turn is posted, and must not take that turn's region for its own. It is written before ``JOB``, and read after."""

STOLEN, BELL, LEFT = range(3)
"""The caller's numbers for one worker: the last turn that is not for it; the number it sleeps on (a futex); and whether
it is to end, so that no turn is for it any more."""

START, DONE, ASLEEP, KNOWN, LOST, ALIVE, FAILED = range(7)
"""A worker's numbers: the last turn that it started; twice the last turn that it is through with, plus 1 if it did
nothing or not all of it; whether it sleeps; the last job it was told of; nanoseconds in which it was ready to run but
had no core; its process, once it has begun; and the last turn that it did only in part."""

NEVER = 1 << 62
"""A value of ``STOLEN``: no turn is for this worker."""

FUTEX = 202
"""The number of the system call ``futex``, which sleeps on a number, and wakes those who do."""


def to(place: int) -> int:
    """The index at which the caller writes for the worker at this place (from 1)."""
    return LINE * (2 * place - 1)


def by(place: int) -> int:
    """The index at which the worker at this place writes."""
    return LINE * 2 * place


def fence() -> None:
    """A memory fence: others see earlier writes before any later read is made. Acquiring a lock does that."""
    allocate_lock().acquire(False)


class Abandoned(Exception):  # noqa: N818 - not an error: the run begins again without workers
    """A worker has ended or failed during its part of a region, and it is unknown how much of that is done."""
