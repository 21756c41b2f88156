"""Atomic updates: the part of a program that overwrites parameters runs completely or not at all.

It begins once all results exist and allocates nothing, so it cannot fail midway by itself. But a signal handler may
raise at any moment in the main thread; handlers are therefore deferred until the part is over.
"""

from __future__ import annotations

import signal
from _signal import getsignal  # type: ignore[import-not-found]  # faster: does not convert results to enumerations
from _signal import signal as handle
from _thread import get_ident
from collections.abc import Callable
from threading import main_thread
from types import FrameType
from typing import Final

from ...base.changes import writing

Handler = Callable[[int, FrameType | None], object]


class AtomicWrite:
    """``with atomic: ...`` runs its body to the end: signal handlers are deferred.

    Parameters
    ----------
    done
        Called when the body has run, before the deferred handlers.

    Attributes
    ----------
    times
        How often it has run.
    """

    def __init__(self, done: Callable[[], object]) -> None:
        self.times = 0
        self._done = done
        self._waiting: list[tuple[Handler, int, FrameType | None]] = []
        self._handlers: dict[int, Handler] = {}

    def hold(self) -> None:
        """Defer handlers from now on, before the body begins; if it is never reached, call :meth:`release`."""
        if get_ident() != main_thread().ident:
            return  # handlers run in the main thread only
        try:
            for number in _SIGNALS:
                handler = getsignal(number)
                if callable(handler) and handler != self._wait:
                    self._handlers[number] = handler
                    handle(number, self._wait)
        except BaseException:
            self._give_back()
            raise

    def release(self) -> None:
        """Stop deferring handlers."""
        if get_ident() == main_thread().ident:
            self._give_back()

    def __enter__(self) -> None:
        self.hold()
        writing.acquire()

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            self.times += 1
            self._done()
        finally:
            writing.release()
            self.release()

    def _wait(self, number: int, frame: FrameType | None) -> None:
        self._waiting.append((self._handlers[number], number, frame))

    def _give_back(self) -> None:
        """Restore the handlers, and run those that waited: each of them, even if others raise."""
        try:
            while self._handlers:
                number, handler = next(iter(self._handlers.items()))
                handle(number, handler)
                self._handlers.pop(number, None)
            while self._waiting:
                handler, number, frame = self._waiting.pop(0)
                handler(number, frame)
        except BaseException:
            self._give_back()
            raise


_SIGNALS: Final = tuple(sorted(map(int, signal.valid_signals())))
