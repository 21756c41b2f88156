"""Helper processes that run their share of a program's regions beside the caller.

NumPy releases the interpreter lock inside a call, but two threads of one interpreter meet at the lock between
their calls, and who meets it sleeps. A helper is a process forked from the caller: it has the program, its views and
the packed weights already, shares the arena, and has an interpreter lock of its own. It waits awake while a
program runs, so a region begins a microsecond after it is posted.

The two sides speak through a board of shared numbers. That one side sees the other's writes in the order in which they
were made is a property of x86-64; elsewhere (and where there is no ``fork``) programs run on threads.

What else the caller has is none of a helper's business: it closes the caller's files (a pipe's other end would wait for
it), hears no signals (an interrupt is the caller's, and so are its handlers), and ends when the caller does.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
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
from .cores import keep_off

Region: TypeAlias = "tuple[Callable[[int], object], int]"
"""A function of the worker's number, and how many workers there is work for."""

_this_process = [os.getpid()]
"""Asked of the system once: that takes a fifth of a microsecond."""

POSSIBLE = sys.platform == "linux" and os.uname().machine == "x86_64" and hasattr(os, "eventfd")
"""Whether programs can have helper processes here."""

LINE = 8
"""Numbers of the board that share a line of the cache: each side writes lines of its own."""
TURN, REGION, DUTY = 0, 1, 2
"""How many regions were posted, the last of them, and whether more may follow."""
DONE, ASLEEP, ALIVE = 0, 1, 2
"""The last turn that a helper has done, negative where it failed; whether it sleeps; whether it has begun."""

WORDS = 512
"""Bytes at the board's end for what a helper that fails has to say."""

ALERT = 3_000
"""Looks at the board (of some 60 ns) that a helper takes after a run before it sleeps."""
PATIENCE = 2_000
"""Looks that either side takes before it lets others have the core between two looks."""
BIRTH = 2.0
"""Seconds that a helper may take to begin."""
IDLE = 1_000
"""Milliseconds after which a sleeping helper looks whether the caller still lives."""


def shared_memory(nbytes: int) -> Any:
    """Bytes that forked processes share."""
    memory = mmap.mmap(-1, max(nbytes, 1))
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)[:nbytes]


class Crew:
    """The helpers of one bound program. Only one thread may use it at a time.

    They do as this process did when they were forked: BLAS should be held to one thread by then.

    Parameters
    ----------
    regions
        What there is to share. Worker 0 is the caller.
    helpers
        How many processes to start.

    Raises
    ------
    OSError
        Where there can be no more processes or files, or one does not come to life.
    """

    def __init__(self, regions: Sequence[Region], helpers: int) -> None:
        self._regions = regions
        self._board = memoryview(mmap.mmap(-1, 8 * LINE * (1 + helpers) + WORDS)).cast("q")
        self._places = range(LINE, LINE * (1 + helpers), LINE)
        self._bells: list[int] = []
        self._pids: list[int] = []
        self._owner = os.getpid()
        self._closed = False
        self._end = weakref.finalize(self, _end, self._owner, self._pids, self._bells)
        try:
            for worker, place in enumerate(self._places, 1):
                self._bells.append(os.eventfd(0))
                self._fork(worker, place)
            self._meet()
        except BaseException:
            self.close()
            raise

    def _fork(self, worker: int, place: int) -> None:
        """Without signals: none comes between a fork and the note of it, and a helper never leaves this function."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():  # Python 3.12 warns of locks that other threads hold: a helper takes none
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                _serve(self._regions, self._board, worker, place, self._bells[-1], self._owner)
            self._pids.append(pid)
            keep_off([pid])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _meet(self) -> None:
        """Wait until every helper has begun: a lock that some thread held at the fork may be in its way."""
        end = time.monotonic() + BIRTH
        while not all(self._board[place + ALIVE] for place in self._places):
            if time.monotonic() > end:
                raise OSError(f"a helper process did not begin within {BIRTH} seconds")
            time.sleep(1e-4)

    @property
    def usable(self) -> bool:
        """Whether there are helpers (still) that this process may use."""
        return not self._closed and self._owner == _this_process[0]

    @property
    def asleep(self) -> bool:
        """Whether a helper would have to be waited for."""
        board = self._board
        for place in self._places:  # noqa: SIM110 - any() takes a fifth of a microsecond, and each brief run asks
            if board[place + ASLEEP]:
                return True
        return False

    def begin(self) -> bool:
        """Wake the helpers: regions follow. False where there are none (any more) that this process may use."""
        if not self.usable:
            return False
        self._board[DUTY] = 1
        _order()
        return self.rouse()

    def rouse(self) -> bool:
        """Ring for the helpers that sleep. False where one has ended."""
        board = self._board
        for pid, place, bell in zip(self._pids, self._places, self._bells, strict=True):
            if board[place + ASLEEP]:
                if _ended(pid) is not None:
                    self.close()
                    return False
                keep_off([pid])
                os.eventfd_write(bell, 1)
        return True

    def end(self) -> None:
        """No regions follow for now."""
        self._board[DUTY] = 0

    def share(self, region: int) -> None:
        """Run a region on all workers, this thread among them."""
        board = self._board
        try:
            turn = board[TURN] + 1
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
        while abs(board[place]) != turn:
            looks += 1
            if board[place + ASLEEP] and looks % 64 == 1 and not self.rouse():
                raise ExecutionError("a helper process ended while it slept")
            if looks > PATIENCE:
                time.sleep(0 if looks < 2 * PATIENCE else 1e-4)
                if not looks % 256:
                    self._check()
        if board[place] < 0:
            self._regions[board[REGION]][0](place // LINE)  # here it raises what it raised there
            raise ExecutionError(f"a helper process failed where this one does not: {_said(board)}")

    def _check(self) -> None:
        for pid in self._pids:
            how = _ended(pid)
            if how is not None:
                raise ExecutionError(f"helper process {pid} ended in the middle of a run ({how})")

    def close(self) -> None:
        """End the helpers."""
        self._closed = True
        self._end()


def _order() -> None:
    """A lock (any) orders what was written before with what is read after."""
    with Lock():
        pass


def _end(owner: int, pids: Sequence[int], bells: Sequence[int]) -> None:
    if os.getpid() == owner:  # a process that was forked by someone else has no claim on them
        alive = [pid for pid in pids if _ended(pid) is None]  # the number of one that has ended may be another's now
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in alive:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    for bell in bells:
        os.close(bell)


def _ended(pid: int) -> str | None:
    """How a child of this process ended; None while it lives."""
    try:
        gone, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # someone else has asked already
        return "status unknown"
    return f"status {os.waitstatus_to_exitcode(status)}" if gone else None


def _serve(regions: Sequence[Region], board: Any, worker: int, place: int, bell: int, parent: int) -> NoReturn:
    """A helper's life. It ends with a signal, or when its parent has ended."""
    status = 1
    try:
        gc.disable()
        np.seterr(all="ignore")
        _close_files(bell)
        _work(regions, board, worker, place, _sleeper(board, place, bell, parent), parent)
        status = 0
    finally:
        os._exit(status)


def _say(board: Any, words: str) -> None:
    board.obj[-WORDS:] = words.encode("ascii", "backslashreplace")[:WORDS].ljust(WORDS)


def _said(board: Any) -> str:
    return str(board.obj[-WORDS:], "ascii").rstrip()


def _close_files(but: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        for file in map(int, os.listdir("/proc/self/fd")):
            if file != but:
                os.closerange(file, file + 1)  # which does not mind that one is closed: the list's own is


def _sleeper(board: Any, place: int, bell: int, parent: int) -> Callable[[int], bool]:
    """A function that sleeps until the bell rings, or there is this turn; False if the parent has ended meanwhile."""
    poll = select.poll()
    poll.register(bell, select.POLLIN)

    def sleep(turn: int) -> bool:
        board[place + ASLEEP] = 1
        _order()  # the caller sees that this one sleeps, or this one sees that the caller has begun
        while not board[DUTY] and board[TURN] < turn:
            if poll.poll(IDLE):
                os.eventfd_read(bell)
                break
            if os.getppid() != parent:
                return False
        board[place + ASLEEP] = 0
        return True

    return sleep


def _work(
    regions: Sequence[Region], board: Any, worker: int, place: int, sleep: Callable[[int], bool], parent: int
) -> None:
    turn = 1
    board[place + ALIVE] = 1
    while True:
        looks = 0
        while board[TURN] < turn:
            looks += 1
            if looks > ALERT and not board[DUTY]:
                if not sleep(turn):
                    return
                looks = 0
            elif looks > 100 * PATIENCE:  # a long serial stretch, or a parent that was killed in a run
                time.sleep(1e-4)
                if not looks % 1024 and os.getppid() != parent:
                    return
        try:
            function, workers = regions[board[REGION]]
            if worker < workers:
                function(worker)
            board[place + DONE] = turn
        except Exception as error:  # noqa: BLE001 - the caller, who waits for this one, is to say what is wrong
            _say(board, repr(error))
            board[place + DONE] = -turn
        turn += 1


def _note_process() -> None:
    _this_process[0] = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_process)
