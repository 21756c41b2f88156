"""Watching whether a worker makes progress while the caller waits for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from time import monotonic

SPENT = slice(11, 13)
"""Fields of ``/proc/<pid>/stat`` after the name that hold the CPU time of a process, in ticks."""
STOPPED = ("T", "t")


class Vigil:
    """Observes a process over time.

    Parameters
    ----------
    pid
        The process.
    idle, busy
        The most seconds that it may exist without computing, and that it may compute.
    """

    def __init__(self, pid: int, idle: float, busy: float) -> None:
        self._status = Path(f"/proc/{pid}/stat")
        self._idle, self._busy = idle, busy
        self._first = self._last = self._look()[1]
        self._since = monotonic()

    def hangs(self) -> bool:
        """Whether it has been stopped, or has taken too long, not counting time in which others had its core."""
        now, (state, spent) = monotonic(), self._look()
        if spent != self._last:
            self._last, self._since = spent, now
        return state in STOPPED or spent - self._first > self._busy or now - self._since > self._idle

    def _look(self) -> tuple[str, float]:
        """Its state, and its CPU time in seconds; an empty state and 0 if the process cannot be read."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = self._status.read_text().rpartition(")")[2].split()
            return words[0], sum(map(int, words[SPENT])) / os.sysconf("SC_CLK_TCK")
        return "", 0.0
