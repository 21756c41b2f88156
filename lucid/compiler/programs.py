"""The programs of one trace, compiled on demand and cached."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..autodiff.halves import Used, Wanted
from ..base.arrays import Array
from ..base.lazy import LazyModule
from ..base.locks import forkable
from ..base.recent import Recent
from ..graph.assume import Assumption
from ..graph.ir import Graph
from ..graph.stages import found_sizes
from ..passes.layout import ResultCost, assign_layout, lay_inputs, lay_results
from ..passes.regions import decide_branches
from ..passes.split_pools import NodeCost, split_pools
from ..runtime.backends import BackendProgram
from ..runtime.eager import evaluate
from ..runtime.planning.choosing import node_seconds, result_seconds
from ..runtime.program.executable import Executable
from ..runtime.program.store import Store
from ..runtime.tuning import Tuned, resolve, tune
from ..runtime.workers.settings import get_num_threads
from ..tensor.tensor import Tensor
from .options import Options
from .sizes import Orders, Sizes
from .staged import Staged

if TYPE_CHECKING:
    from ..proof import programs as proof
else:
    proof = LazyModule("lucid.proof.programs")

TunedKey: TypeAlias = "tuple[Sizes, int]"
Program: TypeAlias = "Executable | BackendProgram | Staged"

STAGE = "stage"
"""The kind of programs for data-dependent sizes."""

PLANS = 16
"""For how many sets of concrete sizes programs are kept."""


class Key(NamedTuple):
    """What a program is compiled for.

    Attributes
    ----------
    kind
        "inference", "forward", "backward" or "recompute".
    sizes
        Sizes of the symbolic dimensions.
    wanted
        The inputs with respect to which gradients are wanted.
    orders
        Memory orders of the inputs, empty if none is channels-last.
    used
        The outputs for which a backward run receives cotangents.
    """

    kind: str
    sizes: Sizes
    wanted: Wanted = ()
    orders: Orders = ()
    used: Used = ()


class Programs:
    """The programs of a trace, by key.

    Parameters
    ----------
    options
        How to compile.
    state
        The tensors behind the graphs' parameters, by name.
    tuned
        Earlier results of tuning: the lowering of each node, by sizes and number of threads.
    store
        Where programs keep what they share with those of other traces of the model.
    in_place
        Whether the inference programs are training steps, which write the parameters that they update.
    assumptions
        What the trace assumed about data-dependent sizes.

    Attributes
    ----------
    made
        The programs that are kept, the most recently used last.
    """

    def __init__(
        self,
        options: Options,
        state: Mapping[str, Tensor],
        tuned: Mapping[TunedKey, Mapping[str, Tuned]],
        store: Store,
        in_place: bool = False,
        assumptions: Sequence[Assumption] = (),
    ) -> None:
        self.made: Recent[Key, Program] = Recent(4 * PLANS)
        self._compiler = _Compiler(options, state, dict(tuned), store, in_place, tuple(assumptions))
        self._lock = forkable()

    @property
    def tuned(self) -> dict[TunedKey, Mapping[str, Tuned]]:
        """The results of tuning, except for channels-last arrays."""
        return self._compiler.tuned

    def get(self, key: Key, graph: Callable[[], Graph]) -> Program:
        """The program for a key, compiled from the graph if there is none yet."""
        if self._compiler.options.backend is not None:
            key = key._replace(orders=())  # a back end handles memory orders itself
        with self._lock:
            program = self.made.use(key)
            if program is None:
                program = self._compiler.program(key, graph())
                self.made.keep(key, program)
            return program


class _Compiler:
    """Compiles programs (see :class:`Programs`, which keeps them)."""

    def __init__(
        self, options: Options, state: Mapping[str, Tensor], tuned: dict[TunedKey, Mapping[str, Tuned]], store: Store,
        in_place: bool, assumptions: Sequence[Assumption],
    ) -> None:  # fmt: skip
        self.options, self.tuned = options, tuned
        self._tuned_apart: dict[tuple[Sizes, int, Orders], Mapping[str, Tuned]] = {}
        self._state, self._store, self._in_place, self._assumptions = state, store, in_place, assumptions

    def program(self, key: Key, graph: Graph) -> Program:
        """The program of a graph for these sizes; staged if others depend on data."""
        if found_sizes(graph).keys() <= dict(key.sizes).keys():
            return self._whole(key, graph)
        prove = partial(check, folder=self.options.evidence) if self.options.verify else None
        return Staged(graph, key.sizes, self._assumptions, partial(self._stage, key), prove)

    def _stage(self, key: Key, graph: Graph, sizes: Sizes, orders: Orders) -> Executable | BackendProgram:
        """The program of a stage, whose sizes are all known. Stages that recur with other sizes are not tuned."""
        first = dict(sizes).keys() <= dict(key.sizes).keys()
        return self._whole(key._replace(kind=key.kind if first else STAGE, sizes=sizes, orders=orders), graph)

    def _whole(self, key: Key, graph: Graph) -> Executable | BackendProgram:
        """The program of a graph whose sizes are known; for inference, with the lowerings that tuning chose."""
        if self.options.backend is not None:
            return BackendProgram(decide_branches(graph.bind(dict(key.sizes)), evaluate), self.options.backend)
        threads, exact = self.options.threads or get_num_threads(), self.options.exact
        lasting = key.kind in ("inference", STAGE) and not self._in_place
        result_cost = partial(result_seconds, threads=threads, exact=exact)
        node_cost = partial(node_seconds, threads=threads, exact=exact, lasting=lasting)
        again = partial(_concrete, graph, key.sizes, key.orders, result_cost, node_cost)
        graph = again()
        found = self._found(graph, key, threads) if lasting and key.kind != STAGE else {}
        return Executable(
            graph, threads=threads, exact=exact, lasting=lasting, chosen=resolve(graph, found, threads, exact),
            store=self._store, again=again, measured={name: one.seconds for name, one in found.items()},
            in_place=self._in_place, budget=self.options.memory_budget,
        )  # fmt: skip

    def _found(self, graph: Graph, key: Key, threads: int) -> Mapping[str, Tuned]:
        """The results of tuning for the nodes, now or earlier; empty without ``tune``."""
        known: dict[Any, Mapping[str, Tuned]] = self._tuned_apart if key.orders else self.tuned
        case = (key.sizes, threads, key.orders) if key.orders else (key.sizes, threads)
        if self.options.tune and case not in known:
            parameters = {name: self._state[name]._array for name in graph.parameters}
            known[case] = tune(graph, parameters, threads=threads, exact=self.options.exact)
        return known.get(case, {})


def _concrete(graph: Graph, sizes: Sizes, orders: Orders, result_cost: ResultCost, node_cost: NodeCost) -> Graph:
    """The graph for these sizes and memory orders of inputs, with the memory orders of all values decided."""
    bound = graph.bind(dict(sizes))
    decided = split_pools(decide_branches(bound, evaluate), node_cost)
    if orders or decided is not bound:
        decided = assign_layout(lay_inputs(decided, orders) if orders else decided)
    return lay_results(decided, result_cost)


def check(
    program: Executable | BackendProgram, parameters: Sequence[Array], inputs: Sequence[Array], *,
    folder: str | os.PathLike[str] | None,
) -> None:  # fmt: skip
    """Compare a program with loaded parameters with the reference, on these inputs."""
    if isinstance(program, BackendProgram):
        proof.check_results(program, parameters, inputs)
    else:
        proof.check_program(program.plan, parameters, inputs, folder)
