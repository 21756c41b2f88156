"""What the caller knows about one worker, what workers know about one program, and which run uses them now."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.arrays import Array
from .board import by, to
from .descriptor import Descriptor

FIRST, LAST = 0.02, 2.0
"""The first and the longest time (s) for which a worker is not used after it was not worth waiting for."""
SPARE, BURST = 0.2, 8e-3
"""The share of the time of runs that may be spent waiting for a worker without a core, and the seconds allowed on top
of that at once: two time slices, which the system gives to others now and then on any machine. The caller's own core
is taken as often, unnoticed; if each costs a quarter, both together do no more than one would alone."""


class Job:
    """A bound program as workers know it: its regions, and its number."""

    __slots__ = ("__weakref__", "memory", "message", "number", "regions")

    def __init__(self, number: int, regions: Sequence[int], message: bytes, memory: Sequence[Array]) -> None:
        self.number, self.regions, self.message, self.memory = number, frozenset(regions), message, memory


class Link:
    """One worker."""

    def __init__(self, number: int, place: int) -> None:
        self.number, self.place = number, place
        self.to, self.by = to(place), by(place)
        self.socket: Descriptor | None = None
        self.ended = False  # if so, its place on the board may be another worker's
        self.born = self.suspected = 0.0
        self.trusted = 0.0  # the time from which it may be used again
        self.pause = FIRST / 2
        self.lost = 0  # ``LOST``, as last read
        self.waited = 0.0  # seconds that this run has waited for it
        self.waits = self.losses = 0.0  # seconds waited for it, and without a core, in excess of what is allowed
        self.waiting: list[bytes] = []
        self.cores: set[int] = set()

    def judge(self, took: float, lost: float, now: float) -> None:
        """After a run in which it was without a core for ``lost`` seconds: distrust it if runs suffer from that.

        Waiting for a worker that has its core is a matter of sharing work better. If a worker without a core was not
        waited for, the caller has done its part in time.
        """
        self.waits = max(0.0, self.waits + self.waited - SPARE * took)
        self.losses = max(0.0, self.losses + lost - SPARE * took)
        self.waited = 0.0
        if min(self.waits, self.losses) > BURST:
            self.distrust(now)

    def distrust(self, now: float) -> None:
        """Do not use it for a while: the longer, the sooner this happens again."""
        again = now - self.trusted < 10 * self.pause + 1
        self.pause = min(LAST, 2 * self.pause) if again else FIRST
        self.trusted = now + self.pause
        self.waits = self.losses = 0.0


class Turn:
    """Shows, as long as it is alive and not over, that a run has the workers."""

    __slots__ = ("__weakref__", "began", "job", "links", "over")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.links: list[Link] = []
        self.over = False
        self.began = 0.0
