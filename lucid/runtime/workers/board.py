"""The board: numbers of 64 bits at the heap's beginning, by which a caller and the workers speak.

That one side sees the other's writes in the order in which they were made is a property of x86-64; elsewhere programs
run on threads. Each line of the cache is written by one side only.

A region is posted as a *turn*. A worker that sees a new turn says that it starts, and then looks whether the turn was
taken from it; the caller, when its own blocks are done, says that it takes the turn, and then looks whether the worker
has started. Between saying and looking each passes a fence, so at least one of them sees the other; where both do, the
worker leaves the turn alone, and says so.

Each process has lines of its own, its *place*, which no other is given before it is known to have ended: one that is
told to go, or that begins late, does not speak for its successor.
"""

from __future__ import annotations

import struct
from _thread import allocate_lock

MESSAGE = struct.Struct("qqq")
"""What a worker is told of a job through its socket: its number, and where in the heap it is described in how many
bytes; it is to be forgotten where there are none."""

LINE = 8
"""Numbers of the board that share a line of the cache."""
WORKERS = 255
"""The most there are, those included that have not ended yet."""
BYTES = 8 * LINE * (1 + 2 * WORKERS)

TURN, JOB, REGION, DUTY = 0, 1, 2, 3
"""How many regions were posted; of which job, and which of it, the last is; whether more may follow soon."""

REGIONS = 1 << 20
"""``REGION`` holds the number of its turn times this, and the region: a worker that nobody waits for in a turn may look
while the next is posted, and would take that one's region for its own. It is written before ``JOB``, and read after."""

STOLEN, BELL, LEFT = range(3)
"""What the caller says to one worker: the last turn that is not for it; the number it sleeps on; and whether it is to
go, so that nothing is for it any more."""

START, DONE, ASLEEP, KNOWN, LOST, ALIVE, FAILED = range(7)
"""What a worker says: the last turn it started; twice the last it is through with, one more where it did nothing or not
all; whether it sleeps; the last job it was told of; nanoseconds in which it wanted a core and had none; its process,
once it has begun; and the last turn of which it did not do all."""

NEVER = 1 << 62
"""As ``STOLEN``: no turn is for this worker."""

FUTEX = 202
"""The number of the system call that sleeps on a number, and wakes who does."""


def to(place: int) -> int:
    """Where the caller writes to the worker of this place, the first of which is number 1."""
    return LINE * (2 * place - 1)


def by(place: int) -> int:
    """Where that worker writes."""
    return LINE * 2 * place


def fence() -> None:
    """What was written before is seen by others before anything is read after: taking a lock (any) does that."""
    allocate_lock().acquire(False)


class Abandoned(Exception):  # noqa: N818 - not an error: the run begins again without workers
    """A worker has ended or failed at its part of a region, of which it is not known how much is done."""
