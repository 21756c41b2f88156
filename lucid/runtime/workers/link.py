"""What the caller knows of one worker, what workers were told of one program, and who has them now."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.arrays import Array
from .board import by, to
from .descriptor import Descriptor

FIRST, LAST = 0.02, 2.0
"""Seconds that a worker is left alone that is not worth waiting for: at first, and at most, where it was so again and
again."""
SPARE, BURST = 0.2, 8e-3
"""Share of the time of runs for which a worker may be waited for while it has no core, and the seconds beyond that
for which it may at once: two slices, which the system gives to others now and then on any machine. The caller's core
is taken as often, unseen; where each costs a fourth, what is left for both together is what one would do alone."""


class Job:
    """What workers were told of one bound program: which regions they know, under which number."""

    __slots__ = ("__weakref__", "memory", "message", "number", "regions")

    def __init__(self, number: int, regions: Sequence[int], message: bytes, memory: Sequence[Array]) -> None:
        self.number, self.regions, self.message, self.memory = number, frozenset(regions), message, memory


class Link:
    """One worker."""

    def __init__(self, number: int, place: int) -> None:
        self.number, self.place = number, place
        self.to, self.by = to(place), by(place)
        self.socket: Descriptor | None = None
        self.ended = False  # its place on the board may be another's
        self.born = self.suspected = 0.0
        self.trusted = 0.0  # from when on
        self.pause = FIRST / 2
        self.lost = 0  # as it last said
        self.waited = 0.0  # for it, in this run
        self.waits = self.losses = 0.0  # what runs have waited, and it was without a core, beyond what is spare
        self.waiting: list[bytes] = []
        self.cores: set[int] = set()

    def judge(self, took: float, lost: float, now: float) -> None:
        """After a run in which it was so long without a core: leave it alone if runs lose by that.

        What is waited for a worker that had its core is the program's to share out better; and where one had none but
        was not waited for, the caller has done its part in time.
        """
        self.waits = max(0.0, self.waits + self.waited - SPARE * took)
        self.losses = max(0.0, self.losses + lost - SPARE * took)
        self.waited = 0.0
        if min(self.waits, self.losses) > BURST:
            self.distrust(now)

    def distrust(self, now: float) -> None:
        """Leave it alone for a while, the longer the sooner after it was trusted again."""
        again = now - self.trusted < 10 * self.pause + 1
        self.pause = min(LAST, 2 * self.pause) if again else FIRST
        self.trusted = now + self.pause
        self.waits = self.losses = 0.0


class Turn:
    """Says, by being alive and not over, that a run has the workers."""

    __slots__ = ("__weakref__", "began", "job", "links", "over")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.links: list[Link] = []
        self.over = False
        self.began = 0.0
