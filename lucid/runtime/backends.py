"""Third-party back ends, which run the optimised graph by other means than NumPy programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import NoReturn, Protocol, TypeAlias, TypeVar

import numpy as np

from ..base import plugins
from ..base.arrays import Array, read_only
from ..base.checks import shown
from ..errors import ExecutionError, GraphError, LucidError, OptionError, PluginError, from_handler
from ..graph.ir import Graph, Node
from ..graph.types import TensorType
from ..graph.verify import describe
from .planning.machine import Machine, this_machine

Run: TypeAlias = "Callable[..., Sequence[Array]]"
T = TypeVar("T")


class Backend(Protocol):
    """Runs graphs instead of Lucid's NumPy programs: ``lucid.compile(model, backend=...)``.

    It runs inference only: gradients of its results, ``net.plan``, ``net.source``, ``net.profile``, tuning and saving
    raise errors. Its rounding and its number of threads are its own; ``exact=True`` applies to the passes.
    """

    @property
    def name(self) -> str:
        """The name used in errors."""

    def accepts(self, node: Node) -> bool:
        """Whether it runs the node as it is.

        Other nodes are decomposed if they consist of simpler ops; otherwise an error is raised.
        """

    def compile(self, graph: Graph, parameters: Mapping[str, Array], machine: Machine) -> Run:
        """Compile a graph; called once for each size of the inputs, and again after a parameter has changed.

        Parameters
        ----------
        graph
            The graph after the passes, with all sizes known.
        parameters
            The arrays of ``graph.parameters``, by name. They may be read as long as the result is used.
        machine
            The machine model: cores and cache sizes are detected, rates are constants.

        Returns
        -------
        ``run(*inputs)``, which takes an array for each of ``graph.inputs`` and returns one for each of
        ``graph.results``, of these shapes and element types. The returned arrays are copied. Several threads may call
        it at the same time, if several threads call the compiled model.
        """


def find_backend(given: object) -> Backend:
    """The back end itself or, for a name, that of the plug-in that announces it."""
    if not isinstance(given, str):
        return _checked(given, f"compile: a back end has a name, accepts and compile, got {shown(given)}", OptionError)
    plugin = plugins.find("backend", given)
    if plugin is None:
        there = ", ".join(other.name for other in plugins.announced("backend")) or "none"
        raise OptionError(f"compile: nothing that is installed announces a back end named {given!r}: there is {there}")
    loaded = plugin.load()
    try:
        backend = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        if from_handler(error):
            raise
        raise PluginError(f"{plugin} cannot be made: {error!r}") from error
    return _checked(backend, f"{plugin} is no back end: it has no name, accepts or compile", PluginError)


def _checked(given: object, message: str, kind: type[LucidError]) -> Backend:
    """The object, if it has the members of a back end; otherwise an error of this kind is raised."""
    if isinstance(given, type) or not isinstance(getattr(given, "name", None), str):
        raise kind(message)
    if not all(callable(getattr(given, method, None)) for method in ("accepts", "compile")):
        raise kind(message)
    backend: Backend = given  # type: ignore[assignment]  # it has all members of the protocol
    return backend


class BackendProgram:
    """A graph of known sizes that a back end runs, in place of an executable.

    Parameters
    ----------
    graph
        Without symbolic dimensions.
    backend
        Runs it.

    Attributes
    ----------
    parameters
        Names of the parameters that it reads, in the order in which :meth:`load` takes them.
    output_types
        Types of the outputs of a run, without updates.
    seen
        The count of changed contents when the parameters were last compared; for the caller's use.
    """

    def __init__(self, graph: Graph, backend: Backend) -> None:
        self.graph, self.backend = graph, backend
        self._asked("compile", self._check)
        self.parameters = tuple(graph.parameters)
        self.output_types = graph.output_types
        self.seen = -1
        self._run: Run | None = None
        self._arrays: tuple[Array, ...] = ()
        self._version: object = None

    def _check(self) -> None:
        for name, node in self.graph.nodes():
            if node.op.source is None and not self.backend.accepts(node):
                raise GraphError(f"the back end {self.backend.name!r} does not run {describe(name, node)}")

    def load(self, arrays: Sequence[Array], version: object) -> None:
        """Set the parameters; the graph is compiled again if they are not those of the last call."""
        same = self._version == version and all(map(is_, self._arrays, arrays))
        if self._run is None or not same:
            parameters = {name: read_only(x) for name, x in zip(self.parameters, arrays, strict=True)}
            run = self._asked("compile", lambda: self.backend.compile(self.graph, parameters, this_machine()))
            if not callable(run):
                self._fail("compile", f"it returned {shown(run)}, which cannot be called")
            self._run, self._arrays, self._version = run, tuple(arrays), version

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run on arrays of the graph's types. Returns the outputs, then the updates."""
        assert self._run is not None
        run, arrays = self._run, [read_only(x) for x in inputs]
        results = self._asked("run", lambda: [np.array(y) for y in run(*arrays)])
        types = [self.graph.type(value) for value in self.graph.results]
        if len(results) != len(types):
            self._fail("run", f"it gave {len(results)} results, the graph has {len(types)}")
        for value, type_, y in zip(self.graph.results, types, results, strict=True):
            if y.shape != type_.shape or y.dtype != type_.dtype:
                self._fail("run", f"it gave {TensorType(y.shape, y.dtype)} for {value}, which is {type_}")
        return tuple(results)

    def _asked(self, what: str, ask: Callable[[], T]) -> T:
        """The result of ``ask()``; an exception is reported as the back end's failure to do ``what``."""
        try:
            return ask()
        except LucidError:
            raise
        except Exception as error:
            if from_handler(error):
                raise
            self._fail(what, repr(error), error)

    def _fail(self, what: str, why: str, error: Exception | None = None) -> NoReturn:
        raise ExecutionError(f"the back end {self.backend.name!r} failed to {what} the graph: {why}") from error
