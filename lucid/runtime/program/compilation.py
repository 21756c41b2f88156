"""The result of compiling a graph: its plan, the source of its program, and the functions that this defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ...base.arrays import Array
from ...base.locks import forkable
from ...errors import ExecutionError, from_handler
from ...graph.ir import Graph
from ...graph.region import node_at, spelled
from ..workers.sharing import Run, Sharing
from .plan import Plan
from .printer import Source

if TYPE_CHECKING:
    from ..workers.parcel import Region

T = TypeVar("T")
Prepare: TypeAlias = Callable[[frozenset[int]], None]
Bind: TypeAlias = "Callable[[Array, Sharing], tuple[Run, Sequence[Region]]]"
Program: TypeAlias = "Callable[..., tuple[Prepare, Bind]]"

PROGRAM_BYTES, TEXT_BYTES = 8, 2
"""Bytes per character of source: of the program's functions and views, and of the text itself."""

NODE_BYTES, STEP_BYTES = 1500, 7000
"""Bytes of a plan per node of its graph, and per step."""


class Compilation:
    """The plan, the source and the program of one concrete graph; each is remade on demand after it was released.

    Parameters
    ----------
    graph
        The graph, without symbolic dimensions.
    make
        Plans a graph.
    generate
        Prints the program of a plan.
    again
        Makes the graph again; None if it cannot be made again, so that the plan is never released.
    measured
        Measured seconds of some nodes, by name, for the plan.
    """

    def __init__(
        self, graph: Graph, make: Callable[[Graph], Plan], generate: Callable[[Plan], Source],
        again: Callable[[], Graph] | None, measured: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._make, self._generate, self._again, self._measured = make, generate, again, measured
        self._lock = forkable()
        self._source: Source | None = None
        self._program: Program | None = None
        self._plan: Plan | None = self._planned(graph)

    @property
    def plan(self) -> Plan:
        """The plan, made again if it was released."""
        plan = self._plan
        if plan is None:
            with self._lock:
                plan = self._plan
                if plan is None:
                    assert self._again is not None
                    self._plan = plan = self._planned(self._again())
        return plan

    def _planned(self, graph: Graph) -> Plan:
        plan = self._make(graph)
        plan.measured.update(self._measured)
        return plan

    @property
    def source(self) -> Source:
        """The source of the program."""
        source = self._source
        if source is None:
            with self._lock:
                source = self._source
                if source is None:
                    self._source = source = self._generate(self.plan)
        return source

    @property
    def program(self) -> Program:
        """The function ``program`` that the source defines."""
        program = self._program
        if program is None:
            with self._lock:
                self._program = program = self._program or self.source.load("program")
        return program

    @property
    def planned(self) -> bool:
        """Whether the plan exists, that is, has not been released."""
        return self._plan is not None

    @property
    def nbytes(self) -> int:
        """Estimated bytes of the plan, the source and the functions."""
        plan, source, nbytes = self._plan, self._source, 0
        if plan is not None:
            nbytes = NODE_BYTES * len(plan.graph) + STEP_BYTES * len(plan.steps)
        if source is not None:
            nbytes += len(source.text) * (TEXT_BYTES + (0 if self._program is None else PROGRAM_BYTES))
        return nbytes

    def release(self) -> None:
        """Release the functions."""
        self._program = None

    def unplan(self) -> None:
        """Release the plan and the source too, if the plan can be made again and no other thread is making it."""
        if self._again is not None and self._lock.acquire(blocking=False):
            try:
                self._plan = self._source = self._program = None
            finally:
                self._lock.release()

    def guard(self, function: Callable[[], T]) -> T:
        """Call a function of the program; an error in one of its lines names the node that wrote the line."""
        try:
            return function()
        except Exception as error:
            if from_handler(error):
                raise
            raise self.explain(error, ()) from error

    def explain(self, error: Exception, inputs: Sequence[Array]) -> ExecutionError:
        """An error that names the node whose line failed."""
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
