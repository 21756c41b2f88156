"""What a compiled model tells about itself: where its nodes come from, and where its time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter

from ..base.arrays import Array
from ..graph.ir import Graph
from ..graph.region import regions_of
from ..runtime.program.executable import watched
from ..runtime.program.plan import Plan


def explain(graph: Graph) -> str:
    """One paragraph a node: its type, the user's lines, and the passes that made it."""
    return "\n".join(_explained(graph))


def _explained(graph: Graph) -> Iterator[str]:
    for name, node in graph.nodes():
        types = ", ".join(map(str, node.outputs))
        yield f"{name}: {node.op.name} -> {types}"
        yield from (f"    from {place}" for place in (*node.origin.modules, *node.origin.locations))
        yield from (f"    by {step}" for step in node.origin.history)
        for label, region in regions_of(node.attrs).items() if node.op.regions else ():
            yield f"    in {label}:"
            yield from (f"        {line}" for line in _explained(region.graph))


@dataclass(frozen=True)
class Profile:
    """Seconds of every step, in order of execution, and of the whole run (medians)."""

    steps: tuple[tuple[str, str, float], ...]
    total: float

    def __str__(self) -> str:
        width = max((len(name) for name, _, _ in self.steps), default=4)
        rows = [
            f"{name.ljust(width)}  {op:<18} {seconds * 1e6:10.1f} us {100 * seconds / self.total:5.1f} %"
            for name, op, seconds in sorted(self.steps, key=lambda row: -row[2])
        ]
        return "\n".join([*rows, f"{'total'.ljust(width)}  {'':<18} {self.total * 1e6:10.1f} us"])


def profile(plan: Plan, parameters: Sequence[Array], inputs: Sequence[Array], repeat: int) -> Profile:
    """Run an instrumented copy of the program ``repeat`` times; the plan keeps what was measured."""
    marks: list[tuple[str, float]] = []
    executable = watched(plan, marks=marks)
    executable.load(parameters, 0)
    executable(*inputs)
    runs: list[list[float]] = []
    totals: list[float] = []
    for _ in range(max(1, repeat)):
        marks.clear()
        start = perf_counter()
        executable(*inputs)
        totals.append(perf_counter() - start)
        ends = [start, *(end for _, end in marks)]
        runs.append([b - a for a, b in pairwise(ends)])
    steps = tuple(
        (name, plan.graph.node(name).op.name, median(run[i] for run in runs)) for i, (name, _) in enumerate(marks)
    )
    plan.measured.update((name, seconds) for name, _, seconds in steps)
    return Profile(steps, median(totals))
