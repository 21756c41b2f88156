"""Executable: a plan's program, bound to memory and run."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from functools import partial
from itertools import chain
from threading import Lock, RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from ...base import changes
from ...base.arrays import Array
from ...base.lazy import LazyModule
from ...base.locks import forkable
from ...errors import ExecutionError, from_handler
from ...graph.facts import drawn
from ...graph.ir import Graph
from ...graph.region import node_at, spelled
from ...graph.rng import current_keys
from ...graph.types import TensorType
from ..planning.available_memory import check_room
from ..planning.registry import Choice
from ..workers import blas
from ..workers.board import Abandoned
from ..workers.exchange import current
from ..workers.settings import lasting_copy, private_bytes, shared_bytes, worker_processes
from ..workers.sharing import Run, Sharing
from .atomic import AtomicWrite
from .budget import plan_within
from .marks import Marks
from .parameter_copies import ParameterCopies
from .plan import Plan, make_plan
from .printer import Source, Values, generate
from .store import Kept, Store
from .subnormal import flush

if TYPE_CHECKING:
    from ..workers.parcel import Region

parcel = LazyModule("lucid.runtime.workers.parcel")

T = TypeVar("T")
Bind: TypeAlias = "Callable[[Array, Sharing], tuple[Run, Sequence[Region]]]"

PROGRAM_BYTES, TEXT_BYTES = 8, 2
"""Bytes per character of source: of the program's functions and views, and of the text itself."""

NODE_BYTES, STEP_BYTES = 1500, 7000
"""Bytes of a plan per node of its graph, and per step."""


def quiet(run: Run) -> Run:
    """``run`` with NumPy's floating-point warnings off, in a context of its own that only one call enters at a time.

    ``np.errstate`` would take a microsecond of every call.
    """
    context = Context()
    context.run(np.seterr, all="ignore")
    return partial(context.run, run)


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
        self._watched = marks, values, clock
        self._graph, self._measured = again, measured or {}
        make = make_plan if budget is None else partial(plan_within, budget=budget)
        self._make = partial(make, threads=threads, exact=exact, lasting=lasting, chosen=chosen, in_place=in_place)
        self._exact, self._alone = exact, budget is not None
        self._store = store or Store()
        self._kept: list[Kept] = []
        self.called = False
        """Whether it was called since the store last looked."""
        self._source: Source | None = None
        self._plan: Plan | None = None
        plan = self._planned(graph)
        check_room(plan.nbytes, "a run of the compiled program")
        self.parameters = tuple(plan.parameters)
        """Names of the parameters it reads, in the order :meth:`load` wants them."""
        updated = {label for label, _ in plan.graph.updates} if plan.updates is not None else ()
        self._updated = frozenset(i for i, name in enumerate(self.parameters) if name in updated)
        self.whole = AtomicWrite(self._written) if self._updated else None
        """The context in which it writes parameters."""
        self._writing = forkable() if self._updated else None
        self._laid: ParameterCopies | None = None
        self._helped: Sharing | None = None
        self._draws = bool(drawn(plan.graph))
        self._shares = bool(plan.names.regions)
        self._holds = self._shares or plan.largest > blas.ALONE
        self.seen = -1
        """The count of changed contents when the parameters were last compared; for the caller's use."""
        self._lock = Lock()
        self._arrays: tuple[int, ...] | None = None
        self._wanted: tuple[tuple[Array, ...], object] = (), None
        self._version: object = None
        self._program: Callable[..., Any] | None = None
        self._prepare: Callable[[frozenset[int]], None] | None = None
        self._bind: tuple[Bind, Plan] | None = None
        self._read: frozenset[int] | None = None
        self._free: deque[tuple[Run, Sharing]] = deque()
        self._spare: deque[Array] = deque()
        # the callback is written in C: it may be called in the midst of anything
        _executables.add(weakref.ref(self, _executables.discard))

    @property
    def plan(self) -> Plan:
        """How it runs."""
        plan = self._plan
        if plan is None:
            with self._lock:
                plan = self._planned()
        return plan

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs of a run, without updates."""
        return self.plan.graph.output_types

    @property
    def source(self) -> Source:
        """The generated program."""
        source = self._source
        if source is None:
            with self._lock:
                source = self._printed()
        return source

    def _planned(self, graph: Graph | None = None) -> Plan:
        """With the lock held: the plan, made again if it was released."""
        if self._plan is None:
            if graph is None:
                assert self._graph is not None
                graph = self._graph()
            plan = self._make(graph)
            plan.measured.update(self._measured)
            self._plan = plan
        return self._plan

    def _printed(self) -> Source:
        """With the lock held: the program's source."""
        if self._source is None:
            self._source = generate(self._planned(), *self._watched)
        return self._source

    def load(self, arrays: Sequence[Array], version: object) -> None:
        """Give it its parameters; packs weights where ``version`` is not that of the last call.

        The arrays are kept and read again when only the version changes, so updates in place are cheap. A tuple has a
        version for each array.
        """
        with self._lock:
            names = tuple(map(id, arrays))
            same = names == self._arrays and not any(kept.retired for kept in self._kept)
            if same and version == self._version:
                return
            # until packing is complete the parameters count as not loaded: a signal handler may raise at any moment,
            # while threads still pack
            self._arrays = None
            self._wanted = tuple(arrays), version
            if not same:
                self._lay(arrays)
            assert self._prepare is not None
            assert self._laid is not None
            self._laid.read()
            self._pack(version)
            self._version = version
            self._arrays = names
        self._store.used(self, arrays)

    def _pack(self, version: object) -> None:
        """Pack what no program has packed yet from these versions of the parameters."""
        with self._store.lock:
            stale, stamps = [], []
            for number, (packing, kept) in enumerate(zip(self._planned().packings.all, self._kept, strict=False)):
                per_array = isinstance(version, tuple)
                stamps.append(tuple(version[i] for i in packing.parameters) if per_array else (version,))  # type: ignore[index]
                if kept.stamp != stamps[-1]:
                    stale.append(number)
                    kept.stamp = None
            if not stale:
                return
            blas.hold.begin()
            try:
                with np.errstate(all="ignore"):
                    assert self._prepare is not None
                    self._guard(partial(self._prepare, frozenset(stale)))
            except BaseException:
                self._store.retire(self._kept[i] for i in (*stale, len(stamps)))  # the last is the workspace
                raise
            finally:
                blas.hold.finish()
            packings = self._planned().packings
            for operand, (number, place) in packings.places.items():
                if number in stale and packings.all[number].parameters:  # constants stay as the user wrote them
                    nbytes = operand.type.nbytes
                    packed = self._kept[number].memory[place : place + nbytes].view(operand.type.dtype)
                    if not self._exact:
                        flush(packed)
            for number in stale:
                self._kept[number].stamp = stamps[number]

    def _lay(self, arrays: Sequence[Array]) -> None:
        """Make the program again for these parameters."""
        plan, source = self._planned(), self._printed()
        self._program = program = self._program or source.load("program")
        laid = ParameterCopies(arrays, self._updated, self._exact)
        regions = bool(plan.names.regions)
        with self._store.lock:
            self._kept = [self._store.packed(packing, arrays, regions) for packing in plan.packings.all]
            self._kept.append(self._store.workspace(plan.workspace_bytes))
            kept = [entry.memory for entry in self._kept]
        writer = () if self.whole is None else (self.whole,)
        self._prepare, bind = self._guard(lambda: program(laid.places, kept, *writer))
        self._bind = bind, plan
        # a call in progress appends its run, which reads the old arrays, to the old deque
        self._free = deque()
        if regions and worker_processes() is not None:
            if self._read is None:
                arena = self._arena(plan)
                regions_bound, early = self._bound(bind, plan, arena)[1].regions, plan.names.early
                self._spare = deque([arena])  # else a second one would be allocated while this still exists
                spans = parcel.spans(regions_bound)
                first, every = (parcel.meeting(chain.from_iterable(of), laid.places) for of in (spans[:early], spans))
                self._read = first | (every - self._updated)
            if laid.reach(self._read, self._store):
                self._kept += laid.kept
                self._prepare, bind = self._guard(lambda: program(laid.places, kept, *writer))
                self._bind = bind, plan
        self._laid = laid

    def _written(self) -> None:
        """Count the update of the parameters as a change; if it is the only one, ``seen`` stays up to date."""
        laid = self._laid
        assert laid is not None
        laid.write(self._helped)
        before = changes.of_contents.now
        now = changes.writes.note_all(laid.changes)
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
        plan, source, nbytes = self._plan, self._source, 0
        if plan is not None:
            arenas = len(self._free) + len(self._spare)
            nbytes = arenas * plan.arena_bytes + NODE_BYTES * len(plan.graph) + STEP_BYTES * len(plan.steps)
        if source is not None:
            nbytes += len(source.text) * (TEXT_BYTES + (0 if self._program is None else PROGRAM_BYTES))
        return nbytes

    def idle(self, spare: int = 0) -> None:
        """Release working memory that no run is using, except that of ``spare`` runs."""
        free = self._free
        self._spare.clear()
        with contextlib.suppress(IndexError):  # other threads take and return runs at any time
            while len(free) > spare:
                free.popleft()

    def release(self) -> None:
        """Release all but the plan, unless it is being loaded or writes parameters; the next call loads it."""
        with _held(self._lock, self._writing) as held:
            if held:
                self._arrays = self._program = self._prepare = self._bind = None
                self._kept, self._laid = [], None
                self._free, self._spare, self._helped, self.seen = deque(), deque(), None, -1

    def unplan(self) -> None:
        """Release the plan too, if it can be made again and nothing is loaded."""
        with _held(self._lock) as held:
            if held and self._graph is not None and self._program is None:
                self._plan = self._source = None

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run on arrays of the planned shapes and dtypes. Returns the outputs, then the updates if it leaves them."""
        if self._writing is None:
            return self._call(inputs)
        with self._writing:
            return self._call(inputs)

    def _call(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        self.called = True
        if self._arrays is None:
            self.load(*self._wanted)
        free, more = self._free, False
        try:
            run, sharing = free.pop()
        except IndexError:
            run, sharing = self._new_run()
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
            raise self._explain(error, inputs) from error
        finally:
            if self._holds:
                blas.hold.finish()
        free.append((run, sharing))
        if more:
            self._store.used(self)
        return results

    def _new_run(self) -> tuple[Run, Sharing]:
        while (bound := self._bind) is None:
            self.load(*self._wanted)
        bind, plan = bound
        try:
            block = self._spare.pop()
        except IndexError:
            block = self._arena(plan)
        if self._watched[1] is not None:
            block.fill(255)  # else results of an earlier run would hide a step that reads memory before it is written
        return self._bound(bind, plan, block)

    def _bound(self, bind: Bind, plan: Plan, block: Array) -> tuple[Run, Sharing]:
        constants = [thing for thing in plan.names.namespace.values() if type(thing) is np.ndarray]
        sharing = Sharing(plan.threads if plan.names.regions else 1, constants, brief=plan.brief)
        return quiet(self._guard(lambda: sharing.bind(bind, block))), sharing

    def _arena(self, plan: Plan) -> Array:
        size = plan.arena_bytes
        if self._alone:
            self._store.alone(self)
        try:
            return shared_bytes(size) if plan.names.regions else private_bytes(size)
        except (MemoryError, ValueError, OSError, OverflowError) as error:
            raise ExecutionError(f"no memory for an arena of {size:,} bytes") from error

    def forget(self) -> None:
        """In a forked child: everything in shared memory has to be made again."""
        self._lock = Lock()
        self._store.forget()
        self.release()

    def _guard(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except Exception as error:
            if from_handler(error):
                raise
            raise self._explain(error, ()) from error

    def _explain(self, error: Exception, inputs: Sequence[Array]) -> ExecutionError:
        """Name the node whose line failed."""
        source = self.source
        source.show()
        path, traceback = None, error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == source.filename:
                path = source.nodes.get(traceback.tb_lineno, path)
            traceback = traceback.tb_next
        given = ", ".join(f"{a.dtype}{list(a.shape)} strides {a.strides}" for a in inputs)
        if path is None:
            return ExecutionError(f"the compiled program failed on ({given}): {error}")
        graph, name = node_at(self.plan.graph, path)
        node = graph.node(name)
        types = ", ".join(str(graph.type(v)) for v in graph.inputs_of(name))
        where = f" ({node.origin})" if str(node.origin) else ""
        return ExecutionError(f"{spelled(path)}: {node.op.name}({types}){where} failed on ({given}): {error}")


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
