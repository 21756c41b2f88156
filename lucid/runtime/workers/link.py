"""What the caller knows of one worker, what workers were told of one program, and who has them now."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.arrays import Array
from .board import by, to
from .descriptor import Descriptor

FIRST, LAST = 0.02, 2.0
"""Seconds that a worker is left alone that shares its core: at first, and at most, where it was found so again and
again."""
SPARE, BURST = 0.1, 8e-3
"""Share of the time that a worker may want a core and have none, and the seconds that it may be without at once: two
slices, which the system gives to others now and then on any machine."""


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
        self.born = 0.0
        self.proven = False
        self.since = self.retry = 0.0
        self.pause = FIRST / 2
        self.lost = 0
        self.debt = self.paid = 0.0
        self.told = 0
        self.waiting: list[bytes] = []
        self.cores: set[int] = set()

    def lose(self, seconds: float, now: float) -> None:
        """It was so long without a core: leave it alone if that comes often."""
        self.debt = max(0.0, self.debt - SPARE * (now - self.paid)) + seconds
        self.paid = now
        if self.debt > BURST:
            self.debt = 0.0
            self.distrust(now)

    def distrust(self, now: float) -> None:
        """Leave it alone for a while, the longer the sooner after it was last thought to have a core to itself."""
        again = not self.proven or now - self.since < 10 * self.pause + 1
        self.pause = min(LAST, 2 * self.pause) if again else FIRST
        self.proven = False
        self.retry = now + self.pause


class Turn:
    """Says, by being alive and not over, that a run has the workers."""

    __slots__ = ("__weakref__", "began", "first", "job", "links", "over")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.links: list[Link] = []
        self.over = False
        self.began = 0.0
        self.first = 0
