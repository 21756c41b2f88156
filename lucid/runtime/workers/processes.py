"""The workers of this process, as the caller sees them: who there are, what they were told, and who has them now.

All that may fail, block or hold something is done by the :class:`~.clerk.Clerk`. What the caller does between two
instructions of a run is a few numbers on the board, and none of it has to be undone: whether a worker is free is read
from the board, and who has the workers is told by an object that lives as long as the run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np

from ...base.arrays import Array
from ...base.lazy import LazyModule
from .board import (
    ALIVE,
    ASLEEP,
    BELL,
    BYTES,
    DONE,
    DUTY,
    FUTEX,
    GAP,
    JOB,
    KNOWN,
    LEFT,
    LINE,
    LOST,
    MESSAGE,
    NEVER,
    PROBE,
    PROBED,
    REGION,
    REGIONS,
    START,
    STOLEN,
    TURN,
    WORKERS,
    Late,
    fence,
)
from .clerk import Clerk
from .cores import available_cores, others
from .descriptor import Descriptor
from .heap import Heap, libc, memory_at
from .link import Job, Link, Turn
from .parcel import Region, pack

launch = LazyModule("lucid.runtime.workers.launch")

PATIENCE = 2_000
"""Looks at the board that the caller takes before it lets others have the core between two looks."""
WAIT = 0.002
"""Seconds that a caller waits for a worker that has started, at least; besides as long again as its own part took."""
TOLERANCE = 150_000
"""Nanoseconds without a core, of those in which it is to keep one busy, after which a worker is thought to share it."""
BIRTH = 300.0
"""Seconds that a worker may take to begin: it waits for time that nobody else wants."""
PATIENT = 20.0
"""Seconds that a patient caller waits for a worker."""
FAILURES = 3
"""Workers in a row that never began, after which no more are started."""


class WorkerProcesses:
    """The workers, up to a number that may change.

    Raises
    ------
    OSError
        Where there is no memory to share.
    """

    patient = False
    """Whether callers wait for workers, however long they take: for tests."""
    modest = True
    """Whether workers begin in time that nobody else wants; not in tests."""

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
        self._claims: dict[int, Any] = {}
        self._claim = 0
        self._jobs: dict[Any, int] = {}
        self._numbers = 0
        self._futex = libc().syscall
        self._withdrawn: list[Any] = []

    # ------------------------------------------------------------ the caller's side

    def begin(self, job: Job, brief: bool, recent: bool) -> Turn | None:
        """Have the workers for a run of this job; None where it is to do without."""
        turn = Turn(job)
        try:
            if self._have(turn) and self._gather(turn, brief, recent):
                return turn
        except BaseException:  # whose traceback, which a user may keep, would keep the turn
            turn.over = True
            raise
        turn.over = True
        return None

    def _have(self, turn: Turn) -> bool:
        """Claim the workers: the next number is whose who enters it first, once the run that has the last is over."""
        claims, number, ref = self._claims, self._claim, weakref.ref(turn)
        while True:
            found = claims.setdefault(number, ref)
            if found is not ref:
                holder = found()
                if holder is not None and not holder.over:
                    return False
            elif self._claim <= number:
                break
            number = max(number + 1, self._claim)
        self._claim = number
        for old in [n for n in tuple(claims) if n < number]:
            claims.pop(old, None)
        return True

    def _gather(self, turn: Turn, brief: bool, recent: bool) -> bool:
        """The workers that are there, have a core, and know the job."""
        board, known, now = self.board, turn.job.number, perf_counter()
        latest, links = board[TURN], self.links
        for link in links:
            board[link.to + STOLEN] = latest
        fence()
        for link in links:
            started, done = board[link.by + START], board[link.by + DONE]
            free = started <= done >> 1 and board[link.by + KNOWN] >= known
            if free and (link.proven or self.patient or self._prove(link, now)):
                turn.links.append(link)
            else:
                board[link.to + STOLEN] = NEVER
                if started > done >> 1:
                    self._suspect(link, now)
        if not turn.links:
            return False
        if brief and not self.patient and any(board[link.by + ASLEEP] for link in turn.links):
            if recent:
                self._wake(turn.links)
            return False
        turn.began, turn.first = now, latest
        board[DUTY] = 1
        fence()
        return self._wake(turn.links)

    def _wake(self, links: Sequence[Link]) -> bool:
        """Ring for those that sleep, on cores where the caller is not. False where there is no other core."""
        asleep = [link for link in links if self.board[link.by + ASLEEP]]
        if asleep:
            cores = others()
            if not cores and not self.patient:
                return False
            for link in asleep:
                if link.cores != cores:
                    self._move(link, cores)
                self._ring(link)
        return True

    def _move(self, link: Link, cores: set[int]) -> None:
        """The system would wake it where its waker is, and leave both there for milliseconds."""
        if link.socket is not None and link.socket.ours and not launch.ended(link.socket.number):
            link.cores = cores
            with contextlib.suppress(OSError):
                os.sched_setaffinity(self.pid(link), cores)

    def _ring(self, link: Link) -> None:
        place = link.to + BELL
        self.board[place] = (self.board[place] + 1) & 0x7FFFFFFF
        self._futex(FUTEX, ctypes.c_void_p(self.heap.base + 8 * place), 1, 1, None, None, 0)

    def share(self, turn: Turn, index: int, function: Callable[[int], object], count: int) -> None:
        """Run a region on all workers, the caller among them. Who has not started when the caller is done is too late.

        Raises
        ------
        Late
            Where a worker has started and is not heard of: it may write to the run's memory at any time.
        """
        board = self.board
        number = board[TURN] + 1
        board[REGION] = number * REGIONS + index
        board[JOB] = turn.job.number
        board[TURN] = number
        began = perf_counter()
        function(0)
        taken = 0
        for link in turn.links:
            if link.number < count:
                taken |= 1 << link.number
                if board[link.by + DONE] != 2 * number and not self._finish(link, number, began):
                    function(link.number)
        for worker in range(1, count):
            if not taken >> worker & 1:
                function(worker)

    def _finish(self, link: Link, number: int, began: float) -> bool:
        """Whether the worker has done its part; False where the caller is to do it."""
        board, start, done = self.board, link.by + START, link.by + DONE
        if board[start] != number and not self.patient:
            board[link.to + STOLEN] = number
            fence()
            if board[start] != number:
                if board[link.by + ASLEEP]:
                    self._ring(link)
                return False
        now = perf_counter()
        until = now + (PATIENT if self.patient else max(WAIT, now - began))
        looks = 0
        while board[done] >> 1 != number:
            looks += 1
            if looks > PATIENCE:
                sleep(0 if looks < 2 * PATIENCE else 1e-4)
                if board[link.by + ASLEEP]:
                    self._ring(link)
            if not looks % 64 and perf_counter() > until:
                late = perf_counter()
                link.lose(late - now, late)
                raise Late
        return bool(board[done] == 2 * number)

    def rest(self, turn: Turn, function: Callable[[], object]) -> None:
        """Do something that takes long, or needs the cores, in the midst of a run."""
        self.board[DUTY] = 0
        function()
        self.board[DUTY] = 1
        fence()
        self._wake(turn.links)

    def end(self, turn: Turn, failed: bool) -> None:
        """No regions follow for now."""
        board = self.board
        board[DUTY] = 0
        if failed:
            for link in turn.links:
                board[link.to + STOLEN] = NEVER
            turn.over = True
            return
        turn.over = True
        now = perf_counter()
        took = now - turn.began
        for link in turn.links:
            lost = board[link.by + LOST]
            absent = took if took > 1e-3 and board[link.by + START] <= turn.first else 0.0
            link.lose(max(1e-9 * (lost - link.lost), absent), now)
            link.lost = lost

    def _prove(self, link: Link, now: float) -> bool:
        """Whether a worker that was not trusted has answered meanwhile that it has a core to itself; asks it."""
        board = self.board
        asked = board[link.to + PROBE]
        if now < link.retry:
            return False
        if board[link.by + PROBED] != asked:
            if now > link.retry + 1:
                self._suspect(link, now)
            return False
        if link.told != asked:  # the answer to what was asked is there
            link.told = asked
            if board[link.by + GAP] < TOLERANCE:
                link.proven, link.since, link.lost = True, now, board[link.by + LOST]
                return True
            link.distrust(now)
            return False
        board[link.to + PROBE] = asked + 1
        link.retry = now
        fence()
        self._wake([link])
        return False

    def _suspect(self, link: Link, now: float) -> None:
        """Something is wrong with it: have that looked at, not too often."""
        if now > link.retry:
            link.retry = now + 0.1
            self.clerk.ask(self._tend)

    # ------------------------------------------------------------ the clerk's side

    def want(self, count: int) -> None:
        """Have so many workers from now on; they come when they come."""
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
        """Wait until all workers have begun and know all there is to be known; False where that takes too long."""
        board, end = self.board, monotonic() + seconds
        asked: list[int] = []
        self.clerk.ask(partial(asked.append, 1))  # is done after all that was asked before
        while monotonic() < end:
            latest = max(tuple(self._jobs.values()), default=0)
            known = [board[link.by + KNOWN] >= latest and board[link.by + ALIVE] for link in self.links]
            if asked and len(known) == self.wanted and all(known):
                return True
            sleep(0.001)
        return False

    def publish(self, regions: Sequence[Region], constants: Sequence[Array], take: Callable[[Job], object]) -> None:
        """Tell the workers of a program's regions; ``take`` is then called with the job."""
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
        """A job or a place in the heap that nobody has any more."""
        number = self._jobs.pop(ref, None)
        if number is not None:
            self._tell(MESSAGE.pack(number, 0, 0))
        else:
            self._withdrawn.append(ref)
            self._settle()

    def _settle(self) -> None:
        """Free what no worker can be writing to; look again soon where one might."""
        board = self.board
        if not self._withdrawn or all(map(self._past, [*self.links, *self.leaving])):
            while self._withdrawn:
                self.heap.give_back(self._withdrawn.pop())
        missing = len(self.links) < self.wanted and self.failures < FAILURES
        self.clerk.restless = bool(self._withdrawn or self.leaving or missing) or any(
            link.waiting or not board[link.by + ALIVE] for link in self.links
        )

    def _past(self, link: Link) -> bool:
        """Whether it does nothing, and will not begin on what was posted last."""
        board, to = self.board, link.to
        done = board[link.by + DONE] >> 1
        refused = board[to + STOLEN] >= board[TURN] or board[to + LEFT]
        return bool(board[link.by + START] <= done and (done >= board[TURN] or refused))

    def _tend(self) -> None:
        """Let there be as many workers as are wanted, and those alive."""
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
        """Begin no more turns with it, and have its end looked for; its place stays its own until then."""
        self.failures += failed
        self.board[link.to + LEFT] = 1
        fence()
        self.links = [other for other in self.links if other is not link]
        self.leaving.append(link)
        if link.socket is not None and link.socket.ours:
            launch.hang_up(link.socket.number)

    def retire(self) -> None:
        """Let all workers go: this process is another's now, or it wants none."""
        self.wanted = 0
        self.clerk.ask(self._tend)

    def leave(self) -> None:
        """In a forked child, which has no workers and must not reach its parent's memory."""
        for link in (*self.links, *self.leaving):
            if link.socket is not None:
                link.socket.close()
        self.file.close()
        self.heap.leave()


def identity() -> tuple[tuple[int, ...], int]:
    """As whom this process runs."""
    return os.getresuid(), os.getegid()
