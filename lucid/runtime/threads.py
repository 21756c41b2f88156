"""The thread pool that kernels share their blocks over; BLAS's own threads are kept out of its way.

NumPy releases the interpreter lock inside its loops and products, so Python threads over blocks of work
run at the same time. While they do, BLAS is held to one thread; afterwards it gets its own back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock, get_native_id, local

import numpy as np

from ..errors import OptionError
from ..lazy import futures, pathlib
from .blas import Hold
from .cores import available_cores, keep_off

_blas = Hold()  # one for all pools: programs that began with an earlier pool may still hold it
_thread = local()  # has ``worker`` in the threads of any pool


def _mark_worker(workers: list[int]) -> None:
    # no method of the pool: its workers would keep it alive, and so themselves
    _thread.worker = True
    workers.append(get_native_id())
    np.seterr(all="ignore")  # as in the caller, whose program runs with NumPy's warnings off


class ThreadPool:
    """Runs blocks of work on a fixed number of threads, the caller's among them.

    Only one caller has the workers at a time; another that comes meanwhile runs its blocks itself, so
    that several models running at once never use more threads than there are callers and workers.
    """

    def __init__(self, threads: int, processes: bool = True) -> None:
        self.threads = threads
        self.processes = processes
        self._executor: futures.ThreadPoolExecutor | None = None
        self._workers: list[int] = []
        self._free = Lock()

    def run(self, function: Callable[[int], object], count: int) -> None:
        """``function(i)`` for every i below ``count``, possibly at the same time; the first error is raised."""
        alone = count == 1 or self.threads == 1 or getattr(_thread, "worker", False)
        if alone or not self.claim():
            for i in range(count):
                function(i)
        else:
            try:
                with _blas:
                    self._share(function, count)
            finally:
                self.unclaim()

    def claim(self) -> bool:
        """Take all cores but the caller's own; False where another caller has them."""
        return self._free.acquire(blocking=False)

    def unclaim(self) -> None:
        """Give them back."""
        self._free.release()

    def _share(self, function: Callable[[int], object], count: int) -> None:
        if self._executor is None:
            self._workers = []
            started = futures.ThreadPoolExecutor(self.threads - 1, "lucid", _mark_worker, (self._workers,))
            self._executor = started
        keep_off(self._workers)
        tickets = iter(range(count))
        lock = Lock()

        def work() -> None:
            while True:
                with lock:
                    i = next(tickets, None)
                if i is None:
                    return
                function(i)

        helpers: list[futures.Future[None]] = [self._executor.submit(work) for _ in range(min(self.threads, count) - 1)]
        try:
            work()
        finally:
            errors = [helper.exception() for helper in helpers]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """End the workers; the pool starts new ones when it is used again."""
        with self._free:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None


_pool = ThreadPool(available_cores())


def others_asleep() -> bool:
    """Whether no other thread of this process, BLAS's own among them, is at work.

    OpenBLAS ends its threads at a fork, and waits forever for one that is in the middle of a product. While BLAS is
    held no further product is shared, so none can begin between this and a fork.
    """
    this = str(get_native_id())
    try:
        tasks = [task for task in os.listdir("/proc/self/task") if task != this]
        return all(_state(task) == "S" for task in tasks)
    except OSError:  # one has just ended
        return False


def _state(task: str) -> str:
    """A thread's state as the kernel puts it: what follows its name, which is in brackets."""
    return pathlib.Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()[0]


def pool() -> ThreadPool:
    """The process's pool."""
    return _pool


def get_num_threads() -> int:
    """How many threads a compiled model shares its work over."""
    return _pool.threads


def set_num_threads(threads: int, *, processes: bool = True) -> None:
    """Share the work of models compiled from now on over this many threads (1: none besides the caller's).

    Parameters
    ----------
    threads
        How many, the caller's among them.
    processes
        Whether a model that is run again and again may have processes of its own in their place, which do not wait for
        Python's interpreter lock (on Linux and x86-64; see :mod:`lucid.runtime.crew`).
    """
    global _pool  # the process has one pool; programs reach it through parallel()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise OptionError(f"set_num_threads: expected a positive int, got {threads!r}")
    if (threads, processes) != (_pool.threads, _pool.processes):
        old, _pool = _pool, ThreadPool(threads, processes)
        old.close()


def hold_blas() -> Hold:
    """While entered, BLAS keeps to one thread: its own would spin on the cores that blocks run on."""
    return _blas


def parallel(function: Callable[[int], object], count: int) -> None:
    """``function(i)`` for every i below ``count``, shared over the pool's threads."""
    _pool.run(function, count)


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool, _blas
    _pool = ThreadPool(_pool.threads, _pool.processes)
    _blas = Hold()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
