"""One trace of a function, and everything compiled from it.

A specialization holds the traced graph, what the passes made of it, and for each concrete batch size
the executables: for inference, and for training the forward and backward halves of the joint graph.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from threading import RLock
from typing import Any, TypeAlias

import numpy as np

from ..autodiff.halves import Halves, Used, Wanted
from ..base import clock
from ..base.checks import shown
from ..errors import DTypeError, OptionError, ShapeError
from ..graph.assume import Assumption, example_sizes
from ..graph.dims import SymDim
from ..graph.dims import evaluate as evaluate_dim
from ..graph.facts import drawn
from ..graph.ir import Graph, Node
from ..graph.types import is_float, order_of, widths_hint
from ..graph.verify import verify as verify_graph
from ..passes.assign_layout import assign_layout, lay_inputs
from ..passes.editing import USUAL, Pipeline
from ..passes.pipeline import Observer, Pass, inference_pipeline, run_passes, training_pipeline
from ..runtime.eager import evaluate
from ..runtime.planning.registry import lowerings
from ..runtime.planning.tuning import Tuned, resolve, tune
from ..runtime.program.executable import Executable
from ..runtime.program.store import Store
from ..runtime.workers.settings import MOST_THREADS, get_num_threads
from ..tensor.tensor import Tensor
from .arguments import LEAF, Structure
from .results import Results
from .verification import check_program

Array: TypeAlias = "np.ndarray[Any, Any]"
Sizes: TypeAlias = "tuple[tuple[str, int], ...]"
TunedKey: TypeAlias = "tuple[Sizes, int]"
Orders: TypeAlias = "tuple[tuple[int, ...] | None, ...]"

PLANS = 16
"""How many concrete sizes keep their plans."""

GRAPH_BYTES = 3000
"""Bytes that a graph takes, for each of its nodes."""


@dataclass(frozen=True)
class Options:
    """How to compile.

    Attributes
    ----------
    threads
        How many threads one call may use; None for ``lucid.get_num_threads()``.
    exact
        Take no lowering that rounds differently from a plain sum of products.
    verify
        Check every pass on sampled inputs, and every step of each program on its first ones, against the reference.
    passes
        Changes of the usual passes; or those for inference instead of them.
    tune
        Measure the ways to run each node of an inference program, and take the quickest.
    """

    threads: int | None = None
    exact: bool = False
    verify: bool = False
    passes: tuple[Pass, ...] | Pipeline = USUAL
    tune: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and (
            not isinstance(self.threads, int) or isinstance(self.threads, bool) or not 0 < self.threads <= MOST_THREADS
        ):
            raise OptionError(f"threads is a number from 1 to {MOST_THREADS}, or None, got {shown(self.threads)}")
        for name in ("exact", "verify", "tune"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} is True or False, got {shown(getattr(self, name))}")


def has_kernel(node: Node) -> bool:
    """Whether the runtime runs the node as it is, rather than its decomposition."""
    return bool(lowerings(node.op))


def orders_of(arrays: Sequence[Array]) -> Orders:
    """How arrays lie in memory; nothing where none lies channels last."""
    orders = tuple(map(order_of, arrays))
    return orders if any(orders) else ()


class Specialization:
    """A traced graph with its executables.

    Parameters
    ----------
    traced
        The graph as recorded.
    inputs
        Structure of the arguments.
    results
        What it returns.
    state
        The tensors behind the graph's parameters, by name.
    training
        Whether calls are expected to be followed by ``backward``: then the forward run keeps what the
        backward run needs; otherwise that is computed again.
    options
        How to compile.
    observer
        Makes what is called after every pass of a run of them.
    optimised
        The result of the passes, where it is known already (from a file).
    tuned
        What tuning has found already: for sizes and a number of threads what runs the nodes.
    store
        Where its programs keep what they have in common with those of other traces of the model.
    assumptions
        What the trace has taken for granted of symbolic sizes.
    of_mode
        Whether the graph itself says where no gradients are recorded, being for one mode only.
    """

    def __init__(
        self,
        traced: Graph,
        inputs: Structure,
        results: Results,
        state: Mapping[str, Tensor],
        *,
        training: bool,
        options: Options,
        observer: Callable[[], Observer] | None = None,
        optimised: Graph | None = None,
        tuned: Mapping[TunedKey, Mapping[str, Tuned]] | None = None,
        store: Store | None = None,
        assumptions: Sequence[Assumption] = (),
        of_mode: bool = False,
    ) -> None:
        self.traced = traced
        self.inputs, self.results = inputs, results
        self.state = dict(state)
        self.training = training
        self.options = options
        self.observer = observer
        self.tuned = dict(tuned or {})
        self.assumptions = tuple(assumptions)
        self.of_mode = of_mode
        self._tuned_apart: dict[tuple[Sizes, int, Orders], Mapping[str, Tuned]] = {}
        """What it has found for arrays that lie channels last; files do not have it."""
        self._given = optimised
        self._store = store or Store()
        self._store.count(self)
        self._lock = RLock()
        self._executables: OrderedDict[Any, Executable] = OrderedDict()
        # random keys are drawn anew at every run, so a backward run cannot repeat the forward one
        self.repeatable = not drawn(traced)

    # ------------------------------------------------------------ graphs

    @cached_property
    def graph(self) -> Graph:
        """The optimised inference graph."""
        if self._given is not None:
            return self._given
        passes = self.options.passes
        if isinstance(passes, Pipeline):
            passes = passes.applied(inference_pipeline(evaluate, has_kernel, exact=self.options.exact))
        return run_passes(self.traced, passes, observe=self.observer and self.observer())

    @cached_property
    def _parameters(self) -> Mapping[str, str]:
        return self.traced.parameters

    @cached_property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that require a gradient."""
        return tuple(name for name in self._parameters if self.state[name].requires_grad)

    def _training(self) -> Callable[[Graph], Graph]:
        """The passes for training, as a function that knows nothing of this object: what it holds goes with it."""
        options, observer = self.options, self.observer

        def optimise(graph: Graph) -> Graph:
            passes = training_pipeline(evaluate, has_kernel)
            if isinstance(options.passes, Pipeline):
                passes = options.passes.applied(passes)
            return run_passes(graph, passes, observe=observer and observer())

        return optimise

    @cached_property
    def halves(self) -> Halves:
        """The graphs of training."""
        return Halves(self.traced, [self._parameters[name] for name in self.trainable], self._training())

    # ------------------------------------------------------------ executables

    def sizes(self, arrays: Sequence[Array]) -> Sizes:
        """The size of each symbolic dimension; raises where an array does not fit its input."""
        found: dict[str, int] = {}
        types = self.traced.input_types
        for index, (type_, array) in enumerate(zip(types, arrays, strict=True)):
            if array.dtype != type_.dtype:
                raise DTypeError(
                    f"input {self.traced.inputs[index]!r} is compiled for {type_}, got {array.dtype}{list(array.shape)}"
                    + widths_hint((type_.dtype, array.dtype))
                )
            fits = len(type_.shape) == len(array.shape)
            for want, have in zip(type_.shape, array.shape, strict=False):
                name = str(want)
                if isinstance(want, SymDim) and name.isidentifier():
                    fits = fits and found.setdefault(name, have) == have
                elif not isinstance(want, SymDim):
                    fits = fits and want == have
            if not fits:
                known = ", ".join(f"{k}={v}" for k, v in found.items())
                raise ShapeError(
                    f"input {self.traced.inputs[index]!r} is compiled for {type_}, got {array.dtype}{list(array.shape)}"
                    + (f" where {known}" if known else "")
                )
        for name, type_, array in zip(self.traced.inputs, types, arrays, strict=True):
            if any(evaluate_dim(want, found) != have for want, have in zip(type_.shape, array.shape, strict=True)):
                raise ShapeError(f"input {name!r} is compiled for {type_}, got {list(array.shape)}")
        return tuple(sorted(found.items()))

    def broken(self, arrays: Sequence[Array]) -> dict[str, int]:
        """The sizes of these arrays of which an assumption is not true, by symbol."""
        if not self.assumptions:
            return {}
        sizes = dict(self.sizes(arrays))
        names = {name for one in self.assumptions if not one.holds(sizes) for name in one.dim.symbols}
        return {name: sizes[name] for name in sorted(names)}

    def refuse_broken(self, sizes: Sizes) -> None:
        """Raise where an assumption is not true of the sizes, for which the model cannot be traced anew."""
        untrue = next((one for one in self.assumptions if not one.holds(dict(sizes))), None)
        if untrue is not None:
            listed = ", ".join(f"{name}={size}" for name, size in sizes)
            raise ShapeError(
                f"what was saved is for sizes where {untrue}, got {listed}: what the model computes then is another "
                f"graph. Compile the model and save it for that size, with lucid.spec giving it as a number"
            )

    def example_sizes(self) -> Sizes:
        """Small sizes that it is made for."""
        return tuple(sorted(example_sizes(self.traced.symbols, self.assumptions).items()))

    def executable(
        self, kind: str, sizes: Sizes, wanted: Wanted = (), orders: Orders = (), used: Used = ()
    ) -> Executable:
        """The executable for concrete sizes: "inference", "forward", "backward" or "recompute".

        ``orders`` says how its inputs lie in memory; nothing where none lies channels last. ``used`` are the outputs
        that a backward run has cotangents of.
        """
        key = (kind, sizes, wanted, orders, used)
        with self._lock:
            if key not in self._executables:
                self.refuse_broken(sizes)
                graph = {
                    "inference": lambda: self.graph,
                    "forward": lambda: self.halves.split(wanted).forward,
                    "backward": lambda: self.halves.backward(wanted, used, True).graph,
                    "recompute": lambda: self.halves.backward(wanted, used, False).graph,
                }[kind]()
                again = partial(_concrete, graph, sizes, orders)
                self._executables[key] = self._compile(again, sizes if kind == "inference" else None, orders)
            self._executables.move_to_end(key)
            while len(self._executables) > 4 * PLANS:
                self._executables.popitem(last=False)
            return self._executables[key]

    def _compile(self, again: Callable[[], Graph], sizes: Sizes | None, orders: Orders) -> Executable:
        """The program of a concrete graph; of the inference graph (whose ``sizes`` are given) as tuning found it."""
        threads, exact = self.options.threads or get_num_threads(), self.options.exact
        graph, found = again(), dict[str, Tuned]()
        if sizes is not None:
            known: dict[Any, Mapping[str, Tuned]] = self._tuned_apart if orders else self.tuned
            key = (sizes, threads, orders) if orders else (sizes, threads)
            if self.options.tune and key not in known:
                parameters = {name: self.state[name]._array for name in graph.parameters}
                known[key] = tune(graph, parameters, threads=threads, exact=exact)
            found.update(known.get(key, {}))
        return Executable(
            graph, threads=threads, exact=exact, chosen=resolve(graph, found, threads, exact), store=self._store,
            again=again, measured={name: one.seconds for name, one in found.items()},
        )  # fmt: skip

    @property
    def held_bytes(self) -> int:
        """About how many bytes its graphs take."""
        made = vars(self)
        graphs = [self.traced, *([made["graph"]] if "graph" in made else ())]
        graphs += made["halves"].graphs() if "halves" in made else ()
        return GRAPH_BYTES * sum(map(len, {id(graph): graph for graph in graphs}.values()))

    def run(self, executable: Executable, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Run with the state's present content."""
        if executable.seen != clock.content.now:
            self._reload(executable, arrays)
        return executable(*arrays)

    def _reload(self, executable: Executable, inputs: Sequence[Array]) -> None:
        now = clock.content.now
        tensors = [self.state[name] for name in executable.parameters]
        arrays = [t._array for t in tensors]
        if self.options.verify and executable.seen < 0:
            check_program(executable.plan, arrays, inputs)
        executable.load(arrays, tuple(t.version for t in tensors))
        executable.seen = now

    def update_state(self, updates: Iterable[Array]) -> None:
        """Put what a run computed for buffers into them."""
        for (name, _), array in zip(self.traced.updates, updates, strict=True):
            self.state[name].copy_(array)


def _concrete(graph: Graph, sizes: Sizes, orders: Orders) -> Graph:
    """The graph for these sizes, and inputs that lie in memory like this."""
    bound = graph.bind(dict(sizes))
    return assign_layout(lay_inputs(bound, orders)) if orders else bound


def of_graph(graph: Graph, parameters: Mapping[str, Any], options: Options) -> Specialization:
    """A graph that no trace has made, with arrays or tensors for its parameters."""
    verify_graph(graph)
    missing = sorted(set(graph.parameters) - set(parameters))
    if missing:
        raise OptionError(f"compile: the graph has parameters; give parameters={{...}} with arrays for {missing}")
    state: dict[str, Tensor] = {}
    for name, node in graph.parameters.items():
        type_, given = graph.node(node).outputs[0], parameters[name]
        trainable: bool = graph.node(node).attrs.trainable  # type: ignore[attr-defined]
        state[name] = given if isinstance(given, Tensor) else Tensor(given, trainable and is_float(type_.dtype))
        if state[name].type.with_order(None) != type_.with_order(None):
            raise ShapeError(f"compile: the parameter {name!r} is {type_}, got {state[name].type}")
    inputs = ("tuple", tuple, ("tuple", tuple, *(LEAF for _ in graph.inputs)), ("dict",))
    outputs = LEAF if len(graph.outputs) == 1 else ("tuple", tuple, *(LEAF for _ in graph.outputs))
    return Specialization(graph, inputs, Results(outputs), state, training=False, options=options)
