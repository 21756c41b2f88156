"""Programs for graphs with data-dependent sizes: one per stage, compiled for the sizes found by earlier stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.lazy import LazyModule
from ..base.locks import forkable
from ..base.recent import Recent
from ..errors import ShapeError
from ..graph.assume import Assumption
from ..graph.facts import symbols_of
from ..graph.ir import Graph, Value
from ..graph.opdef import ParameterAttrs
from ..graph.ops.source import ConstantAttrs
from ..graph.stages import Stage, number, stages
from ..graph.types import order_of
from ..runtime.backends import BackendProgram
from ..runtime.program.executable import Executable
from .sizes import Orders, Sizes

if TYPE_CHECKING:
    from ..proof import programs as proof
else:
    proof = LazyModule("lucid.proof.programs")

KEPT = 64
"""For how many sizes the program of a stage is kept."""


Runs: TypeAlias = "Executable | BackendProgram"
Make: TypeAlias = "Callable[[Graph, Sizes, Orders], Runs]"
Prove: TypeAlias = "Callable[[Runs, Sequence[Array], Sequence[Array]], None]"
State: TypeAlias = "Mapping[str, tuple[Array, object]]"


class UntrueError(ShapeError):
    """A data-dependent size violates an assumption of the trace.

    Attributes
    ----------
    instead
        The assumptions that hold instead.
    """

    instead: tuple[Assumption, ...] = ()


class Staged:
    """Runs a graph stage by stage; used like an executable.

    Results of a stage with a data-dependent size are padded; the next stage takes the valid part by slices of a size
    that is known then. So each stage runs as an ordinary program of known sizes, which is kept in case these recur.

    Parameters
    ----------
    graph
        The graph, with its symbolic sizes.
    sizes
        Sizes of the inputs' symbols.
    assumptions
        What the trace assumed about data-dependent sizes.
    make
        Compiles the program of a stage.
    prove
        Compares such a program with the reference, given its parameters and inputs; None to skip this.

    Attributes
    ----------
    parameters
        Names of the parameters, in the order in which :meth:`load` takes them.
    output_types
        Types of the outputs, without updates; symbolic where data-dependent.
    seen
        The count of changed contents when the parameters were last compared; for the caller's use.
    """

    def __init__(
        self, graph: Graph, sizes: Sizes, assumptions: Sequence[Assumption], make: Make, prove: Prove | None = None
    ) -> None:
        self.graph, self._sizes = graph, dict(sizes)
        self.parameters = tuple(graph.parameters)
        self.output_types = graph.output_types
        self.seen = -1
        self._state: State = {}
        self._stages = [_Stage(one, make, prove) for one in stages(graph, self._sizes)]
        self._assumptions = tuple(assumptions)

    def load(self, arrays: Sequence[Array], version: object) -> None:
        """Set the parameters."""
        versions = version if isinstance(version, tuple) else (version,) * len(arrays)
        self._state = dict(zip(self.parameters, zip(arrays, versions, strict=True), strict=True))

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run on arrays of the graph's types. Returns the outputs, then the updates."""
        state = self._state
        given = self._given(inputs, state)
        values, _ = self._through(given, state, _Stage.run)
        return tuple(np.array(values[value]) if value in given else values[value] for value in self.graph.results)

    def values(self, inputs: Sequence[Array]) -> tuple[Graph, dict[Value, Array]]:
        """The graph with the sizes that are found, and the values that the steps of the programs compute."""
        state = self._state
        values, sizes = self._through(self._given(inputs, state), state, _Stage.values)
        return self.graph.bind(sizes), {value: x for value, x in values.items() if value.node in self.graph}

    def _through(
        self, given: Mapping[Value, Array], state: State, run: Callable[..., Iterable[tuple[Value, Array]]]
    ) -> tuple[dict[Value, Array], dict[str, int]]:
        """The values that ``run`` returns for the stages, one after the other, and all sizes."""
        values, sizes = dict(given), dict(self._sizes)
        for stage in self._stages:
            for symbol, count in stage.sizes.items():
                sizes[symbol] = number(self.graph, count, values)
            self._check(stage.sizes.keys(), sizes)
            values.update(run(stage, sizes, values, state))
        return values, sizes

    def _given(self, inputs: Sequence[Array], state: State) -> dict[Value, Array]:
        """The inputs, and parameters and constants that are results."""
        found = {Value(name): x for name, x in zip(self.graph.inputs, inputs, strict=True)}
        for value in self.graph.results:
            attrs = self.graph.node(value.node).attrs
            if isinstance(attrs, ConstantAttrs):
                found[value] = attrs.value.array
            elif isinstance(attrs, ParameterAttrs):
                found[value] = state[attrs.name][0]
        return found

    def _check(self, new: Set[str], sizes: Mapping[str, int]) -> None:
        """Raise if the sizes, some of them ``new``, violate an assumption of the trace."""
        known = [one for one in self._assumptions if one.dim.symbols <= sizes.keys()]
        untrue = next((one for one in known if not new.isdisjoint(one.dim.symbols) and not one.holds(sizes)), None)
        if untrue is not None:
            found = ", ".join(f"{name} is {sizes[name]}" for name in sorted(untrue.dim.symbols))
            error = UntrueError(f"the data decides that {found}, but the model was traced for {untrue}")
            error.instead = tuple(one if one.holds(sizes) else one.negated for one in known)
            raise error


class _Stage:
    """One of the stages, with its programs."""

    def __init__(self, stage: Stage, make: Make, prove: Prove | None) -> None:
        self.sizes, self._part, self._make, self._prove = stage.sizes, stage.part, make, prove
        self._empty = not stage.part.computing
        nodes = [node for _, node in stage.part.graph.nodes()]
        self._symbols = sorted(frozenset[str]().union(*map(symbols_of, nodes)))
        self._programs: Recent[tuple[Sizes, Orders], Runs] = Recent(KEPT)
        self._lock = forkable()

    def _ready(self, sizes: Mapping[str, int], values: Mapping[Value, Array]) -> tuple[Runs, list[Array]]:
        """The program for these sizes and the memory orders of its inputs, and the inputs."""
        feeds = [values[value] for value in self._part.inputs]
        key = tuple((name, sizes[name]) for name in self._symbols), tuple(map(order_of, feeds))
        with self._lock:
            program = self._programs.use(key)
            if program is None:
                program = self._make(self._part.graph, *key)
                self._programs.keep(key, program)
            return program, feeds

    def run(
        self, sizes: Mapping[str, int], values: Mapping[Value, Array], state: State
    ) -> Iterable[tuple[Value, Array]]:
        """The outputs of the stage."""
        if self._empty:
            return ()
        program, feeds = self._ready(sizes, values)
        known = [state[name] for name in program.parameters]
        arrays = [array for array, _ in known]
        program.load(arrays, tuple(version for _, version in known))
        if self._prove is not None and program.seen < 0:
            self._prove(program, arrays, feeds)
            program.seen = 0
        return zip(self._part.outputs, program(*feeds), strict=True)

    def values(
        self, sizes: Mapping[str, int], values: Mapping[Value, Array], state: State
    ) -> Iterable[tuple[Value, Array]]:
        """The values that its steps compute, by node, and its outputs."""
        if self._empty:
            return ()
        program, feeds = self._ready(sizes, values)
        assert isinstance(program, Executable)  # the caller has excluded back ends
        made, results = proof.step_values(program.plan, [state[name][0] for name in program.plan.parameters], feeds)
        return [*made.items(), *zip(self._part.outputs, results, strict=True)]
