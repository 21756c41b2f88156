"""The threads that share the blocks of kernels if there are no worker processes.

NumPy releases the interpreter lock inside its loops and products, so Python threads can work on blocks at the same
time. Meanwhile BLAS is limited to one thread (:mod:`.blas`).

A signal handler may raise at any moment in the caller (never in another thread), so nothing here is acquired that would
have to be released: blocks are in a queue, any thread takes the next one, and the caller waits only for blocks that a
thread has begun.
"""

from __future__ import annotations

import os
import weakref
from _queue import SimpleQueue
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable
from threading import get_native_id, local

import numpy as np

from . import blas
from .cores import default_threads, keep_off

_thread = local()  # has an attribute ``worker`` in the threads of any pool


_NONE: deque[int] = deque()
"""The blocks of a job that is over."""


class _Job:
    """A function, the blocks that no thread has begun, and the outcome of each that another thread has done."""

    __slots__ = ("answers", "function", "left")

    def __init__(self, function: Callable[[int], object], count: int) -> None:
        self.function = function
        self.left = deque(range(count))
        self.answers: SimpleQueue[BaseException | None] = SimpleQueue()

    def end(self) -> None:
        """Release all references: a thread without a core may keep the job for long."""
        self.left = _NONE
        del self.function, self.answers

    def help(self) -> None:
        while True:
            try:
                block = self.left.popleft()
            except IndexError:
                return
            try:
                self.function(block)
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                self.answers.put(error)
            else:
                self.answers.put(None)


def _serve(jobs: SimpleQueue[object], threads: deque[int]) -> None:
    # not a method of the pool: its threads would keep the pool, and so themselves, alive
    _thread.worker = True
    this = get_native_id()
    threads.append(this)
    np.seterr(all="ignore")  # as in the caller, whose programs run with NumPy's warnings off
    while isinstance(job := jobs.get(), _Job):
        job.help()
        del job  # so that what it refers to can be freed
    jobs.put(job)  # so that the other threads end too
    threads.remove(this)


class ThreadPool:
    """Runs blocks of work on a fixed number of threads, the caller's among them.

    The caller works on blocks too; if all threads are busy with another caller's, it does all of them.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._begin()

    def _begin(self) -> None:
        self._jobs: SimpleQueue[object] = SimpleQueue()
        self._end = weakref.ref(self, self._jobs.put)  # written in C, so it may be called at any moment
        self._workers: deque[int] = deque()
        self._places = deque(range(self.threads - 1))  # one for each thread that has not been started

    def run(self, function: Callable[[int], object], count: int) -> None:
        """``function(i)`` for every i below ``count``, possibly at the same time; the first error is raised."""
        if count == 1 or self.threads == 1 or getattr(_thread, "worker", False) or not self._start():
            for i in range(count):
                function(i)
        elif blas.hold.held():
            self._share(function, count)
        else:
            blas.hold.begin()
            try:
                self._share(function, count)
            finally:
                blas.hold.finish()

    def _start(self) -> bool:
        """Start missing threads; return False if none can be started."""
        while self._places:
            try:
                self._places.pop()
            except IndexError:  # another caller has just started it
                break
            try:
                start_new_thread(_serve, (self._jobs, self._workers))
            except RuntimeError:  # no more threads for this user
                self._places.append(0)
                break
        return len(self._places) < self.threads - 1

    def _share(self, function: Callable[[int], object], count: int) -> None:
        keep_off(self._workers)
        job, own = _Job(function, count), 0
        for _ in range(min(self.threads, count) - 1):
            self._jobs.put(job)
        try:
            while True:
                try:
                    block = job.left.popleft()
                except IndexError:
                    break
                function(block)
                own += 1
            errors = [job.answers.get() for _ in range(count - own)]
        except BaseException:
            job.left.clear()
            raise
        job.end()
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """End the threads when they have done their present blocks; the pool starts new ones when it is used again."""
        jobs = self._jobs
        self._begin()
        jobs.put(None)


_pool = ThreadPool(default_threads())


def pool() -> ThreadPool:
    """The process's pool."""
    return _pool


def replace_pool(threads: int) -> None:
    """Replace the process's pool by one of ``threads`` threads."""
    global _pool  # the process has one pool; programs reach it through parallel()
    if threads != _pool.threads:
        old, _pool = _pool, ThreadPool(threads)
        old.close()


def parallel(function: Callable[[int], object], count: int) -> None:
    """``function(i)`` for every i below ``count``, shared over the pool's threads."""
    _pool.run(function, count)


def _forget_pool() -> None:
    """In a forked child, which has none of its parent's threads: make a new pool."""
    global _pool
    _pool = ThreadPool(_pool.threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
