"""A thread that does what the caller is not to wait for, one thing after another, out of any signal handler's reach."""

from __future__ import annotations

import weakref
from _queue import Empty, SimpleQueue
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

Task: TypeAlias = "Callable[[], object]"


class Clerk:
    """Runs tasks in a thread of its own.

    Parameters
    ----------
    gone
        Called, in that thread, with weak references that were put into :attr:`queue`: as their callback its ``put`` is
        written in C, so it may come in the middle of anything.
    tick
        Called again and again while :attr:`restless` and there is nothing else to do, more and more seldom: on a busy
        machine the caller may have to wait for a thread that has the interpreter lock and no core.
    """

    SOON, LATE = 0.1, 2.0
    """Seconds after which it is called: at first, and at last."""

    def __init__(self, gone: Callable[[Any], object], tick: Callable[[], object]) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.restless = False
        self._gone = gone
        self._tick = tick
        self._thread = deque([0])  # empty once it was started

    def ask(self, task: Task) -> bool:
        """Have the task done. False where there can be no thread for it."""
        self.queue.put(task)
        if self._thread:
            try:
                self._thread.pop()
                start_new_thread(self._serve, ())
            except IndexError:  # somebody else has just started it
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
            del task  # and what it holds
