"""File descriptors of ours: the program around us may close them, and use their numbers for files of its own."""

from __future__ import annotations

import contextlib
import os


class Descriptor:
    """A number of the system's, and which file it stood for when it was ours."""

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
        """Whether it is still that file."""
        return self._what is not None and self._look() == self._what

    def close(self) -> None:
        """Once; nothing where it is another's by now."""
        if self.ours:
            with contextlib.suppress(OSError):
                os.close(self.number)
        self._what = None
