"""Who works on a program's regions: the caller, with the threads of the pool or with processes of its own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from . import crew as crews
from .crew import Crew, Region, shared_memory
from .threads import ThreadPool, hold_blas, parallel, pool

Run: TypeAlias = "Callable[..., tuple[Any, ...]]"

WORTH = 0.03
"""Seconds that a program must have run since its parameters changed before it gets processes: a fork takes some ten
milliseconds, and a helper sees the parameters as they were then."""

MOST = 8
"""Programs that have processes at the same time; the one whose last run is longest ago gives up its own."""


@dataclass(eq=False)
class Epoch:
    """Counts the changes of a program's parameters."""

    number: int = 0


class Team:
    """Shares the regions of one bound program; a context manager around each run.

    Parameters
    ----------
    workers
        How many there are, the caller included.
    epoch
        That of the program's parameters.
    processes
        Whether they may be processes: the arena must then be what :meth:`arena` gives.
    """

    def __init__(self, workers: int, epoch: Epoch, processes: bool = True) -> None:
        self.workers = workers
        self.regions: Sequence[Region] = ()
        self._epoch = epoch
        self._seen = -1
        self._spent = self._began = 0.0
        self._crew: Crew | None = None
        self._claimed: ThreadPool | None = None
        self._possible = processes and crews.POSSIBLE and workers > 1

    def bind(self, bind: Callable[[Any, Team], tuple[Run, Sequence[Region]]], arena: Any) -> Run:
        """The program, bound to the arena and this team."""
        run, self.regions = bind(arena, self)
        return run

    def arena(self, nbytes: int) -> Any:
        """Memory that all workers reach."""
        return shared_memory(nbytes) if self._possible else np.empty(nbytes, np.uint8)

    def __enter__(self) -> None:
        self._blas = hold_blas()
        self._blas.__enter__()
        if self._seen != self._epoch.number:
            self.dismiss()
            self._seen, self._spent = self._epoch.number, 0.0
        if not self._possible or (self._crew is None and self._spent < WORTH) or not self._take():
            self._began = perf_counter()

    def __exit__(self, *exception: object) -> None:
        if self._claimed is None:
            self._spent += perf_counter() - self._began
        else:
            assert self._crew is not None
            self._crew.end()
            self._claimed.unclaim()
            self._claimed = None
        self._blas.__exit__(None, None, None)

    def _take(self) -> bool:
        """The other cores and processes to run on them, for this run."""
        common = pool()
        if not common.processes or not common.claim():
            return False
        try:
            if self._crew is None or not self._crew.alive:
                self._crew = Crew(self.regions, self.workers - 1)
                _seat(self)
        except OSError:  # no more processes for this user, or no memory
            self._possible, self._crew = False, None
            common.unclaim()
            return False
        self._claimed = common
        self._crew.begin()
        return True

    def share(self, region: int) -> None:
        """Run one region on all workers."""
        if self._claimed is not None:
            assert self._crew is not None
            self._crew.share(region)
        else:
            parallel(*self.regions[region])

    def dismiss(self) -> None:
        """End its processes; it gets new ones when that is worth it."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


_seated: list[weakref.ref[Team]] = []
"""Teams with processes, by when they got them. Changed only by who has claimed the cores."""


def _seat(team: Team) -> None:
    _seated[:] = [seat for seat in _seated if seat() not in (None, team)]
    while len(_seated) >= MOST:
        longest = _seated.pop(0)()
        if longest is not None:
            longest.dismiss()
    _seated.append(weakref.ref(team))
