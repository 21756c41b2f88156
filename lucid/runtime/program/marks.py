"""Timing marks of a profiled program: when each step ended, and what other workers did of it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import field
from itertools import pairwise, zip_longest

from ...base.arrays import Array
from ...base.structs import struct
from ..workers.parts import helped


@struct
class Marks:
    """Notes of one program.

    Attributes
    ----------
    steps
        The names of the steps whose ends are noted, in order; known once the program is printed.
    runs
        For each run when each of them ended.
    only
        The steps whose ends are noted; all, for None.
    parts
        For each region that workers share its step, and who did which part of it; None where nobody asks.
    """

    steps: list[str] = field(default_factory=list)
    runs: list[tuple[float, ...]] = field(default_factory=list)
    only: Container[str] | None = None
    parts: list[tuple[str, Array]] | None = None

    def begin(self) -> None:
        """A program is printed, anew perhaps."""
        self.steps.clear()
        if self.parts is not None:
            self.parts.clear()

    def wants(self, step: str) -> bool:
        """Whether the end of a step is noted."""
        return self.only is None or step in self.only

    def seconds(self, start: float) -> dict[str, float]:
        """Seconds of each step in the latest run, which began then, with those since the one noted before it."""
        ends = pairwise((start, *self.runs[-1]))
        return {name: b - a for name, (a, b) in zip(self.steps, ends, strict=True)}

    def helpers(self, start: float) -> dict[str, list[float]]:
        """For each step that is shared, the seconds of each worker but the caller since then."""
        found: dict[str, list[float]] = {}
        for step, parts in self.parts or ():
            one = helped(parts, start)
            found[step] = [a + b for a, b in zip_longest(found.get(step, ()), one, fillvalue=0.0)]
        return found
