"""Timing marks of a profiled program: when each step ended, and which part of it other workers did."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import field
from itertools import pairwise, zip_longest

from ...base.arrays import Array
from ...base.structs import struct
from ..workers.parts import helped


@struct
class Marks:
    """Timing marks of one program.

    Attributes
    ----------
    steps
        The names of the steps whose ends are recorded, in order; known once the program is printed.
    runs
        For each run, the times at which these steps ended.
    only
        The steps whose ends to record; None for all.
    parts
        For each function that workers share: its step, and an array with the times of each worker. None if these are
        not wanted.
    """

    steps: list[str] = field(default_factory=list)
    runs: list[tuple[float, ...]] = field(default_factory=list)
    only: Container[str] | None = None
    parts: list[tuple[str, Array]] | None = None

    def begin(self) -> None:
        """Forget what an earlier printing of the program has recorded."""
        self.steps.clear()
        if self.parts is not None:
            self.parts.clear()

    def wants(self, step: str) -> bool:
        """Whether the end of a step is recorded."""
        return self.only is None or step in self.only

    def seconds(self, start: float) -> dict[str, float]:
        """Seconds of each step in the latest run, which began at ``start``; unrecorded steps count for the next one."""
        ends = pairwise((start, *self.runs[-1]))
        return {name: b - a for name, (a, b) in zip(self.steps, ends, strict=True)}

    def helpers(self, start: float) -> dict[str, list[float]]:
        """For each shared step, the seconds that each worker except the caller has worked since ``start``."""
        busy: dict[str, list[float]] = {}
        for step, parts in self.parts or ():
            busy[step] = [a + b for a, b in zip_longest(busy.get(step, ()), helped(parts, start), fillvalue=0.0)]
        return busy
