"""The worker processes, as used by runs: which are available, and which run has them now.

To share a region, the caller only reads and writes a few numbers on the board, none of which have to be undone: whether
a worker is free is read from the board, and the run that has the workers is marked by an object that lives as long as
it. Whatever may fail, block or hold locks is done elsewhere (:mod:`.hiring`).
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
"""How often the caller polls the board before it starts to yield its core between polls."""
LOOK, HANGS = 0.05, 10.0
"""Seconds of waiting after which the state of a worker is checked; and the seconds, in addition to those of the run,
that it may compute, or make no progress, before it is ended."""


class WorkerProcesses(Hiring):
    """The workers, and how runs use them."""

    def __init__(self) -> None:
        super().__init__()
        self._claims: dict[int, Any] = {}
        self._claim = 0
        self._futex = libc().syscall

    def begin(self, job: Job, brief: bool, recent: bool) -> Turn | None:
        """Reserve the workers for a run of this job; None if it has to do without."""
        turn = Turn(job)
        try:
            if self._have(turn) and self._gather(turn, brief, recent):
                return turn
        except BaseException:  # its traceback, which a user may keep, would keep the turn alive
            turn.over = True
            raise
        turn.over = True
        return None

    def _have(self, turn: Turn) -> bool:
        """Claim the workers, if the run that had them is over: the next number belongs to the first run to enter it."""
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
        """Collect the workers that have begun, are trusted, and know the job."""
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
        """Wake those that sleep, on cores other than the caller's; return False if there is no other core."""
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
        """Move a worker off the caller's core: the system would wake it there, and leave it for milliseconds."""
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
        """Run a region on all workers, the caller among them.

        When the caller has done its own part, it also does those of workers that have not started. A worker that has
        started is waited for until it is done, or has ended; if the region is to be ``complete``, the caller then
        continues its part where it was left.

        Raises
        ------
        Abandoned
            If a part was left and cannot be continued. No worker is still in the region then, or writes to the run's
            memory.
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
        """Whether the worker has done its part; False if the caller must do it, None if it was begun and left.

        A worker is waited for as long as it makes progress: nobody else can do its part, and it may write to the run's
        memory.
        """
        pid = self.pid(link)  # read before checking whether it has started: later it may be its successor's
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
        if self.board[link.by + DONE] == 2 * number and not link.ended:  # else a successor may have written this
            return True
        return None if link.ended or self.board[link.by + FAILED] == number else False

    def _started(self, link: Link, number: int) -> bool:
        """Whether the worker has started on its part; if not, the part is taken from it."""
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
        """Wait for the worker's part, at most until ``until``; return whether the worker is through with it."""
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
        """Whether the worker, with this process id, has ended; the clerk may be closing its socket."""
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
        """Within a run, do something that takes long, or needs the cores that workers occupy."""
        self.board[DUTY] = 0
        function()
        self.board[DUTY] = 1
        fence()
        self._wake(turn.links)

    def end(self, turn: Turn, failed: bool) -> None:
        """End a run: no regions follow for now."""
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
        """Have a worker checked, as something may be wrong with it; not too often."""
        if now > link.suspected + 0.1:
            link.suspected = now
            self.clerk.ask(self._tend)
