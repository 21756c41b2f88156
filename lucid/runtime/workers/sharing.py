"""Sharing a program's regions: among the caller and this process's workers, or the threads of the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ...base.arrays import Array
from .settings import worker_processes
from .threads import parallel

if TYPE_CHECKING:
    from .link import Job, Turn
    from .parcel import Region
    from .processes import WorkerProcesses

Run: TypeAlias = "Callable[..., tuple[Any, ...]]"

WORTH = 0.01
"""Seconds that a bound program must have run before it is described to workers, which takes a few milliseconds."""

RECENT = 4e-4
"""A brief program uses workers if its last run was at most this long (s) ago: they stay awake for about that time."""


class Sharing:
    """Shares the regions of one bound program.

    Parameters
    ----------
    workers
        The number of workers, including the caller.
    constants
        Arrays outside shared memory that never change.
    brief
        Whether a run is shorter than waking a worker: it then uses only workers that are awake.
    """

    def __init__(self, workers: int, constants: Sequence[Array] = (), brief: bool = False) -> None:
        self.workers = workers
        self.brief = brief
        self.alone = False
        self.regions: Sequence[Region] = ()
        self._constants = constants
        self._spent = self._began = self._last = 0.0
        self._job: Job | None = None
        self._told: WorkerProcesses | None = None
        self._processes: WorkerProcesses | None = None
        self._turn: Turn | None = None
        self._threads = True

    def bind(self, bind: Callable[[Any, Sharing], tuple[Run, Sequence[Region]]], arena: object) -> Run:
        """The program, bound to the arena and this sharing."""
        run, self.regions = bind(arena, self)
        return run

    def without(self, run: Run, inputs: Sequence[Array]) -> tuple[object, ...]:
        """Run once, by the caller alone."""
        self.alone = True
        results = run(*inputs)
        self.alone = False
        return results

    def __enter__(self) -> None:
        """Begin a run: reserve and wake the workers, if there are any.

        Nothing depends on :meth:`__exit__`, since an exception raised by a signal handler may keep it from running.
        """
        self._turn = None
        self._threads = not self.brief
        if not self.alone and self.workers > 1:
            self._muster()
        self._began = perf_counter()

    def __exit__(self, kind: object, *error: object) -> None:
        self._last = perf_counter()
        self._spent += self._last - self._began
        turn, self._turn = self._turn, None
        if turn is not None and self._processes is not None:
            self._processes.end(turn, kind is not None)

    def share(self, region: int) -> None:
        """Run one region on all workers."""
        self._share(region, False)

    def complete(self, region: int) -> None:
        """Run a region that overwrites what it reads on all workers: each part runs to its end, and only once."""
        self._share(region, True)

    def _share(self, region: int, complete: bool) -> None:
        function, count = self.regions[region]
        turn = self._turn
        if turn is not None and self._processes is not None and region in turn.job.regions:
            self._processes.share(turn, region, function, count, complete)
        else:
            self.here(function, count)

    def here(self, function: Callable[[int], object], count: int) -> None:
        """Within a run, call ``function(i)`` for each i below ``count`` in this process, on threads if possible."""
        if self._turn is not None and self._processes is not None:
            self._processes.rest(self._turn, partial(parallel, function, count))
        elif self._threads and not self.alone:
            parallel(function, count)
        else:
            for worker in range(count):
                function(worker)

    def _muster(self) -> None:
        """Reserve this process's workers, if they know the program; describe it to them once it has run for a while."""
        workers = self._processes = worker_processes()
        if workers is None or workers.hopeless:
            return
        self._threads = False  # on a busy machine they delay the caller, unnoticed, unlike workers
        if not workers.links:
            return
        if workers is not self._told:
            if self._spent >= WORTH or workers.patient:
                self._told, self._job = workers, None
                workers.publish(self.regions, self._constants, self._take)
                if workers.patient:
                    workers.settle()
            return
        if self._job is not None:
            self._turn = workers.begin(self._job, self.brief, perf_counter() - self._last < RECENT)

    def _take(self, job: Job) -> None:
        self._job = job
