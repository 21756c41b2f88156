"""The runs of a program: each is bound to working memory of its own, and serves one call at a time."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from itertools import chain

import numpy as np

from ...base.arrays import Array
from ...base.lazy import LazyModule
from ...errors import ExecutionError
from ..workers.settings import private_bytes, shared_bytes
from ..workers.sharing import Run, Sharing
from .compilation import Bind, Compilation
from .plan import Plan

parcel = LazyModule("lucid.runtime.workers.parcel")


def quiet(run: Run) -> Run:
    """``run`` with NumPy's floating-point warnings off, in a context of its own that only one call enters at a time.

    ``np.errstate`` would take a microsecond of every call.
    """
    context = Context()
    context.run(np.seterr, all="ignore")
    return partial(context.run, run)


class Runs:
    """The runs of a program that read the same parameter memory.

    Parameters
    ----------
    compilation
        The compilation of the program.
    bind
        The program's function that binds a run.
    filled
        Whether to fill new working memory with a pattern, which reveals steps that read memory before it is written.

    Attributes
    ----------
    bind
        The argument; it may be replaced before the first run is made.
    free
        The runs that no call is using.
    """

    def __init__(self, compilation: Compilation, bind: Bind, *, filled: bool = False) -> None:
        self.bind = bind
        self.free: deque[tuple[Run, Sharing]] = deque()
        self._plan: Plan = compilation.plan
        self._guard, self._filled = compilation.guard, filled
        self._spare: deque[Array] = deque()

    def new(self) -> tuple[Run, Sharing]:
        """A further run, which the caller uses or adds to :attr:`free`."""
        try:
            arena = self._spare.pop()
        except IndexError:
            arena = self._arena()
        if self._filled:
            arena.fill(255)
        run, sharing = self._bound(arena)
        return quiet(run), sharing

    def read_by_workers(self, places: Sequence[Array], updated: frozenset[int]) -> frozenset[int]:
        """The indices of the parameters at ``places`` that workers read, except those that they update themselves."""
        arena = self._arena()
        regions, early = self._bound(arena)[1].regions, self._plan.names.early
        self._spare.append(arena)  # else a second one would be allocated while this still exists
        spans = parcel.spans(regions)
        first, every = (parcel.meeting(chain.from_iterable(of), places) for of in (spans[:early], spans))
        return frozenset(first | (every - updated))

    def idle(self, spare: int = 0) -> None:
        """Release working memory that no run is using, except that of ``spare`` runs."""
        self._spare.clear()
        with contextlib.suppress(IndexError):  # other threads take and return runs at any time
            while len(self.free) > spare:
                self.free.popleft()

    @property
    def nbytes(self) -> int:
        """Bytes of idle working memory."""
        return (len(self.free) + len(self._spare)) * self._plan.arena_bytes

    def _bound(self, arena: Array) -> tuple[Run, Sharing]:
        plan = self._plan
        constants = [thing for thing in plan.names.namespace.values() if type(thing) is np.ndarray]
        sharing = Sharing(plan.threads if plan.names.regions else 1, constants, brief=plan.brief)
        return self._guard(lambda: sharing.bind(self.bind, arena)), sharing

    def _arena(self) -> Array:
        size = self._plan.arena_bytes
        try:
            return shared_bytes(size) if self._plan.names.regions else private_bytes(size)
        except (MemoryError, ValueError, OSError, OverflowError) as error:
            raise ExecutionError(f"no memory for an arena of {size:,} bytes") from error
