"""The thread pool that kernels share their blocks over, and BLAS's threads kept out of its way.

NumPy releases the interpreter lock inside its loops and products, so Python threads over blocks of work
run at the same time. While they do, BLAS is held to one thread; afterwards it gets its own back.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock, Thread, current_thread, local
from threading import enumerate as enumerate_threads
from time import sleep
from typing import Any
from weakref import WeakSet

import numpy as np

from ..errors import OptionError
from ..lazy import threadpoolctl


def available_cores() -> int:
    """Cores this process may use: those of its affinity, within the limit of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _cgroup_limit()
    return max(1, min(cores, limit) if limit else cores)


def _cgroup_limit() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None


class _Blas:
    """Holds BLAS to one thread while at least one program runs blocks in threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._holders = 0
        self._controllers: list[Any] | None = None
        self._before: list[int] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        self._enter()
        try:
            yield
        finally:
            self._exit()

    def _enter(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                if self._controllers is None:
                    found = threadpoolctl.ThreadpoolController().lib_controllers
                    self._controllers = [c for c in found if c.user_api == "blas"]
                self._before = [c.num_threads for c in self._controllers]
                self._set([1] * len(self._before))

    def _exit(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._set(self._before)

    def _set(self, numbers: Sequence[int]) -> None:
        for controller, number in zip(self._controllers or [], numbers, strict=True):
            # later versions listen to the first thread that sets a number only, until that gives up its control
            give_up = getattr(controller, "clear_controlling_thread", None)
            if give_up is not None:
                give_up(force=True)
            controller.set_num_threads(number)
            if give_up is not None:
                give_up()


_blas = _Blas()  # one for all pools: programs that began with an earlier pool may still hold it
_thread = local()  # has ``worker`` in the threads of any pool
_workers: WeakSet[Thread] = WeakSet()


def _mark_worker() -> None:
    # no method of the pool: its workers would keep it alive, and so themselves
    _thread.worker = True
    _workers.add(current_thread())
    np.seterr(all="ignore")  # as in the caller, whose program runs with NumPy's warnings off


class ThreadPool:
    """Runs blocks of work on a fixed number of threads, the caller's among them.

    Only one caller has the workers at a time; another that comes meanwhile runs its blocks itself, so
    that several models running at once never use more threads than there are callers and workers.
    """

    def __init__(self, threads: int, processes: bool = True) -> None:
        self.threads = threads
        self.processes = processes
        self._executor: ThreadPoolExecutor | None = None
        self._free = Lock()

    def run(self, function: Callable[[int], object], count: int) -> None:
        """``function(i)`` for every i below ``count``, possibly at the same time; the first error is raised."""
        alone = count == 1 or self.threads == 1 or getattr(_thread, "worker", False)
        if alone or not self.claim():
            for i in range(count):
                function(i)
        else:
            try:
                with _blas.held():
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
            self._executor = ThreadPoolExecutor(self.threads - 1, "lucid", initializer=_mark_worker)
        tickets = iter(range(count))
        lock = Lock()

        def work() -> None:
            while True:
                with lock:
                    i = next(tickets, None)
                if i is None:
                    return
                function(i)

        helpers: list[Future[None]] = [self._executor.submit(work) for _ in range(min(self.threads, count) - 1)]
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


SETTLE = 0.02
"""Seconds after which a product that BLAS shares over its threads has surely been begun by all of them."""


def settle_blas() -> None:
    """Before a fork, with BLAS held: wait until a product of another thread cannot be half handed out.

    OpenBLAS ends its own threads at a fork, each when it has done what it was given; one that is not given its part
    any more would be waited for forever.
    """
    this = current_thread()
    if any(thread is not this and thread not in _workers for thread in enumerate_threads()):
        sleep(SETTLE)


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


def hold_blas() -> AbstractContextManager[None]:
    """While entered, BLAS keeps to one thread: its own would spin on the cores that blocks run on."""
    return _blas.held()


def parallel(function: Callable[[int], object], count: int) -> None:
    """``function(i)`` for every i below ``count``, shared over the pool's threads."""
    _pool.run(function, count)


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool, _blas
    _pool = ThreadPool(_pool.threads, _pool.processes)
    _blas = _Blas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
