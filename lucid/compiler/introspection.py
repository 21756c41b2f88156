"""The methods that inspect a compiled model: its inputs, graphs, plan, source and costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff.reverse import Partition
from ..base.arrays import Array
from ..base.checks import flag, integer, shown
from ..base.lazy import LazyModule
from ..errors import OptionError
from ..graph.ir import Graph, Value
from ..graph.rng import Keys, current_keys, keys_from
from ..nn.module import Module
from ..runtime.program.executable import Executable, watched
from ..runtime.program.plan import Plan
from .arguments import unflatten
from .options import Options
from .sizes import orders_of
from .specialization import Specialization

if TYPE_CHECKING:
    from .. import report
    from ..formats import draw
    from ..inspect import explain as explaining
    from ..inspect import pictures
    from ..inspect import profile as profiling
    from ..proof import sampling
else:
    draw = LazyModule("lucid.formats.draw")
    explaining = LazyModule("lucid.inspect.explain")
    pictures = LazyModule("lucid.inspect.pictures")
    profiling = LazyModule("lucid.inspect.profile")
    report = LazyModule("lucid.report")
    sampling = LazyModule("lucid.proof.sampling")


class Inspectable(Module):
    """The part of a compiled model that can be inspected: graphs, plan, source, pictures and profiles.

    Attributes
    ----------
    model
        What was compiled; None for a model loaded from a file.
    options
        How it was compiled.
    """

    model: Callable[..., object] | None
    options: Options

    def _current(self) -> Specialization:
        """The specialization of the model as it is now, for arguments like those of the latest call."""
        raise NotImplementedError

    def _given(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Specialization, list[Array]]:
        """The specialization that a call with these arguments runs, and their arrays."""
        raise NotImplementedError

    @property
    def _latest_run(self) -> Executable | None:
        """The program that ran last, if that was a single NumPy program."""
        raise NotImplementedError

    # ------------------------------------------------------------ what it takes

    def example_inputs(self, sizes: Mapping[str, int] | None = None, seed: int = 0) -> tuple[Array, ...]:
        """Random arrays for the inputs of :attr:`traced`, in order; symbolic sizes are as small as the trace allows.

        Floats are drawn from the normal distribution, integers are 0 or 1.
        """
        current = self._current()
        given = {**dict(current.example_sizes()), **(sizes or {})}
        if unknown := sorted(given.keys() - set(current.traced.symbols)):
            known = ", ".join(current.traced.symbols) or "none"
            raise OptionError(f"the inputs have no size named {shown(unknown[0])}; sizes that are not fixed: {known}")
        rng = np.random.default_rng(seed)
        return tuple(sampling.sample(rng, type_.bind(given)) for type_ in current.traced.input_types)

    def arguments(self, arrays: Sequence[object]) -> tuple[tuple[object, ...], dict[str, object]]:
        """Turn arrays, in the order of the inputs of :attr:`traced`, into a call's positional and keyword arguments."""
        current = self._current()
        wanted = len(current.traced.inputs)
        if len(arrays) != wanted:
            raise OptionError(f"it takes {wanted} array{'s' * (wanted != 1)}, got {len(arrays)}")
        args, kwargs = unflatten(current.inputs, arrays)
        return args, kwargs

    # ------------------------------------------------------------ what it became

    @property
    def traced(self) -> Graph:
        """The graph as traced, before any pass."""
        return self._current().traced

    @property
    def graph(self) -> Graph:
        """The graph after the passes."""
        return self._current().graph

    @property
    def backward_graph(self) -> Graph:
        """The optimised graph that computes the gradients of the trainable parameters (and of no input)."""
        return self._split().backward

    def _split(self) -> Partition:
        current = self._current()
        wanted = tuple(False for _ in current.traced.inputs)
        if not current.trainable:
            wanted = tuple(t.dtype.kind == "f" for t in current.traced.input_types)
        return current.halves.split(wanted)

    @property
    def plan(self) -> Plan:
        """The plan of the latest call; before any, the plan for inference, with symbolic sizes of 1 where possible."""
        return self._executable().plan

    @property
    def _shown(self) -> Graph:
        """The graph to draw and explain: with a memory budget, it includes the nodes that are recomputed."""
        if self.options.memory_budget is not None and (plan := self.plan).recomputed:
            return plan.graph
        return self.graph

    @property
    def source(self) -> str:
        """The NumPy program of :attr:`plan`."""
        return self._executable().source.text

    @property
    def source_lines(self) -> Mapping[str, tuple[int, ...]]:
        """The lines of :attr:`source` that compute each node of its plan, counted from 1.

        Lines that run at every call come first. A node within a graph that another node runs is named by its path, such
        as ``loop > body > relu``.
        """
        return self._executable().source.lines

    def _executable(self) -> Executable:
        ran = self._latest_run
        if ran is not None:
            return ran
        current = self._current()
        return current.executable(current.example_sizes())

    def explain(self, node: str | None = None) -> str:
        """What each node of the optimised graph computes, where it comes from, and which passes made it or declined.

        Parameters
        ----------
        node
            The name of a single node: then also how it runs, and the predicted times of this and all other ways. A node
            that was fused into another leads to that; one within a branch or loop is listed below the node that runs
            it.
        """
        current, graph = self._current(), self._shown
        if node is None:
            return explaining.explain(graph, current.declined)
        return explaining.explain_node(node, graph, current.declined, self.plan)

    def profile(self, *args: object, repeat: int = 10, **kwargs: object) -> profiling.Profile:
        """Time every step of the program that runs on these inputs, next to what the machine could do.

        Print the result, or write it for Chrome's tracing with ``save("trace.json")``.

        Parameters
        ----------
        *args, **kwargs
            As for a call.
        repeat
            The number of runs whose medians are reported, at least one.
        """
        repeat = integer("profile", "repeat", repeat)
        return self._profile(*self._inference(args, kwargs), repeat)

    def _inference(
        self, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[Specialization, Executable, list[Array]]:
        """The program that runs for these arguments without gradients, and its inputs."""
        found, arrays = self._given(args, kwargs)
        return found, found.executable(found.sizes(arrays), orders_of(arrays)), arrays

    def _profile(
        self, found: Specialization, executable: Executable, arrays: list[Array], repeat: int
    ) -> profiling.Profile:
        parameters, plan = [found.state[name]._array for name in executable.parameters], executable.plan
        with keys_from(Keys(current_keys().state)):  # profiling must not draw random numbers nor, for a step, train
            if executable.whole is None:
                found.run(executable, arrays)  # which loads it
            else:
                executable = watched(plan, parameters)
            return profiling.profile(plan, executable, parameters, arrays, repeat)

    def report(self, path: str | Path, *args: object, repeat: int = 10, **kwargs: object) -> None:
        """Write an HTML page: the graph, what each pass did, times, memory, the program and the weights.

        It is a single file that loads nothing. Graphviz lays out the graph.

        Parameters
        ----------
        path
            The file to write; it ends in .html.
        *args, **kwargs
            As for a call. If omitted, inputs are random, with the sizes of the latest call.
        repeat
            The number of runs whose median times are shown; with 0 nothing is run, and times are predicted.
        """
        repeat = integer("report", "repeat", repeat, 0)
        if not args and not kwargs:
            args, kwargs = self.arguments(self._like_latest())
        found, executable, arrays = self._inference(args, kwargs)
        measured = self._profile(found, executable, arrays, repeat) if repeat else None
        report.write_report(
            report.Subject(
                self._called, found.traced, found.passes, found.declined, executable.plan,
                executable.source, measured, {name: tensor._array for name, tensor in found.state.items()},
            ),
            path,
        )  # fmt: skip

    def _like_latest(self) -> tuple[Array, ...]:
        """Random inputs with the sizes of the latest call."""
        ran = self._latest_run
        if ran is None:
            return self.example_inputs()
        rng = np.random.default_rng(0)
        return tuple(sampling.sample(rng, operand.type) for operand in ran.plan.inputs)

    def values(self, *args: object, reference: bool = False, **kwargs: object) -> tuple[Graph, dict[Value, Array]]:
        """What every node computes from these inputs.

        Parameters
        ----------
        *args, **kwargs
            As for a call; no gradients are recorded.
        reference
            Compute the nodes of the traced graph by definition, instead of those that the program runs.

        Returns
        -------
        The graph, with concrete sizes, that the nodes belong to, with names for results in dicts; and copies of the
        values.
        """
        found, arrays = self._given(args, kwargs)
        graph, made = found.reference_values(arrays) if reference else found.values(arrays, orders_of(arrays))
        named = Graph(graph.dag, graph.inputs, graph.outputs, graph.updates, found.results.names)
        return named, {value: np.array(x) for value, x in made.items()}

    def draw(
        self, path: str | Path, *, backward: bool = False, links: str | Path | Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        """Draw the optimised graph or, with ``backward``, both halves of training and the values kept between them.

        Once a program has run, hovering over a node shows how it runs.

        Parameters
        ----------
        path
            The file to write; its suffix is .svg, .dot, .png or .pdf.
        backward
            Whether to draw both halves.
        links
            The name of a .html or .py file for :attr:`source`, to be written next to the picture: clicking a node leads
            to its line. Or a mapping from nodes to addresses.
        **options
            As for drawing a graph.
        """
        both = flag("draw", "backward", backward)
        if isinstance(links, str | bytes | os.PathLike):
            if both:
                raise OptionError(
                    "draw: links= cannot be combined with backward=, as each half of training has its own program"
                )
            links = pictures.write_source(self._executable().source, links, path)
        if not both:
            graph, ran = self._shown, self._latest_run
            notes = {} if ran is None else pictures.notes(ran.plan)
            known = {name: lines for name, lines in notes.items() if name in graph}
            graph.draw(path, links=links, **{"notes": known, **options})
            return
        current, cut = self._current(), self._split()
        results = len(current.traced.outputs)
        draw.draw_training(cut.forward, cut.backward, results, cut.kept, path, links=links, **options)

    @property
    def _called(self) -> str:
        made: str = getattr(self.model, "__name__", "file")
        return type(self.model).__name__ if isinstance(self.model, Module) else made
