"""Our file descriptors, which the host program may close, reusing their numbers for files of its own."""

from __future__ import annotations

import contextlib
import os


class Descriptor:
    """A file descriptor, and the identity of the file that it referred to when it was opened."""

    __slots__ = ("_what", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._what = self._look()

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.fstat(self.number)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @property
    def ours(self) -> bool:
        """Whether it still refers to that file."""
        return self._what is not None and self._look() == self._what

    def close(self) -> None:
        """Close it, once; do nothing if it refers to another file by now."""
        if self.ours:
            with contextlib.suppress(OSError):
                os.close(self.number)
        self._what = None
