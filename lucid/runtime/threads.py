"""The thread pool that kernels share their blocks over, and BLAS's threads kept out of its way.

NumPy releases the interpreter lock inside its loops and products, so Python threads over blocks of work
run at the same time. While they do, BLAS is held to one thread; afterwards it gets its own back.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock, Thread, local
from typing import Any

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
                for controller in self._controllers:
                    controller.set_num_threads(1)

    def _exit(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for controller, number in zip(self._controllers or [], self._before, strict=True):
                    controller.set_num_threads(number)


def _pause(length: int) -> Callable[[], object]:
    """Some microseconds without the interpreter lock: waiting that neither sleeps nor touches memory.

    A thread that sleeps takes 50 to 100 microseconds to wake where cores are virtual, as long as a small layer.
    A thread that waits awake must hold the lock for a small part of the time, or the others sleep to get it.
    """
    return partial(np.add.reduce, np.broadcast_to(np.ones(1, np.float32), length))


class _Batch:
    """Blocks that threads take one by one. Who wakes after the last one is taken has nothing to do."""

    def __init__(self, function: Callable[[int], object], count: int) -> None:
        self.function = function
        self.errors: list[BaseException] = []
        self.running = 0
        self._tickets = iter(range(count))
        self._lock = Lock()

    def work(self) -> None:
        """Run blocks until none is left; an error ends all of them."""
        while (ticket := self._take()) is not None:
            try:
                self.function(ticket)
            except BaseException as error:  # noqa: BLE001 - the caller raises the first
                self.errors.append(error)
                self.stop()
            finally:
                with self._lock:
                    self.running -= 1

    def _take(self) -> int | None:
        with self._lock:
            ticket = next(self._tickets, None)
            self.running += ticket is not None
        return ticket

    def stop(self) -> None:
        """Give out no more blocks."""
        with self._lock:
            self._tickets = iter(())


class _Worker(Thread):
    """A thread of the pool. While a program runs it stays awake between two lots of blocks."""

    def __init__(self, pool: ThreadPool, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        self._job: Callable[[], None] | None = None
        self._gate = Lock()
        self._gate.acquire()
        self._asleep = False
        self._closed = False

    def give(self, job: Callable[[], None]) -> None:
        """Let it run ``job``."""
        self._job = job
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()
        self.join()

    def _wake(self) -> None:
        if self._asleep and self._gate.locked():
            self._gate.release()

    def run(self) -> None:
        self.pool.inside.worker = True
        pause = _pause(1 << 17)
        while not self._closed:
            job, self._job = self._job, None
            if job is not None:
                job()
            elif self.pool.hot:
                pause()
            else:
                self._sleep()

    def _sleep(self) -> None:
        self._asleep = True  # from here on a job that comes opens the gate; one that came before is seen
        if self._job is None and not self._closed:
            self._gate.acquire()
        self._asleep = False


class ThreadPool:
    """Runs blocks of work on a fixed number of threads, the caller's among them.

    Only one caller has the workers at a time; another that comes meanwhile runs its blocks itself, so
    that several models running at once never use more threads than there are callers and workers.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.blas = _Blas()
        self.inside = local()
        self._workers: list[_Worker] = []
        self._free = Lock()
        self._lock = Lock()
        self._sessions = 0
        self._pause = _pause(1 << 15)

    @property
    def hot(self) -> bool:
        """Whether workers stay awake: one program is running. With several, cores are not to be wasted."""
        return self._sessions == 1

    @contextmanager
    def session(self) -> Iterator[None]:
        """While a program runs: BLAS keeps to one thread, and the workers stay awake."""
        with self.blas.held():
            with self._lock:
                self._sessions += 1
            try:
                yield
            finally:
                with self._lock:
                    self._sessions -= 1

    def run(self, function: Callable[[int], object], count: int) -> None:
        """``function(i)`` for every i below ``count``, possibly at the same time; the first error is raised."""
        alone = count <= 1 or self.threads == 1 or getattr(self.inside, "worker", False)
        if alone or not self._free.acquire(blocking=False):
            for i in range(count):
                function(i)
        else:
            try:
                with self.blas.held():
                    self._share(function, count)
            finally:
                self._free.release()

    def _share(self, function: Callable[[int], object], count: int) -> None:
        while len(self._workers) < self.threads - 1:
            self._workers.append(_Worker(self, f"lucid_{len(self._workers)}"))
            self._workers[-1].start()
        batch = _Batch(function, count)
        for helper in self._workers[: min(self.threads, count) - 1]:
            helper.give(batch.work)
        try:
            batch.work()
        finally:
            batch.stop()
            while batch.running:
                self._pause()
        if batch.errors:
            raise batch.errors[0]

    def close(self) -> None:
        """End the workers; the pool starts new ones when it is used again."""
        with self._free:
            for worker in self._workers:
                worker.close()
            self._workers.clear()


_pool = ThreadPool(available_cores())


def get_num_threads() -> int:
    """How many threads a compiled model shares its work over."""
    return _pool.threads


def set_num_threads(threads: int) -> None:
    """Share the work of models compiled from now on over this many threads (1: none besides the caller's)."""
    global _pool  # the process has one pool; programs reach it through parallel()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise OptionError(f"set_num_threads: expected a positive int, got {threads!r}")
    if threads != _pool.threads:
        old, _pool = _pool, ThreadPool(threads)
        old.close()


def hold_blas() -> AbstractContextManager[None]:
    """While entered, BLAS keeps to one thread: its own would spin on the cores that blocks run on."""
    return _pool.session()


def parallel(function: Callable[[int], object], count: int) -> None:
    """``function(i)`` for every i below ``count``, shared over the pool's threads."""
    _pool.run(function, count)


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = ThreadPool(_pool.threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
