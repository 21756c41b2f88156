"""The programs of one trace: made when they are first asked for, kept while they are asked for again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from threading import RLock
from typing import Any, NamedTuple, TypeAlias

from ..autodiff.halves import Used, Wanted
from ..base.recent import Recent
from ..graph.ir import Graph
from ..passes.layout import Cost, assign_layout, lay_inputs, lay_results
from ..passes.regions import decide_branches
from ..runtime.backends import BackendProgram
from ..runtime.eager import evaluate
from ..runtime.planning.choosing import result_seconds
from ..runtime.program.executable import Executable
from ..runtime.program.store import Store
from ..runtime.tuning import Tuned, resolve, tune
from ..runtime.workers.settings import get_num_threads
from ..tensor.tensor import Tensor
from .options import Options
from .sizes import Orders, Sizes

TunedKey: TypeAlias = "tuple[Sizes, int]"
Program: TypeAlias = "Executable | BackendProgram"

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
    ) -> None:
        self._in_place = in_place
        self.made: Recent[Key, Program] = Recent(4 * PLANS)
        self.tuned = dict(tuned)
        self._tuned_apart: dict[tuple[Sizes, int, Orders], Mapping[str, Tuned]] = {}
        """The same for arrays that lie channels last, which is not saved."""
        self._options, self._state, self._store = options, state, store
        self._lock = RLock()

    def get(self, key: Key, graph: Callable[[], Graph]) -> Program:
        """The program for a key; it is made of the graph where there is none."""
        if self._options.backend is not None:
            key = key._replace(orders=())  # how arrays lie is for it to see
        with self._lock:
            program = self.made.use(key)
            if program is None:
                program = self._compile(key, graph())
                self.made.keep(key, program)
            return program

    def _compile(self, key: Key, graph: Graph) -> Program:
        """The program of a graph whose sizes are known; for inference with the lowerings that tuning found."""
        if self._options.backend is not None:
            return BackendProgram(decide_branches(graph.bind(dict(key.sizes)), evaluate), self._options.backend)
        threads, exact = self._options.threads or get_num_threads(), self._options.exact
        again = partial(_concrete, graph, key.sizes, key.orders, partial(result_seconds, threads=threads, exact=exact))
        graph = again()
        lasting = key.kind == "inference" and not self._in_place
        found = self._found(graph, key, threads) if lasting else {}
        return Executable(
            graph, threads=threads, exact=exact, lasting=lasting, chosen=resolve(graph, found, threads, exact),
            store=self._store, again=again, measured={name: one.seconds for name, one in found.items()},
            in_place=self._in_place, budget=self._options.memory_budget,
        )  # fmt: skip

    def _found(self, graph: Graph, key: Key, threads: int) -> Mapping[str, Tuned]:
        """What tuning has found for the nodes, now or earlier; nothing where no tuning was asked for."""
        known: dict[Any, Mapping[str, Tuned]] = self._tuned_apart if key.orders else self.tuned
        case = (key.sizes, threads, key.orders) if key.orders else (key.sizes, threads)
        if self._options.tune and case not in known:
            parameters = {name: self._state[name]._array for name in graph.parameters}
            known[case] = tune(graph, parameters, threads=threads, exact=self._options.exact)
        return known.get(case, {})


def _concrete(graph: Graph, sizes: Sizes, orders: Orders, cost: Cost) -> Graph:
    """The graph for these sizes, and inputs that lie in memory like this, with all layouts decided."""
    bound = graph.bind(dict(sizes))
    decided = decide_branches(bound, evaluate)
    if orders or decided is not bound:
        decided = assign_layout(lay_inputs(decided, orders) if orders else decided)
    return lay_results(decided, cost)
