"""Watching a worker that is waited for: whether it gets on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from time import monotonic

SPENT = slice(11, 13)
"""Which of the words after its name say how long a process has computed, in ticks."""
STOPPED = ("T", "t")


class Vigil:
    """Looks at a process again and again.

    Parameters
    ----------
    pid
        Which.
    idle, busy
        Seconds that it may be there without computing, and that it may compute.
    """

    def __init__(self, pid: int, idle: float, busy: float) -> None:
        self._status = Path(f"/proc/{pid}/stat")
        self._idle, self._busy = idle, busy
        self._first = self._last = self._look()[1]
        self._since = monotonic()

    def hangs(self) -> bool:
        """Whether it has been stopped, or has taken too long; where others take its core, that does not count."""
        now, (state, spent) = monotonic(), self._look()
        if spent != self._last:
            self._last, self._since = spent, now
        return state in STOPPED or spent - self._first > self._busy or now - self._since > self._idle

    def _look(self) -> tuple[str, float]:
        """Its state, and the seconds it has computed; of a process that is not seen it is not known that it does."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = self._status.read_text().rpartition(")")[2].split()
            return words[0], sum(map(int, words[SPENT])) / os.sysconf("SC_CLK_TCK")
        return "", 0.0
