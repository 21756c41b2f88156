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
from .threads import ThreadPool, hold_blas, others_asleep, parallel, pool

Run: TypeAlias = "Callable[..., tuple[Any, ...]]"

WORTH = 0.03
"""Seconds that a program must have run since its parameters changed before it gets processes: a fork takes some ten
milliseconds, and a helper sees the parameters as they were then."""

AGAIN = 0.003
"""Seconds that it runs before it asks anew whether it may have them: some library's idle threads are still awake."""

RECENT = 1e-4
"""Seconds since its last run within which a brief program wakes its helpers: they stay awake for about as long."""

MOST = 8
"""Programs that have processes at the same time; the one whose last run is longest ago gives up its own."""


@dataclass(eq=False)
class Epoch:
    """Counts the changes of a program's parameters."""

    number: int = 0


class Team:
    """Shares the regions of one bound program.

    Parameters
    ----------
    workers
        How many there are, the caller included.
    epoch
        That of the program's parameters.
    processes
        Whether they may be processes: the arena must then be what :meth:`arena` gives.
    brief
        Whether a run ends sooner than a helper wakes: then it has the help of processes that are awake, or none.
    """

    def __init__(self, workers: int, epoch: Epoch, processes: bool = True, brief: bool = False) -> None:
        self.workers = workers
        self.brief = brief
        self.regions: Sequence[Region] = ()
        self._epoch = epoch
        self._seen = -1
        self._spent = self._began = self._last = 0.0
        self._hold = hold_blas()
        self._cores: ThreadPool | None = None
        self._crew: Crew | None = None
        self._awake: Crew | None = None
        self._possible = processes and crews.POSSIBLE and workers > 1

    def bind(self, bind: Callable[[Any, Team], tuple[Run, Sequence[Region]]], arena: Any) -> Run:
        """The program, bound to the arena and this team."""
        run, self.regions = bind(arena, self)
        return run

    def arena(self, nbytes: int) -> Any:
        """Memory that all workers reach."""
        return shared_memory(nbytes) if self._possible else np.empty(nbytes, np.uint8)

    def __enter__(self) -> None:
        """What each run is within: BLAS keeps to one thread, and processes, if there are any, are awake."""
        self._hold = hold_blas()
        self._hold.__enter__()
        try:
            self._cores = self._take()
        except BaseException:
            self._hold.__exit__()
            raise
        self._began = perf_counter()

    def __exit__(self, *error: object) -> None:
        self._last = perf_counter()
        try:
            if self._cores is None:
                self._spent += self._last - self._began
            else:
                self._release(self._cores)
        finally:
            self._hold.__exit__()

    def share(self, region: int) -> None:
        """Run one region on all workers."""
        if self._awake is not None:
            self._awake.share(region)
        elif not self.brief:
            parallel(*self.regions[region])
        else:
            function, workers = self.regions[region]
            for worker in range(workers):
                function(worker)

    def dismiss(self) -> None:
        """End its processes; it gets new ones when that is worth it (again)."""
        crew, self._crew, self._spent = self._crew, None, 0.0
        if crew is not None:
            crew.close()

    def _take(self) -> ThreadPool | None:
        """The other cores for this run, where processes are awake on them; None where it is up to the pool."""
        cores = pool()
        if not self._due(cores) or not cores.claim():
            return None
        try:
            self._awake = self._muster()
        except BaseException:
            self.dismiss()
            raise
        finally:
            if self._awake is None:
                cores.unclaim()
        return cores if self._awake is not None else None

    def _due(self, cores: ThreadPool) -> bool:
        """Whether this run is to have processes."""
        allowed = self._possible and cores.processes and self.workers <= cores.threads
        if not allowed or self._seen != self._epoch.number:
            self.dismiss()
            self._seen = self._epoch.number
        return allowed and (self._crew is not None or self._spent >= WORTH)

    def _muster(self) -> Crew | None:
        """Processes that are awake; new ones where there are none (any more)."""
        crew = self._crew
        if crew is not None and self.brief and crew.usable:
            if not crew.asleep:
                return crew
            if perf_counter() - self._last < RECENT:
                crew.rouse()
            return None
        if crew is not None and crew.begin():
            return crew
        self.dismiss()
        if not others_asleep():
            self._spent = WORTH - AGAIN
            return None
        try:
            self._crew = Crew(self.regions, self.workers - 1)
        except OSError:  # no more processes for this user, or no memory
            self._possible = False
            return None
        _seat(self)
        return self._crew if self._crew.begin() else None

    def _release(self, cores: ThreadPool) -> None:
        try:
            assert self._awake is not None
            self._awake.end()
        finally:
            self._awake = None
            cores.unclaim()


_seated: list[weakref.ref[Team]] = []
"""Teams that were given processes. Changed only by who has claimed the cores."""


def _seat(team: Team) -> None:
    found = [seat() for seat in _seated]
    others = [other for other in found if other not in (None, team) and other._crew is not None]
    others.sort(key=lambda other: other._last)
    while len(others) >= MOST:
        others.pop(0).dismiss()
    _seated[:] = map(weakref.ref, (*others, team))
