"""Keeping the wanted number of worker processes alive, and informed of programs.

All of this is done in the thread of the :class:`~.clerk.Clerk`, since it may fail, block or hold locks.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, sleep
from typing import Any

import numpy as np

from ...base.arrays import Array
from ...base.lazy import LazyModule
from .board import (
    ALIVE,
    BYTES,
    DONE,
    KNOWN,
    LEFT,
    LINE,
    MESSAGE,
    NEVER,
    START,
    STOLEN,
    TURN,
    WORKERS,
    fence,
)
from .clerk import Clerk
from .cores import available_cores
from .descriptor import Descriptor
from .heap import Heap, Lasting, memory_at
from .link import Job, Link
from .parcel import Region, pack

launch = LazyModule("lucid.runtime.workers.launch")

BIRTH = 300.0
"""Seconds that a worker may take to begin: it starts at idle priority."""
FAILURES = 3
"""The number of consecutive workers that never began, after which no more are started."""


class Hiring:
    """The workers, up to a number that can be changed.

    Raises
    ------
    OSError
        If there is no shared memory.
    """

    patient = False
    """Whether callers wait for workers however long they take; for tests."""
    modest = True
    """Whether workers start at idle priority; not in tests."""

    def __init__(self) -> None:
        self.clerk = Clerk(self._gone, self._tend)
        self.heap = Heap(self.clerk.queue.put)
        self.board = memory_at(self.heap.base, BYTES)
        self.file = Descriptor(self.heap.file)
        self.identity = identity()
        self.wanted = 0
        self.links: list[Link] = []
        self.leaving: list[Link] = []
        self.failures = 0
        self._jobs: dict[Any, int] = {}
        self._numbers = 0
        self._withdrawn: list[object] = []

    def want(self, count: int) -> None:
        """Set the number of workers; they start in the background."""
        count = min(count, WORKERS if self.patient else available_cores() - 1)
        if count != self.wanted and self.failures < FAILURES:
            self.wanted = count
            if not self.clerk.ask(self._tend):
                self.failures = FAILURES

    def pid(self, link: Link) -> int:
        """The worker's process; 0 while it has not begun."""
        return int(self.board[link.by + ALIVE])

    @property
    def hopeless(self) -> bool:
        """Whether there are no workers, and none will come."""
        return not self.links and self.failures >= FAILURES

    def settle(self, seconds: float = 30.0) -> bool:
        """Wait until all workers have begun and know all jobs; return False if that takes too long."""
        board, end = self.board, monotonic() + seconds
        asked: list[int] = []
        self.clerk.ask(partial(asked.append, 1))  # runs after all tasks queued before
        while monotonic() < end:
            latest = max(tuple(self._jobs.values()), default=0)
            known = [board[link.by + KNOWN] >= latest and board[link.by + ALIVE] for link in self.links]
            if asked and len(known) == self.wanted and all(known):
                return True
            sleep(0.001)
        return False

    def publish(self, regions: Sequence[Region], constants: Sequence[Array], take: Callable[[Job], object]) -> None:
        """Describe a program's regions to the workers, then call ``take`` with the job."""
        self.clerk.ask(partial(self._publish, regions, constants, take))

    def _publish(self, regions: Sequence[Region], constants: Sequence[Array], take: Callable[[Job], object]) -> None:
        described, known, copies = pack(regions, self.heap, constants)
        block = self.heap.take(len(described))
        if not known or block is None:
            return
        block[:] = np.frombuffer(described, np.uint8)
        place = self.heap.offset(block.ctypes.data)
        assert place is not None
        self._numbers += 1
        message = MESSAGE.pack(self._numbers, place, len(described))
        job = Job(self._numbers, known, message, (block, *copies))
        self._jobs[weakref.ref(job, self.clerk.queue.put)] = job.number
        self._tell(message)
        take(job)

    def _tell(self, message: bytes) -> None:
        for link in self.links:
            link.waiting.append(message)
        self._deliver()

    def _deliver(self) -> None:
        for link in self.links:
            while link.waiting and link.socket is not None and link.socket.ours:
                try:
                    if not launch.send(link.socket.number, link.waiting[0]):
                        break
                except OSError:
                    break
                link.waiting.pop(0)
        self._settle()

    def _gone(self, ref: object) -> None:
        """Note that a job, or a place in the heap, is no longer referenced."""
        number = self._jobs.pop(ref, None)
        if number is not None:
            self._tell(MESSAGE.pack(number, 0, 0))
        else:
            self._withdrawn.append(ref)
            self._settle()

    def _settle(self) -> None:
        """Free whatever no worker can still be writing to; try again soon for the rest."""
        board = self.board
        if not self._withdrawn or all(map(self._past, [*self.links, *self.leaving])):
            while self._withdrawn:
                self.heap.give_back(self._withdrawn.pop())
        missing = len(self.links) < self.wanted and self.failures < FAILURES
        self.clerk.restless = bool(self._withdrawn or self.leaving or missing) or any(
            link.waiting or not board[link.by + ALIVE] for link in self.links
        )

    def _past(self, link: Link) -> bool:
        """Whether a worker is idle, and will not begin on the turn that was posted last."""
        board, to = self.board, link.to
        done = board[link.by + DONE] >> 1
        refused = board[to + STOLEN] >= board[TURN] or board[to + LEFT]
        return bool(board[link.by + START] <= done and (done >= board[TURN] or refused))

    def _tend(self) -> None:
        """Start workers until there are as many as wanted, and replace those that have ended."""
        now = monotonic()
        for link in tuple(self.links):
            if link.socket is None or not link.socket.ours or launch.ended(link.socket.number):
                self._dismiss(link, failed=not self.board[link.by + ALIVE])
            elif not self.board[link.by + ALIVE] and now - link.born > BIRTH:
                self._dismiss(link, failed=True)
            elif self.board[link.by + ALIVE]:
                self.failures = 0
        while len(self.links) > self.wanted:
            self._dismiss(self.links[-1], failed=False)
        for link in tuple(self.leaving):
            if link.socket is not None and link.socket.ours and launch.ended(link.socket.number):
                link.ended = True
                link.socket.close()
                self.leaving.remove(link)
        taken = {link.number for link in self.links}
        for number in range(1, self.wanted + 1):
            if number not in taken and self.failures < FAILURES:
                self._hire(number)
        self._deliver()

    def _hire(self, number: int) -> None:
        places = set(range(1, WORKERS + 1)) - {link.place for link in (*self.links, *self.leaving)}
        if not self.file.ours or not places or identity() != self.identity:
            self.failures = FAILURES
            return
        board, link = self.board, Link(number, min(places))
        for place in range(link.to, link.to + 2 * LINE):
            board[place] = 0
        board[link.to + STOLEN] = NEVER
        try:
            link.socket = Descriptor(launch.launch(number, link.place, self.heap.size, self.heap.file, self.modest))
        except OSError:
            self.failures += 1
            return
        link.born = monotonic()
        jobs = [job for ref in tuple(self._jobs) if (job := ref()) is not None]
        link.waiting = [job.message for job in sorted(jobs, key=lambda job: job.number)]
        del jobs
        self.links = sorted([*self.links, link], key=lambda link: link.number)

    def _dismiss(self, link: Link, failed: bool) -> None:
        """Give a worker no more turns, and watch for its end; its place stays reserved until then."""
        self.failures += failed
        self.board[link.to + LEFT] = 1
        fence()
        self.links = [other for other in self.links if other is not link]
        self.leaving.append(link)
        if link.socket is not None and link.socket.ours:
            launch.hang_up(link.socket.number)

    def retire(self) -> None:
        """Dismiss all workers, because none are wanted, or because the process now runs as another user."""
        self.wanted = 0
        self.clerk.ask(self._tend)

    def leave(self, lasting: Lasting | None) -> None:
        """In a forked child: drop the parent's workers and leave its memory."""
        for link in (*self.links, *self.leaving):
            if link.socket is not None:
                link.socket.close()
        self.file.close()
        self.heap.leave(lasting)


def identity() -> tuple[tuple[int, ...], int]:
    """The user and group that this process runs as."""
    return os.getresuid(), os.getegid()
