"""Helper processes that run their share of a program's regions beside the caller.

NumPy releases the interpreter lock inside a call, but two threads of one interpreter meet at the lock between
their calls, and who meets it sleeps. A helper is a process forked from the caller: it has the program, its views and
the packed weights already, shares the arena, and has an interpreter lock of its own. It waits awake while a
program runs, so a region begins a microsecond after it is posted.

The two sides speak through a board of shared numbers. That one side sees the other's writes in the order in which they
were made is a property of x86-64; elsewhere (and where there is no ``fork``) programs run on threads.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import platform
import select
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NoReturn, TypeAlias

import numpy as np

from ..errors import ExecutionError
from .threads import hold_blas

Region: TypeAlias = "tuple[Callable[[int], object], int]"
"""A function of the worker's number, and how many workers there is work for."""

POSSIBLE = sys.platform == "linux" and platform.machine() == "x86_64" and hasattr(os, "fork")
"""Whether programs can have helper processes here."""

LINE = 8
"""Numbers of the board that share a line of the cache: each side writes lines of its own."""
TURN, REGION, DUTY = 0, 1, 2
DONE, ASLEEP, FAILED = 0, 1, 2

ALERT = 3_000
"""Looks at the board (of some 60 ns) that a helper takes after a run before it sleeps."""
PATIENCE = 2_000
"""Looks that either side takes before it lets others have the core between two looks."""
IDLE = 1_000
"""Milliseconds after which a sleeping helper looks whether its parent still lives."""


def shared_memory(nbytes: int) -> Any:
    """Bytes that forked processes share."""
    memory = mmap.mmap(-1, max(nbytes, 1))
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)[:nbytes]


class Crew:
    """The helpers of one bound program. Only one thread may use it at a time.

    Parameters
    ----------
    regions
        What there is to share. Worker 0 is the caller.
    helpers
        How many processes to start.
    """

    def __init__(self, regions: Sequence[Region], helpers: int) -> None:
        self._regions = regions
        self._board = memoryview(mmap.mmap(-1, mmap.PAGESIZE * (1 + helpers * LINE * 8 // mmap.PAGESIZE))).cast("q")
        self._turn = 0
        self._fence = Lock()
        self._places = range(LINE, LINE * (1 + helpers), LINE)
        self._bells = [os.eventfd(0) for _ in self._places]
        self._pids: list[int] = []
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._owner, self._pids, self._bells)
        for worker, place in enumerate(self._places, 1):
            self._pids.append(self._fork(worker, place))

    def _fork(self, worker: int, place: int) -> int:
        with warnings.catch_warnings():  # Python 3.12 warns of locks that other threads hold: a helper takes none
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _serve(self._regions, self._board, worker, place, self._bells[worker - 1], self._owner)
        return pid

    @property
    def alive(self) -> bool:
        """Whether it can be used: not closed, and not that of a parent of this process."""
        return self._end.alive and os.getpid() == self._owner

    def begin(self) -> None:
        """Wake the helpers: regions follow."""
        board = self._board
        board[DUTY] = 1
        self._order()
        for place, bell in zip(self._places, self._bells, strict=True):
            if board[place + ASLEEP]:
                os.eventfd_write(bell, 1)

    def end(self) -> None:
        """No regions follow for now."""
        self._board[DUTY] = 0

    def share(self, region: int) -> None:
        """Run a region on all workers, this thread among them."""
        board = self._board
        self._turn = turn = self._turn + 1
        try:
            board[REGION] = region
            board[TURN] = turn
            self._regions[region][0](0)
            for place in self._places:
                if board[place] != turn:
                    self._wait(place, turn)
        except BaseException:
            self.close()  # a helper may be in the middle of the region
            raise

    def _wait(self, place: int, turn: int) -> None:
        board, looks = self._board, 0
        while board[place] != turn:
            looks += 1
            if looks > PATIENCE:
                time.sleep(0 if looks < 2 * PATIENCE else 1e-4)
                if not looks % 256:
                    self._check()
        if board[place + FAILED]:
            self._regions[board[REGION]][0](place // LINE)  # here it raises what it raised there
            raise ExecutionError("a helper process failed; see its message on standard error")

    def _check(self) -> None:
        for pid in self._pids:
            try:
                gone, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                gone, status = pid, 0
            if gone:
                raise ExecutionError(f"helper process {pid} ended in the middle of a run (status {status})")

    def _order(self) -> None:
        """A lock orders what was written before with what is read after."""
        with self._fence:
            pass

    def close(self) -> None:
        """End the helpers."""
        self._end()


def _end(owner: int, pids: list[int], bells: list[int]) -> None:
    if os.getpid() != owner:  # a process that was forked by someone else has no claim on them
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    for bell in bells:
        os.close(bell)


def _serve(regions: Sequence[Region], board: Any, worker: int, place: int, bell: int, parent: int) -> NoReturn:
    """A helper's life. It ends with a signal, or when its parent has ended."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()
        np.seterr(all="ignore")
        with hold_blas():
            _work(regions, board, worker, place, _sleeper(board, place, bell, parent))
        status = 0
    finally:
        os._exit(status)


def _sleeper(board: Any, place: int, bell: int, parent: int) -> Callable[[], bool]:
    """A function that sleeps until the bell rings; False if the parent has ended meanwhile."""
    fence, poll = Lock(), select.poll()
    poll.register(bell, select.POLLIN)

    def sleep() -> bool:
        board[place + ASLEEP] = 1
        with fence:  # the caller sees that this one sleeps, or this one sees that the caller has begun
            pass
        while not board[DUTY]:
            if poll.poll(IDLE):
                os.eventfd_read(bell)
            elif os.getppid() != parent:
                return False
        board[place + ASLEEP] = 0
        return True

    return sleep


def _work(regions: Sequence[Region], board: Any, worker: int, place: int, sleep: Callable[[], bool]) -> None:
    turn = 1
    while True:
        looks = 0
        while board[TURN] < turn:
            looks += 1
            if looks > ALERT and not board[DUTY]:
                if not sleep():
                    return
                looks = 0
            elif looks > 100 * PATIENCE:  # a long serial stretch, or a parent that was killed in a run
                time.sleep(1e-4)
                if not looks % 1024 and os.getppid() == 1:
                    return
        try:
            function, workers = regions[board[REGION]]
            if worker < workers:
                function(worker)
        except Exception as error:  # noqa: BLE001 - the caller, who waits for this one, is to say what is wrong
            sys.stderr.write(f"lucid: a helper process failed: {error!r}\n")
            board[place + FAILED] = 1
        board[place + DONE] = turn
        turn += 1
