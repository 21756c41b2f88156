"""The programs of one trace: compiled on demand, and cached."""

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
from ..passes.layout import Cost, assign_layout, lay_inputs, lay_results
from ..passes.part_pools import Taken, part_pools
from ..passes.regions import decide_branches
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
"""The kind of programs for sizes that data decides."""

PLANS = 16
"""How many concrete sizes keep their plans."""


class Key(NamedTuple):
    """What a program is made for.

    Attributes
    ----------
    kind
        "inference", "forward", "backward" or "recompute".
    sizes
        Of the symbolic dimensions.
    wanted
        The inputs that gradients are wanted of.
    orders
        How the inputs lie in memory; nothing where none lies channels last.
    used
        The outputs that a backward run has cotangents of.
    """

    kind: str
    sizes: Sizes
    wanted: Wanted = ()
    orders: Orders = ()
    used: Used = ()


class Programs:
    """Programs by what they are made for.

    Parameters
    ----------
    options
        How to compile.
    state
        The tensors behind the graphs' parameters, by name.
    tuned
        What tuning has found already: which lowerings run the nodes, for sizes and a number of threads.
    store
        Where they keep what they have in common with those of other traces of the model.
    in_place
        Whether those for inference are training steps, which write the parameters that they update.
    assumptions
        What the trace has taken for granted of the sizes that data decides.

    Attributes
    ----------
    made
        Those that are kept, the one last asked for at the end.
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
        self._making = _Making(options, state, dict(tuned), store, in_place, tuple(assumptions))
        self._lock = forkable()

    @property
    def tuned(self) -> dict[TunedKey, Mapping[str, Tuned]]:
        """What tuning has found, but for arrays that lie channels last."""
        return self._making.tuned

    def get(self, key: Key, graph: Callable[[], Graph]) -> Program:
        """The program for a key; it is made of the graph where there is none."""
        if self._making.options.backend is not None:
            key = key._replace(orders=())  # how arrays lie is for it to see
        with self._lock:
            program = self.made.use(key)
            if program is None:
                program = self._making.program(key, graph())
                self.made.keep(key, program)
            return program


class _Making:
    """How programs are made (see :class:`Programs`); it does not know which there are."""

    def __init__(
        self, options: Options, state: Mapping[str, Tensor], tuned: dict[TunedKey, Mapping[str, Tuned]], store: Store,
        in_place: bool, assumptions: Sequence[Assumption],
    ) -> None:  # fmt: skip
        self.options, self.tuned = options, tuned
        self._tuned_apart: dict[tuple[Sizes, int, Orders], Mapping[str, Tuned]] = {}
        self._state, self._store, self._in_place, self._assumptions = state, store, in_place, assumptions

    def program(self, key: Key, graph: Graph) -> Program:
        """The program of a graph for these sizes: of stages, where data decides others."""
        if found_sizes(graph).keys() <= dict(key.sizes).keys():
            return self._whole(key, graph)
        prove = partial(check, folder=self.options.evidence) if self.options.verify else None
        return Staged(graph, key.sizes, self._assumptions, partial(self._stage, key), prove)

    def _stage(self, key: Key, graph: Graph, sizes: Sizes, orders: Orders) -> Executable | BackendProgram:
        """That of a stage, whose symbols all have sizes; what comes again with other sizes is not worth tuning."""
        first = dict(sizes).keys() <= dict(key.sizes).keys()
        return self._whole(key._replace(kind=key.kind if first else STAGE, sizes=sizes, orders=orders), graph)

    def _whole(self, key: Key, graph: Graph) -> Executable | BackendProgram:
        """The program of a graph whose sizes are known; for inference with the lowerings that tuning found."""
        if self.options.backend is not None:
            return BackendProgram(decide_branches(graph.bind(dict(key.sizes)), evaluate), self.options.backend)
        threads, exact = self.options.threads or get_num_threads(), self.options.exact
        lasting = key.kind in ("inference", STAGE) and not self._in_place
        until_had = partial(result_seconds, threads=threads, exact=exact)
        taken = partial(node_seconds, threads=threads, exact=exact, lasting=lasting)
        again = partial(_concrete, graph, key.sizes, key.orders, until_had, taken)
        graph = again()
        found = self._found(graph, key, threads) if lasting and key.kind != STAGE else {}
        return Executable(
            graph, threads=threads, exact=exact, lasting=lasting, chosen=resolve(graph, found, threads, exact),
            store=self._store, again=again, measured={name: one.seconds for name, one in found.items()},
            in_place=self._in_place, budget=self.options.memory_budget,
        )  # fmt: skip

    def _found(self, graph: Graph, key: Key, threads: int) -> Mapping[str, Tuned]:
        """What tuning has found for the nodes, now or earlier; nothing where no tuning was asked for."""
        known: dict[Any, Mapping[str, Tuned]] = self._tuned_apart if key.orders else self.tuned
        case = (key.sizes, threads, key.orders) if key.orders else (key.sizes, threads)
        if self.options.tune and case not in known:
            parameters = {name: self._state[name]._array for name in graph.parameters}
            known[case] = tune(graph, parameters, threads=threads, exact=self.options.exact)
        return known.get(case, {})


def _concrete(graph: Graph, sizes: Sizes, orders: Orders, until_had: Cost, taken: Taken) -> Graph:
    """The graph for these sizes, and inputs that lie in memory like this, with all layouts decided."""
    bound = graph.bind(dict(sizes))
    decided = part_pools(decide_branches(bound, evaluate), taken)
    if orders or decided is not bound:
        decided = assign_layout(lay_inputs(decided, orders) if orders else decided)
    return lay_results(decided, until_had)


def check(
    program: Executable | BackendProgram, parameters: Sequence[Array], inputs: Sequence[Array], *,
    folder: str | os.PathLike[str] | None,
) -> None:  # fmt: skip
    """Compare a program, which has its parameters, with the reference on these inputs."""
    if isinstance(program, BackendProgram):
        proof.check_results(program, parameters, inputs)
    else:
        proof.check_program(program.plan, parameters, inputs, folder)
