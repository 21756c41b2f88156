"""A thread for tasks that the caller need not wait for, and that no signal handler may interrupt."""

from __future__ import annotations

import weakref
from _queue import Empty, SimpleQueue
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

Task: TypeAlias = "Callable[[], object]"


class Clerk:
    """Runs tasks one after another in a thread of its own.

    Parameters
    ----------
    gone
        Called, in that thread, with weak references from :attr:`queue`. Their callback is the queue's ``put``, which is
        written in C, so it may safely be called at any moment.
    tick
        Called repeatedly while :attr:`restless` and idle, at growing intervals: on a busy machine the caller may have
        to wait for this thread if it has the interpreter lock but no core.
    """

    SOON, LATE = 0.1, 2.0
    """The first and the longest interval (s) between calls of ``tick``."""

    def __init__(self, gone: Callable[[Any], object], tick: Callable[[], object]) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.restless = False
        self._gone = gone
        self._tick = tick
        self._thread = deque([0])  # empty once the thread has been started

    def ask(self, task: Task) -> bool:
        """Queue a task; return False if no thread can be started for it."""
        self.queue.put(task)
        if self._thread:
            try:
                self._thread.pop()
                start_new_thread(self._serve, ())
            except IndexError:  # another thread has just started it
                return True
            except RuntimeError:
                self._thread.append(0)
                return False
        return True

    def _serve(self) -> None:
        period = self.SOON
        while True:
            try:
                task = self.queue.get(timeout=period if self.restless else None)
                period = self.SOON
            except Empty:
                task = self._tick
                period = min(2 * period, self.LATE)
            try:
                if isinstance(task, weakref.ref):
                    self._gone(task)
                else:
                    task()
            except Exception:  # noqa: BLE001, S110 - nobody is there to hear of it, and all goes on without workers
                pass
            del task  # releases what it refers to
