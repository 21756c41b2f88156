"""Executable: what runs a graph, from what it is compiled to, the memory of its parameters, and its runs."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock, RLock
from time import perf_counter

import numpy as np

from ...base import changes
from ...base.arrays import Array
from ...base.locks import forkable
from ...errors import from_handler
from ...graph.facts import drawn
from ...graph.ir import Graph
from ...graph.rng import current_keys
from ...graph.types import TensorType
from ..planning.available_memory import check_room
from ..planning.registry import Choice
from ..workers import blas
from ..workers.board import Abandoned
from ..workers.exchange import current
from ..workers.settings import lasting_copy, worker_processes
from ..workers.sharing import Sharing
from .atomic import AtomicWrite
from .budget import plan_within
from .compilation import Compilation
from .marks import Marks
from .parameter_memory import ParameterMemory
from .plan import Plan, make_plan
from .printer import Source, Values, generate
from .runs import Runs
from .store import Store


@contextlib.contextmanager
def _held(*locks: Lock | RLock | None) -> Iterator[bool]:
    """Whether all locks are held inside; locks that are not free are not waited for."""
    with contextlib.ExitStack() as stack:
        held = True
        for lock in locks:
            if lock is not None and held and (held := lock.acquire(blocking=False)):
                stack.callback(lock.release)
        yield held


class Executable:
    """Runs one concrete graph.

    It may be called from many threads at once: each call that finds no free arena gets one of its own,
    and all share the packed parameters.

    Parameters
    ----------
    graph
        Without symbolic dimensions.
    threads
        How many threads kernels may share their work over.
    exact
        Use only lowerings that round like a plain sum of products, and keep subnormal weights.
    lasting
        Whether parameters stay as they are for many runs.
    chosen
        Lowerings of some nodes, to use instead of those predicted to be the fastest.
    marks
        If given, every run records there the time (s) at which each of its steps ended.
    values
        If given, copies of each step's outputs are put there under its name.
    clock
        Tells the time of marks.
    store
        The store of packed parameters that it shares with other programs of the model.
    again
        Makes the graph again; if given, the plan may be released like the rest.
    measured
        Seconds of some nodes, for the plan.
    in_place
        Whether it updates parameters in place when all else is done: all of them or, if something ends the run before,
        none. Otherwise it returns their new values.
    budget
        The most bytes of its peak, which it keeps to by recomputing values; None for no limit.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        threads: int = 1,
        exact: bool = False,
        lasting: bool = True,
        chosen: Mapping[str, Choice] | None = None,
        marks: Marks | None = None,
        values: Values | None = None,
        clock: Callable[[], float] = perf_counter,
        store: Store | None = None,
        again: Callable[[], Graph] | None = None,
        measured: Mapping[str, float] | None = None,
        in_place: bool = False,
        budget: int | None = None,
    ) -> None:
        plan_it = make_plan if budget is None else partial(plan_within, budget=budget)
        self.compilation = Compilation(
            graph,
            partial(plan_it, threads=threads, exact=exact, lasting=lasting, chosen=chosen, in_place=in_place),
            partial(generate, marks=marks, values=values, clock=clock), again, measured or {},
        )  # fmt: skip
        """Its plan and program."""
        plan = self.compilation.plan
        check_room(plan.nbytes, "a run of the compiled program")
        self._store = store or Store()
        self.called = False
        """Whether it was called since the store last looked."""
        self.parameters = tuple(plan.parameters)
        """Names of the parameters it reads, in the order :meth:`load` wants them."""
        updated = {label for label, _ in plan.graph.updates} if plan.updates is not None else ()
        self._updated = frozenset(i for i, name in enumerate(self.parameters) if name in updated)
        self.whole = AtomicWrite(self._written) if self._updated else None
        """The context in which it writes parameters."""
        self.seen = -1
        """The count of changed contents when the parameters were last compared; for the caller's use."""
        self._writing = forkable() if self._updated else None
        self._helped: Sharing | None = None
        self._draws = bool(drawn(plan.graph))
        self._shares = bool(plan.names.regions)
        self._holds = self._shares or plan.largest > blas.ALONE
        self._filled, self._alone = values is not None, budget is not None
        self._lock = Lock()
        self._wanted: tuple[tuple[Array, ...], object] = (), None
        self._version: object = None
        self._read: frozenset[int] | None = None
        self._memory: ParameterMemory | None = None
        self._runs: Runs | None = None
        # the callback is written in C: it may be called in the midst of anything
        _executables.add(weakref.ref(self, _executables.discard))

    @property
    def plan(self) -> Plan:
        """How it runs."""
        return self.compilation.plan

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs of a run, without updates."""
        return self.plan.graph.output_types

    @property
    def source(self) -> Source:
        """The generated program."""
        return self.compilation.source

    def load(self, arrays: Sequence[Array], version: object) -> None:
        """Give it its parameters; packs weights where ``version`` is not that of the last call.

        The arrays are kept and read again when only the version changes, so updates in place are cheap. A tuple has a
        version for each array.
        """
        self._loaded(arrays, version)

    def _loaded(self, arrays: Sequence[Array], version: object) -> Runs:
        """The runs that read these versions of the parameters."""
        with self._lock:
            memory, runs = self._memory, self._runs
            same = memory is not None and memory.of(arrays)
            if runs is not None and same and version == self._version:
                return runs
            # until packing is complete there are no runs: a signal handler may raise at any moment, while threads
            # still pack
            self._runs = None
            self._wanted = tuple(arrays), version
            if memory is None or runs is None or not same:
                # a call in progress returns its run, which reads the old arrays, to the old runs
                memory, runs = self._bound(arrays)
                self._memory = memory
            memory.pack(version)
            self._version, self._runs = version, runs
        self._store.used(self, arrays)
        return runs

    def _bound(self, arrays: Sequence[Array]) -> tuple[ParameterMemory, Runs]:
        """Bind the program to these parameters."""
        memory = ParameterMemory(self.compilation, arrays, self._updated, self._store)
        writer = () if self.whole is None else (self.whole,)
        runs = Runs(self.compilation, memory.bind(*writer), filled=self._filled)
        if self._shares and worker_processes() is not None:
            if self._read is None:
                self._make_room()
                self._read = runs.read_by_workers(memory.copies.places, self._updated)
            if memory.copies.reach(self._read, self._store):
                runs.bind = memory.bind(*writer)
        return memory, runs

    def _written(self) -> None:
        """Count the update of the parameters as a change; if it is the only one, ``seen`` stays up to date."""
        assert self._memory is not None
        copies = self._memory.copies
        copies.write(self._helped)
        before = changes.of_contents.now
        now = changes.writes.note_all(copies.changes)
        if self.seen == before and now == before + 1:
            self.seen = now

    @property
    def gathered(self) -> frozenset[int]:
        """The numbers of the parameters that should be in shared memory, as workers read them."""
        return self._updated if self._shares and worker_processes() is not None else frozenset()

    def apart(self, arrays: Sequence[Array]) -> list[Array]:
        """These parameters, with copies in place of those that the program writes."""
        result = list(arrays)
        for i in self._updated:
            copy = np.array(arrays[i])  # in private memory, which workers cannot read
            shared = lasting_copy(copy) if i in self.gathered else None
            result[i] = copy if shared is None else shared
        return result

    @property
    def held_bytes(self) -> int:
        """Bytes of idle working memory, and (about) those of the program and its plan."""
        runs = self._runs
        return self.compilation.nbytes + (0 if runs is None else runs.nbytes)

    def idle(self, spare: int = 0) -> None:
        """Release working memory that no run is using, except that of ``spare`` runs."""
        runs = self._runs
        if runs is not None:
            runs.idle(spare)

    def release(self) -> None:
        """Release all but the plan, unless it is being loaded or writes parameters; the next call loads it."""
        with _held(self._lock, self._writing) as held:
            if held:
                self._memory = self._runs = self._helped = None
                self.seen = -1
                self.compilation.release()

    def unplan(self) -> None:
        """Release the plan too, if it can be made again and nothing is loaded."""
        with _held(self._lock) as held:
            if held and self._memory is None:
                self.compilation.unplan()

    def _make_room(self) -> None:
        """Before working memory is allocated: if there is a budget, other programs release theirs."""
        if self._alone:
            self._store.alone(self)

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run on arrays of the planned shapes and dtypes. Returns the outputs, then the updates if it leaves them."""
        if self._writing is None:
            return self._call(inputs)
        with self._writing:
            return self._call(inputs)

    def _call(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        self.called = True
        runs = self._runs
        if runs is None:
            runs = self._loaded(*self._wanted)
        free, more = runs.free, False
        try:
            run, sharing = free.pop()
        except IndexError:
            self._make_room()
            run, sharing = runs.new()
            more = True
        # a run that an exception ends, whatever it is, is not used again: another worker may still write to its memory
        if self._holds:
            blas.hold.begin()
        keys = current_keys() if self._draws else None
        before = 0 if keys is None else keys.state
        try:
            self._helped = sharing
            try:
                results = run(*inputs)
            except Abandoned:  # before anything but the run's own memory was written to
                if keys is not None:
                    keys.state = before  # the repeated run draws the same random numbers
                if (exchange := current()) is not None:
                    exchange.again()
                results = sharing.without(run, inputs)
        except Exception as error:
            if from_handler(error):
                raise
            raise self.compilation.explain(error, inputs) from error
        finally:
            if self._holds:
                blas.hold.finish()
        free.append((run, sharing))
        if more:
            self._store.used(self)
        return results

    def forget(self) -> None:
        """In a forked child: everything in shared memory has to be made again."""
        self._lock = Lock()
        self._store.forget()
        self.release()


def watched(
    plan: Plan, parameters: Sequence[Array] | None = None, *, marks: Marks | None = None, values: Values | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Executable:  # fmt: skip
    """A second program for a plan, which records the times or values of its steps and writes no parameter.

    It is loaded with the plan's parameters, if they are given. For a training step it updates copies of them, so that
    it takes as long as the step; if values are recorded, it returns the new parameters instead.
    """
    chosen = {step.name: step.choice for step in plan.steps}
    program = Executable(
        plan.graph, threads=plan.threads, exact=plan.exact, lasting=plan.lasting, chosen=chosen, marks=marks,
        values=values, clock=clock, in_place=plan.updates is not None and values is None,
    )  # fmt: skip
    if parameters is not None:
        named = dict(zip(plan.parameters, parameters, strict=True))
        program.load(program.apart([named[name] for name in program.parameters]), 0)
    return program


_executables: set[weakref.ref[Executable]] = set()


def _forget_arenas() -> None:
    """Release all arenas in a forked child: those in shared memory are still its parent's."""
    for ref in tuple(_executables):
        executable = ref()
        if executable is not None:
            executable.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_arenas)
