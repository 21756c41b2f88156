"""Executable: a plan's program, bound to memory and run."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from functools import cached_property, partial
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from ..errors import ExecutionError
from ..graph.ir import Graph
from . import kernels as kernels
from .codegen import Source, generate
from .crew import Region
from .memory import ALIGNMENT
from .plan import Plan, make_plan
from .registry import Choice
from .team import Epoch, Run, Team

Array: TypeAlias = "np.ndarray[Any, Any]"


def quiet(run: Run) -> Run:
    """``run`` with NumPy's floating-point warnings off, in a context of its own that only one call enters at a time.

    ``np.errstate`` would take a microsecond of every call.
    """
    context = Context()
    context.run(np.seterr, all="ignore")
    return partial(context.run, run)


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
        Only lowerings that round as a plain sum of products does.
    chosen
        What runs some of the nodes, instead of what is predicted to be quickest.
    marks
        Where given, every run appends the name of each step and the time (s) at which it ended.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        threads: int = 1,
        exact: bool = False,
        chosen: Mapping[str, Choice] | None = None,
        marks: list[tuple[str, float]] | None = None,
    ) -> None:
        self._marks = marks
        self.plan: Plan = make_plan(graph, threads=threads, exact=exact, chosen=chosen)
        self.seen = -1
        """The content clock when the parameters were last compared; for the caller's use."""
        self._lock = Lock()
        self._arrays: tuple[int, ...] | None = None
        self._held: tuple[Array, ...] = ()
        self._copies: list[tuple[Array, Array]] = []
        self._version: object = None
        self._program: Callable[..., Any] | None = None
        self._prepare: Callable[[], None] | None = None
        self._bind: Callable[[Array, Team], tuple[Run, Sequence[Region]]] | None = None
        self._epoch = Epoch()
        self._free: deque[Run] = deque()
        _executables.add(self)

    @cached_property
    def source(self) -> Source:
        """The generated program."""
        return generate(self.plan, self._marks)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters it reads, in the order :meth:`load` wants them."""
        return tuple(self.plan.parameters)

    def load(self, arrays: Sequence[Array], version: object) -> None:
        """Give it its parameters; packs weights where ``version`` is not that of the last call.

        The arrays are kept and read again when only the version changes, so updates in place are cheap.
        """
        with self._lock:
            same = tuple(map(id, arrays)) == self._arrays
            if same and version == self._version:
                return
            if not same:
                self._program = program = self._program or self.source.load("program")
                # a program takes its parameters for row-major: those that lie otherwise it has as copies
                laid = [array if array.flags.c_contiguous else np.empty(array.shape, array.dtype) for array in arrays]
                self._copies = [(b, a) for a, b in zip(arrays, laid, strict=True) if a is not b]
                self._prepare, self._bind = program(laid)
                self._arrays = tuple(map(id, arrays))
                self._held = tuple(arrays)
                self._free = deque()  # a call that goes on meanwhile puts its run, of the old arrays, back into the old
            assert self._prepare is not None
            for copy, array in self._copies:
                np.copyto(copy, array)
            with np.errstate(all="ignore"):
                self._guard(self._prepare)
            self._epoch.number += 1
            self._version = version

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run on arrays of the planned shapes and dtypes. Returns the outputs, then the updates."""
        if self._bind is None:
            self.load([], None)
        free = self._free
        try:
            run = free.pop()
        except IndexError:
            run = self._new_run()
        try:
            return run(*inputs)
        except Exception as error:
            raise self._explain(error, inputs) from error
        finally:
            free.append(run)

    def _new_run(self) -> Run:
        assert self._bind is not None
        size = self.plan.arena_bytes
        team = Team(self.plan.threads if self.plan.names.regions else 1, self._epoch, brief=self.plan.brief)
        try:
            block = team.arena(size + ALIGNMENT)
        except (MemoryError, ValueError, OSError, OverflowError) as error:
            raise ExecutionError(f"no memory for an arena of {size:,} bytes") from error
        start = -block.ctypes.data % ALIGNMENT
        return quiet(team.bind(self._bind, block[start : start + size]))

    def _guard(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:
            raise self._explain(error, ()) from error

    def _explain(self, error: Exception, inputs: Sequence[Array]) -> ExecutionError:
        """Name the node whose line failed."""
        self.source.show()
        name, traceback = None, error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == self.source.filename:
                name = self.source.nodes.get(traceback.tb_lineno, name)
            traceback = traceback.tb_next
        given = ", ".join(f"{a.dtype}{list(a.shape)} strides {a.strides}" for a in inputs)
        if name is None:
            return ExecutionError(f"the compiled program failed on ({given}): {error}")
        node = self.plan.graph.node(name)
        types = ", ".join(str(self.plan.graph.type(v)) for v in self.plan.graph.inputs_of(name))
        where = f" ({node.origin})" if str(node.origin) else ""
        return ExecutionError(f"{name}: {node.op.name}({types}){where} failed on ({given}): {error}")


_executables: weakref.WeakSet[Executable] = weakref.WeakSet()


def _forget_arenas() -> None:
    """A forked child would write into the arenas, which processes share, while its parent does."""
    for executable in _executables:
        executable._free = deque()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_arenas)
