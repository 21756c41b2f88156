"""The worker processes, as a program that has work for them sees them: who is there, and who has them now.

What the caller does between two instructions of a run is a few numbers on the board, and none of it has to be undone:
whether a worker is free is read from the board, and who has the workers is told by an object that lives as long as the
run. What may fail, block or hold something is another's (:mod:`.hiring`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import weakref
from collections.abc import Callable, Sequence
from time import perf_counter, sleep
from typing import Any

from ...base.lazy import LazyModule
from .board import (
    ASLEEP,
    BELL,
    DONE,
    DUTY,
    FAILED,
    FUTEX,
    JOB,
    KNOWN,
    LOST,
    NEVER,
    REGION,
    REGIONS,
    START,
    STOLEN,
    TURN,
    Abandoned,
    fence,
)
from .cores import others
from .heap import libc
from .hiring import Hiring
from .hiring import identity as identity
from .link import Job, Link, Turn

launch = LazyModule("lucid.runtime.workers.launch")
vigil = LazyModule("lucid.runtime.workers.vigil")

PATIENCE = 2_000
"""Looks at the board that the caller takes before it lets others have the core between two looks."""
LOOK, HANGS = 0.05, 10.0
"""Seconds after which it is looked how a worker is that is waited for; and for how many more than the run has taken it
may compute, or for how many not get on, before it is ended."""


class WorkerProcesses(Hiring):
    """The workers, and their work."""

    def __init__(self) -> None:
        super().__init__()
        self._claims: dict[int, Any] = {}
        self._claim = 0
        self._futex = libc().syscall

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
        """The workers that are there, are trusted, and know the job."""
        board, known, now = self.board, turn.job.number, perf_counter()
        latest, links = board[TURN], self.links
        for link in links:
            board[link.to + STOLEN] = latest
        fence()
        for link in links:
            started, done = board[link.by + START], board[link.by + DONE]
            free = started <= done >> 1 and board[link.by + KNOWN] >= known
            if free and (now >= link.trusted or self.patient):
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
        turn.began = now
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

    def share(
        self, turn: Turn, index: int, function: Callable[[int], object], count: int, complete: bool = False
    ) -> None:
        """Run a region on all workers, the caller among them. Who has not started when the caller is done is too late.

        Who has started is waited for until it is done, or has ended. Where the region is to be ``complete``, the caller
        then takes up its part where that was left.

        Raises
        ------
        Abandoned
            Where a part was left and cannot be taken up. All workers have left the region then, and nobody writes to
            the run's memory.
        """
        board = self.board
        number = board[TURN] + 1
        board[REGION] = number * REGIONS + index
        board[JOB] = turn.job.number
        board[TURN] = number
        function(0)
        taken, left = 0, False
        for link in turn.links:
            if link.number < count and not link.ended:
                taken |= 1 << link.number
                if board[link.by + DONE] != 2 * number:
                    done = self._finish(link, number, turn.began)
                    left = left or (done is None and not complete)
                    if not (done or left):
                        function(link.number)
        if left:
            raise Abandoned
        for worker in range(1, count):
            if not taken >> worker & 1:
                function(worker)

    def _finish(self, link: Link, number: int, began: float) -> bool | None:
        """Whether the worker has done its part; False where the caller is to do it, None where it was begun and left.

        It is waited for as long as it gets on: what it is at nobody else can do, and it may write to the run's memory.
        """
        pid = self.pid(link)  # before it is looked whether it has started: later it may be that of who is in its place
        if not self._started(link, number):
            return False
        now, watch = perf_counter(), None
        while not self._done(link, number, perf_counter() + LOOK):
            if self._ended(link, pid):
                return None
            watch = watch or vigil.Vigil(pid, HANGS, HANGS + now - began)
            if watch.hangs():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        link.waited += perf_counter() - now
        if self.board[link.by + DONE] == 2 * number and not link.ended:  # else these are the words of another
            return True
        return None if link.ended or self.board[link.by + FAILED] == number else False

    def _started(self, link: Link, number: int) -> bool:
        """Whether the worker has started on its part; otherwise that is taken from it."""
        board, start = self.board, link.by + START
        if board[start] != number and not self.patient:
            board[link.to + STOLEN] = number
            fence()
            if board[start] != number:
                if board[link.by + ASLEEP]:
                    self._ring(link)
                return False
        return True

    def _done(self, link: Link, number: int, until: float) -> bool:
        """Wait for the worker's part, until then. Returns whether it is through with it."""
        board, done, looks = self.board, link.by + DONE, 0
        while board[done] >> 1 != number:
            looks += 1
            if looks > PATIENCE:
                sleep(0 if looks < 2 * PATIENCE else 1e-4)
                if board[link.by + ASLEEP]:
                    self._ring(link)
            if not looks % 64 and perf_counter() > until:
                return False
        return True

    def _ended(self, link: Link, pid: int) -> bool:
        """Whether the worker, which has this process, is no more; the clerk may be closing its socket."""
        try:
            if link.socket is not None and link.socket.ours:
                return link.ended or bool(launch.ended(link.socket.number))
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return link.ended

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
            link.judge(took, 1e-9 * (lost - link.lost), now)
            link.lost = lost

    def _suspect(self, link: Link, now: float) -> None:
        """Something is wrong with it: have that looked at, not too often."""
        if now > link.suspected + 0.1:
            link.suspected = now
            self.clerk.ask(self._tend)
