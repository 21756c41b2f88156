"""Two counters that tell a compiled model, with one comparison, that nothing has changed since its last call."""

from __future__ import annotations

from itertools import count


class Clock:
    """A number that grows at every tick, from whichever thread."""

    __slots__ = ("_numbers", "now")

    def __init__(self) -> None:
        self._numbers = count(1)
        self.now = 0

    def tick(self) -> int:
        """Advance, and return the new time."""
        self.now = next(self._numbers)
        return self.now


class Version:
    """When a piece of memory was last written: one for all tensors that lie in it."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0


structure = Clock()
"""Ticks when an attribute, parameter, hook or mode of any module is set: a trace may no longer hold."""

content = Clock()
"""Ticks when any tensor is written in place: packed weights may no longer hold."""
