"""Tuning: measures every way to run a node within the program, with realistic caches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct
from ..errors import ExecutionError
from ..graph.facts import parameter_only, read_values
from ..graph.ir import Graph, Node, Value
from ..graph.types import TensorType
from .planning.choosing import as_read, choose_all
from .planning.registry import Choice, choices, choose
from .program.executable import Executable
from .program.marks import Marks

MOST_CHOICES = 8
"""The most choices of a node that are measured: those predicted to be the fastest."""
SLOWEST = 4.0
"""Choices that are predicted to take more than this many times as long as the fastest are not measured."""
WARM = 0.06
"""Seconds for which a program runs before it is measured, so that its workers have started and its caches are warm."""
TURNS = 9
"""Pairs of runs that are measured: one of the program as predicted, one of another."""
GAIN = 0.97
"""A choice must take less than this share of the time of the one predicted to be the fastest."""


@struct(frozen=True)
class Tuned:
    """What tuning found for one node: the choice, by its name, and its seconds."""

    choice: str
    seconds: float


def tune(graph: Graph, parameters: Mapping[str, Array], *, threads: int = 1, exact: bool = False) -> dict[str, Tuned]:
    """Measure the choices of every node that has several.

    Parameters
    ----------
    graph
        Concrete.
    parameters
        Name to array.
    threads, exact
        As for :func:`~lucid.runtime.program.plan.make_plan`.

    Returns
    -------
    The fastest choice for each of these nodes. Nodes that are alike share their measurements. Empty if the graph
    accepts none of the inputs that it is tried with.
    """
    threads = choose_all(graph, threads=threads, exact=exact).threads  # the number that its program will run with
    groups, read = _alike(graph), read_values(graph)
    candidates = {key: _candidates(graph, names[0], read, threads, exact) for key, names in groups.items()}
    candidates = {key: several for key, several in candidates.items() if len(several) > 1}
    usual = {name: several[0] for key, several in candidates.items() for name in groups[key]}
    rounds = max(map(len, candidates.values()), default=1)
    trial = Executable(graph, threads=threads, exact=exact, chosen=usual)
    inputs = _inputs(trial, parameters)
    if inputs is None:
        return {}
    bench = _Bench(graph, parameters, inputs, threads, exact)
    reference = bench.program(usual)
    best = {key: (1.0, several[0]) for key, several in candidates.items()}
    base: dict[str, float] = {}
    for number in range(1, rounds):
        tried = {key: several[number] for key, several in candidates.items() if number < len(several)}
        other = {name: choice for key, choice in tried.items() for name in groups[key]}
        base, ratios = bench.compare(reference, bench.program({**usual, **other}))
        for key, choice in tried.items():
            ratio = median(r for name in groups[key] for r in ratios[name])
            if ratio < min(GAIN, best[key][0]):
                best[key] = ratio, choice
    return {
        name: Tuned(str(choice), base[name] * ratio)
        for key, (ratio, choice) in best.items() for name in groups[key] if name in base
    }  # fmt: skip


def resolve(graph: Graph, tuned: Mapping[str, Tuned], threads: int, exact: bool) -> dict[str, Choice]:
    """The choices that tuning found; another machine may not have all of them."""
    if not tuned:
        return {}
    threads, read, resolved = choose_all(graph, threads=threads, exact=exact).threads, read_values(graph), {}
    for name, result in tuned.items():
        if name in graph.dag:
            node = as_read(name, graph.node(name), read)
            for choice in choices(node, _types(graph, name), threads=threads, exact=exact):
                if str(choice) == result.choice:
                    resolved[name] = choice
                    break
    return resolved


def _types(graph: Graph, name: str) -> tuple[TensorType, ...]:
    return tuple(graph.type(value) for value in graph.inputs_of(name))


def _alike(graph: Graph) -> dict[Any, list[str]]:
    """The names of nodes that every run computes, grouped by op, attributes, types, and which outputs are read."""
    fixed, read = parameter_only(graph), read_values(graph)
    groups: dict[object, list[str]] = defaultdict(list)
    for name, node in graph.nodes():
        if name not in fixed and graph.inputs_of(name):
            groups[_key(as_read(name, node, read), _types(graph, name))].append(name)
    return groups


def _key(node: Node, inputs: Sequence[TensorType]) -> Any:
    return node.op.name, node.attrs, tuple(inputs), node.outputs


def _candidates(graph: Graph, name: str, read: set[Value], threads: int, exact: bool) -> list[Choice]:
    node, types = as_read(name, graph.node(name), read), _types(graph, name)
    every = choices(node, types, threads=threads, exact=exact)
    usual = choose(node, types, threads=threads, exact=exact)
    rest = [c for c in every if c != usual and c.way.seconds <= SLOWEST * usual.way.seconds]
    return [usual, *rest[: MOST_CHOICES - 1]]


def _load(program: Executable, parameters: Mapping[str, Array]) -> None:
    program.load([parameters[name] for name in program.parameters], 0)


def _inputs(trial: Executable, parameters: Mapping[str, Array]) -> list[Array] | None:
    """Inputs that the program accepts, or None: random floats, and all integers 0 (as indices) or 1 (as divisors)."""
    _load(trial, parameters)
    rng, types = np.random.default_rng(0), trial.plan.graph.input_types
    floats = [rng.uniform(0.1, 0.9, t.concrete) if t.dtype.kind == "f" else None for t in types]
    for whole in (0, 1):
        inputs = [
            np.full(t.concrete, whole, t.dtype) if x is None else x.astype(t.dtype)
            for x, t in zip(floats, types, strict=True)
        ]
        try:
            trial(*inputs)
        except ExecutionError:
            continue
        return inputs
    return None


class _Trial:
    """A program that records when each step ended."""

    def __init__(self, graph: Graph, chosen: Mapping[str, Choice], threads: int, exact: bool) -> None:
        self.marks = Marks()
        self.executable = Executable(
            graph, threads=threads, exact=exact, chosen=chosen, marks=self.marks, clock=perf_counter
        )

    def run(self, inputs: Sequence[Array]) -> dict[str, float]:
        """Run once; return the seconds of each step."""
        self.marks.runs.clear()
        start = perf_counter()
        self.executable(*inputs)
        return self.marks.seconds(start)


@struct(frozen=True)
class _Bench:
    """Makes programs of one graph with different choices, and compares their times."""

    graph: Graph
    parameters: Mapping[str, Array]
    inputs: Sequence[Array]
    threads: int
    exact: bool

    def program(self, chosen: Mapping[str, Choice]) -> _Trial:
        """A program with these choices, loaded and warmed up."""
        program = _Trial(self.graph, chosen, self.threads, self.exact)
        _load(program.executable, self.parameters)
        start = perf_counter()
        while perf_counter() - start < WARM:
            program.run(self.inputs)
        program.run(self.inputs)
        return program

    def compare(self, usual: _Trial, other: _Trial) -> tuple[dict[str, float], dict[str, list[float]]]:
        """For each step, the usual program's median seconds, and the other's time over the usual's at each turn."""
        times: dict[str, list[float]] = defaultdict(list)
        ratios: dict[str, list[float]] = defaultdict(list)
        for _ in range(TURNS):
            usual.run(self.inputs)  # the program before has left its own data in the caches
            usual_seconds = usual.run(self.inputs)
            other.run(self.inputs)
            for name, seconds in other.run(self.inputs).items():
                times[name].append(usual_seconds[name])
                ratios[name].append(seconds / max(usual_seconds[name], 1e-9))
        return {name: median(values) for name, values in times.items()}, ratios
