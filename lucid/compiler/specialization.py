"""One trace of a function, and everything compiled from it.

A specialization holds the traced graph, the optimised one, and the programs for each set of concrete sizes: one for
inference, and for training the forward and backward halves of the joint graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..autodiff.halves import Halves, Used, Wanted
from ..base import changes
from ..base.arrays import Array
from ..base.lazy import LazyModule
from ..errors import OptionError, ShapeError
from ..graph.assume import Assumption, example_sizes
from ..graph.facts import drawn
from ..graph.ir import Graph, Value
from ..graph.opdef import ParameterAttrs
from ..graph.stages import found_sizes
from ..graph.types import is_float
from ..graph.verify import verify as verify_graph
from ..passes.pipeline import Inside, Pass, run_passes
from ..passes.rewrite import Decline, noted
from ..runtime.backends import BackendProgram
from ..runtime.program.executable import Executable
from ..runtime.program.store import Store
from ..runtime.tuning import Tuned
from ..tensor.tensor import Tensor
from .arguments import LEAF, Structure
from .options import Options
from .programs import Key, Program, Programs, TunedKey, check
from .results import Results
from .shared_memory import move_to_shared_memory
from .sizes import Orders, Sizes, sizes_of
from .staged import Staged

if TYPE_CHECKING:
    from .. import reference
    from ..proof import gradients as of_gradients
    from ..proof import passes as of_passes
    from ..proof import programs as of_programs
    from ..proof import sampling
else:
    reference = LazyModule("lucid.reference")
    of_gradients = LazyModule("lucid.proof.gradients")
    of_passes = LazyModule("lucid.proof.passes")
    of_programs = LazyModule("lucid.proof.programs")
    sampling = LazyModule("lucid.proof.sampling")

GRAPH_BYTES = 3000
"""Estimated bytes per node of a graph."""


class Specialization:
    """A traced graph with its executables.

    Parameters
    ----------
    traced
        The graph as recorded.
    inputs
        Structure of the arguments.
    results
        What the function returns.
    state
        The tensors behind the graph's parameters, by name.
    training
        Whether calls are expected to be followed by ``backward``. If so, the forward run keeps what the backward run
        needs; otherwise the backward run computes it again.
    options
        How to compile.
    optimised
        The result of the passes, if it is known already (from a file).
    tuned
        Earlier results of tuning: the lowering of each node, by sizes and number of threads.
    store
        Where programs keep what they share with those of other traces of the model.
    assumptions
        What the trace assumed about symbolic sizes.
    of_mode
        Whether the graph holds for one gradient mode only, because the model has read or set it.
    input_names
        Names by which the arguments may be given, in order.
    in_place
        Whether this is a training step, whose programs write the updated parameters themselves.
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
        optimised: Graph | None = None,
        tuned: Mapping[TunedKey, Mapping[str, Tuned]] | None = None,
        store: Store | None = None,
        assumptions: Sequence[Assumption] = (),
        of_mode: bool = False,
        input_names: Sequence[str] = (),
        in_place: bool = False,
    ) -> None:
        self.traced = traced
        self.inputs, self.results = inputs, results
        self.state = dict(state)
        self.training = training
        self.options = options
        self.assumptions = tuple(assumptions)
        self.found = found_sizes(traced).keys()
        """The data-dependent sizes, which no input has."""
        self.of_inputs = tuple(one for one in self.assumptions if self.found.isdisjoint(one.dim.symbols))
        """The assumptions that concern only sizes of inputs."""
        self.watch: Inside | None = None
        if options.verify:
            self.watch = partial(of_passes.observer, partial(_arrays, self.state), self.of_inputs, options.evidence)
        """Given the path of a nested graph, makes the function that is called after each pass on it."""
        self.of_mode = of_mode
        self.input_names = tuple(input_names)
        self._given = optimised
        self.declined: Iterable[Decline] = ()
        """Where passes did not apply, and why; empty until they have run."""
        store = store or Store()
        store.count(self)
        self.in_place = in_place
        if in_place and self.found:
            raise OptionError(
                f"compile_step: data decides sizes of this model ({', '.join(sorted(self.found))}), so it is not one "
                f"program, which a step is: train it by a loop of eager calls (with lucid.fit, compiled=False)"
            )
        of_found = [one for one in self.assumptions if one not in self.of_inputs]
        self.programs = Programs(options, self.state, tuned or {}, store, in_place, of_found)
        # random keys are drawn afresh at every run, so a backward run cannot repeat the forward one
        self.repeatable = not drawn(traced)

    # ------------------------------------------------------------ graphs

    @property
    def passes(self) -> tuple[Pass, ...]:
        """The passes that turn the traced graph into :attr:`graph`."""
        return self.options.step_passes if self.in_place else self.options.inference_passes

    @cached_property
    def graph(self) -> Graph:
        """The optimised inference graph."""
        given = self._given
        if given is None:
            with noted() as self.declined:
                return run_passes(self.traced, self.passes, observe=self.watch and self.watch(()), inside=self.watch)
        if self.options.verify:
            of_passes.check_pass(Pass("of the file", lambda _: given), self.traced, _arrays(self.state), self.of_inputs)
        return given

    @cached_property
    def _parameters(self) -> Mapping[str, str]:
        return self.traced.parameters

    @cached_property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that require a gradient."""
        return tuple(name for name in self._parameters if self.state[name].requires_grad)

    def _training(self) -> Callable[[Graph], Graph]:
        """The passes for training, as a function that holds no reference to this object (which would be a cycle)."""
        options, watch = self.options, self.watch

        def optimise(graph: Graph) -> Graph:
            return run_passes(graph, options.training_passes, observe=watch and watch(()), inside=watch)

        return optimise

    @cached_property
    def halves(self) -> Halves:
        """The graphs of training."""
        if self.options.verify:
            of_gradients.check_gradients(self.traced, _arrays(self.state), self.of_inputs, self.options.evidence)
        return Halves(self.traced, [self._parameters[name] for name in self.trainable], self._training())

    # ------------------------------------------------------------ executables

    def sizes(self, arrays: Sequence[Array]) -> Sizes:
        """The size of each symbolic dimension; raises where an array does not fit its input."""
        return sizes_of(self.traced, arrays)

    def broken(self, arrays: Sequence[Array]) -> dict[str, int]:
        """The sizes, by symbol, that violate an assumption of the trace."""
        if not self.of_inputs:
            return {}
        sizes = dict(self.sizes(arrays))
        names = {name for one in self.of_inputs if not one.holds(sizes) for name in one.dim.symbols}
        return {name: sizes[name] for name in sorted(names)}

    def refuse_broken(self, sizes: Sizes) -> None:
        """Raise if the sizes violate an assumption; for a model that cannot be traced again."""
        untrue = next((one for one in self.of_inputs if not one.holds(dict(sizes))), None)
        if untrue is not None:
            listed = ", ".join(f"{name}={size}" for name, size in sizes)
            raise ShapeError(
                f"what was saved is for sizes where {untrue}, got {listed}: what the model computes then is another "
                f"graph. Compile the model and save it for that size, with lucid.spec giving it as a number"
            )

    def example_sizes(self) -> Sizes:
        """Small sizes that satisfy all assumptions."""
        return tuple(sorted(example_sizes(self.traced.symbols, self.of_inputs).items()))

    def program(self, kind: str, sizes: Sizes, wanted: Wanted = (), orders: Orders = (), used: Used = ()) -> Program:
        """The program of a kind ("inference", "forward", "backward" or "recompute") for concrete sizes.

        ``orders`` are the memory orders of the inputs, empty if none is channels-last. ``used`` marks the outputs for
        which a backward run receives cotangents.
        """

        def graph() -> Graph:
            self.refuse_broken(sizes)
            if kind == "inference":
                return self.graph
            if kind == "forward":
                return self.halves.split(wanted).forward
            return self.halves.backward(wanted, used, kind == "backward").graph

        return self.programs.get(Key(kind, sizes, wanted, orders, used), graph)

    def executable(self, sizes: Sizes, orders: Orders = ()) -> Executable:
        """The NumPy program for inference with concrete sizes; raises if a back end runs it, or several programs do."""
        return self.own(self.program("inference", sizes, (), orders))

    def own(self, program: Program) -> Executable:
        """The program, if it is a single NumPy program; otherwise raises."""
        if isinstance(program, BackendProgram):
            raise self.options.refusal("NumPy program with a plan and a source")
        if isinstance(program, Staged):
            raise OptionError(
                f"data decides sizes of this model ({', '.join(sorted(self.found))}): it runs as several programs, "
                f"made when these are known, and there is no one plan, source or profile of it"
            )
        return program

    @property
    def held_bytes(self) -> int:
        """Estimated bytes of all its graphs."""
        made = vars(self)
        graphs = [self.traced, *([made["graph"]] if "graph" in made else ())]
        graphs += made["halves"].graphs() if "halves" in made else ()
        return GRAPH_BYTES * sum(map(len, {id(graph): graph for graph in graphs}.values()))

    def run(self, program: Program, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Run with the state's present content."""
        self.ready(program, arrays)
        return program(*arrays)

    def ready(self, program: Program, arrays: Sequence[Array]) -> None:
        """Give a program the state's present content."""
        if program.seen != changes.of_contents.now:
            self._reload(program, arrays)

    def _reload(self, program: Program, inputs: Sequence[Array]) -> None:
        tensors = [self.state[name] for name in program.parameters]
        if isinstance(program, Executable):
            move_to_shared_memory([tensors[i] for i in program.gathered])
        now = changes.of_contents.now
        arrays = [t._array for t in tensors]
        unproven = self.options.verify and program.seen < 0
        program.load(arrays, tuple(t.version for t in tensors))
        if unproven and not isinstance(program, Staged):  # whose stages are proven one by one
            check(program, arrays, inputs, folder=self.options.evidence)
        program.seen = now

    def values(self, arrays: Sequence[Array], orders: Orders) -> tuple[Graph, dict[Value, Array]]:
        """The graph that an inference program runs, and the values that its steps compute."""
        program = self.program("inference", self.sizes(arrays), (), orders)
        if isinstance(program, Staged) and self.options.backend is None:
            self.ready(program, arrays)
            return program.values(arrays)
        plan = self.own(program).plan
        arrays_of = _arrays(self.state)
        return plan.graph, of_programs.step_values(plan, [arrays_of[name] for name in plan.parameters], arrays)[0]

    def reference_values(self, arrays: Sequence[Array]) -> tuple[Graph, dict[Value, Array]]:
        """The traced graph, and the values of its nodes by definition."""
        state = _arrays(self.state)
        graph = self.traced.bind(
            reference.reference_sizes(self.traced, dict(self.sizes(arrays)), arrays, state, sampling.keys(self.traced))
        )
        return graph, reference.reference_values(graph, arrays, state, sampling.keys(graph))

    def update_state(self, updates: Iterable[Array]) -> None:
        """Write the updates that a run has computed into the buffers."""
        for (name, _), array in zip(self.traced.updates, updates, strict=True):
            self.state[name].copy_(array)


def _arrays(state: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor._array for name, tensor in state.items()}


def of_graph(graph: Graph, parameters: Mapping[str, Any], options: Options) -> Specialization:
    """The specialization of a graph that was not traced, with arrays or tensors for its parameters."""
    verify_graph(graph)
    missing = sorted(set(graph.parameters) - set(parameters))
    if missing:
        raise OptionError(f"compile: the graph has parameters; give parameters={{...}} with arrays for {missing}")
    state: dict[str, Tensor] = {}
    for name, key in graph.parameters.items():
        node, given = graph.node(key), parameters[name]
        type_ = node.outputs[0]
        trainable = isinstance(node.attrs, ParameterAttrs) and node.attrs.trainable
        state[name] = given if isinstance(given, Tensor) else Tensor(given, trainable and is_float(type_.dtype))
        if state[name].type.with_order(None) != type_.with_order(None):
            raise ShapeError(f"compile: the parameter {name!r} is {type_}, got {state[name].type}")
    inputs = ("tuple", tuple, ("tuple", tuple, *(LEAF for _ in graph.inputs)), ("dict",))
    outputs = LEAF if len(graph.outputs) == 1 else ("tuple", tuple, *(LEAF for _ in graph.outputs))
    return Specialization(graph, inputs, Results(outputs), state, training=False, options=options)
