"""Where the time of a program goes, beside what the machine could do: ``net.profile(x)``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np

from ..base.arrays import Array
from ..base.tables import as_html
from ..formats.files import checked_path, write_atomically
from ..runtime.planning.machine import this_machine
from ..runtime.program.executable import Executable, watched
from ..runtime.program.plan import Plan
from ..runtime.program.printer import Marks
from ..runtime.program.step import Step
from ..runtime.workers import blas

Clock = Callable[[], float]

WARM, MOST_WARM = 0.05, 200
"""Seconds, and runs, before anything counts: workers are told of a program once it has run for some time."""
BESTS = 5
"""Repetitions of which the best says what the machine can do."""
NEXT = 5
"""Steps that are named as those where the most time is to be had."""


@dataclass(frozen=True)
class Limits:
    """What one core of this machine does at best, as measured: products a second, bytes a second near and far."""

    flops: float
    near: float
    far: float


@dataclass(frozen=True)
class StepTime:
    """One step.

    Attributes
    ----------
    node, op, lowering
        What it computes, and how.
    workers
        Over how many its work is shared.
    seconds
        Median of the runs, without what it takes to read the clock.
    flops
        Multiplications and additions of the lowering's products, counted apart.
    nbytes
        Of what it reads and writes, each once.
    least
        Seconds in which so many cores of the machine could do that.
    where
        The user's line.
    """

    node: str
    op: str
    lowering: str
    workers: int
    seconds: float
    flops: float
    nbytes: int
    least: float
    where: str

    @property
    def to_be_had(self) -> float:
        """Seconds by which it misses what the machine could do."""
        return max(0.0, self.seconds - self.least)


@dataclass(frozen=True)
class Profile:
    """Times of a program's steps (medians, in seconds), in the order of execution.

    Attributes
    ----------
    steps
        ``(node, op, seconds)`` of every step of the plan; steps that depend on parameters alone take no time of a run.
    total
        Of a run of the program as it is, without any marks.
    timed
        What is known of the steps that a run goes through.
    distortion
        By which part of the total the marked program took longer.
    limits
        What a core can do.
    threads
        Of the plan.
    """

    steps: tuple[tuple[str, str, float], ...]
    total: float
    timed: tuple[StepTime, ...] = ()
    distortion: float = 0.0
    limits: Limits = Limits(1.0, 1.0, 1.0)
    threads: int = 1

    def __str__(self) -> str:
        rows = self._table()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        return "\n".join([*(line.rstrip() for line in lines), "", *self._summary()])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html(self._table(), self._summary())

    def _table(self) -> list[tuple[str, ...]]:
        head = ("node", "op", "lowering", "workers", "us", "%", "GFLOP/s", "GB/s", "to be had, us")
        return [head, *(self._row(step) for step in sorted(self.timed, key=lambda step: -step.seconds))]

    def _row(self, step: StepTime) -> tuple[str, ...]:
        rates = [f"{one / step.seconds / 1e9:.1f}" if one and step.seconds else "" for one in (step.flops, step.nbytes)]
        return (
            step.node, step.op, step.lowering, str(step.workers), f"{step.seconds * 1e6:.1f}",
            f"{100 * step.seconds / self.total:.1f}", *rates, f"{step.to_be_had * 1e6:.1f}",
        )  # fmt: skip

    def _summary(self) -> list[str]:
        best = self.limits
        lines = [
            f"total {self.total * 1e6:.1f} us on {self.threads} thread{'s' * (self.threads != 1)}; "
            f"to measure it step by step took {100 * self.distortion:+.1f} %",
            f"a core does {best.flops / 1e9:.0f} GFLOP/s, and moves {best.near / 1e9:.0f} GB/s within its second-level "
            f"cache and {best.far / 1e9:.0f} beyond",
        ]
        wanting = [step for step in sorted(self.timed, key=lambda step: -step.to_be_had)[:NEXT] if step.to_be_had > 0]
        if wanting:
            named = ", ".join(f"{step.node} ({step.to_be_had * 1e6:.1f} us)" for step in wanting)
            lines.append(f"the next microseconds are to be had in {named}")
        return lines

    def data(self) -> dict[str, object]:
        """All of it, as JSON has it."""
        return {
            "total": self.total, "threads": self.threads, "distortion": self.distortion, "limits": asdict(self.limits),
            "steps": [{**asdict(step), "to_be_had": step.to_be_had} for step in self.timed],
        }  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a trace in the format of Chrome's, which ``chrome://tracing`` and Perfetto show.

        Raises
        ------
        FileError
            The path cannot be written.
        """
        text = json.dumps({"traceEvents": self._events(), "displayTimeUnit": "ns"}, separators=(",", ":"))
        write_atomically(checked_path(path, "written"), [text.encode()])

    def _events(self) -> list[dict[str, object]]:
        at, events = 0.0, []
        for step in self.timed:
            said = {key: value for key, value in asdict(step).items() if key not in ("node", "seconds")}
            events.append({
                "name": step.node, "cat": step.op, "ph": "X", "pid": 1, "tid": 1, "ts": at * 1e6,
                "dur": step.seconds * 1e6, "args": said,
            })  # fmt: skip
            at += step.seconds
        return events


def profile(
    plan: Plan, program: Executable, parameters: Sequence[Array], inputs: Sequence[Array], repeat: int,
    clock: Clock = perf_counter,
) -> Profile:  # fmt: skip
    """Run the program as it is and the one with marks in turn, ``repeat`` times; the plan keeps what was measured."""
    marks: Marks = []
    marked = watched(plan, marks=marks, clock=clock)
    marked.load(parameters, 0)
    for one in (program, marked):
        _warm(one, inputs, clock)
    runs: list[list[float]] = []
    plain: list[float] = []
    whole: list[float] = []
    for _ in range(repeat):
        start = clock()
        program(*inputs)
        plain.append(clock() - start)
        marks.clear()
        start = clock()
        marked(*inputs)
        whole.append(clock() - start)
        runs.append([b - a for a, b in pairwise([start, *(end for _, end in marks)])])
    reading, total = _reading(clock), median(plain)
    seconds = {name: max(0.0, median(run[i] for run in runs) - reading) for i, (name, _) in enumerate(marks)}
    best = limits(clock)
    timed = tuple(_timed(step, seconds[step.name], best) for step in plan.steps if step.name in seconds)
    plan.measured.update(seconds)
    steps = tuple((step.name, step.node.op.name, seconds.get(step.name, 0.0)) for step in plan.steps)
    distortion = median(whole) / total - 1 if total else 0.0
    return Profile(steps, total, timed, distortion, best, plan.threads)


def _warm(program: Executable, inputs: Sequence[Array], clock: Clock) -> None:
    end = clock() + WARM
    for _ in range(MOST_WARM):
        program(*inputs)
        if clock() >= end:
            return


def _reading(clock: Clock) -> float:
    """Seconds that a mark takes."""
    marks: Marks = []
    for _ in range(64):
        marks.append(("", clock()))
    return median(b - a for (_, a), (_, b) in pairwise(marks))


def _timed(step: Step, seconds: float, best: Limits) -> StepTime:
    operands = dict.fromkeys(y for y in (*step.ins, *step.outs) if y is not None)
    nbytes = sum(y.type.nbytes for y in operands) if step.code.run else 0
    flops = step.choice.way.flops * step.workers  # it counts what the busiest worker does
    rate = best.near if nbytes <= this_machine().l2 else best.far
    least = max(flops / best.flops, nbytes / rate) / max(1, step.workers)
    return StepTime(
        step.name, step.node.op.name, str(step.choice), step.workers, seconds, flops, nbytes, least,
        ", ".join(step.node.origin.locations),
    )  # fmt: skip


@lru_cache(maxsize=4)
def limits(clock: Clock = perf_counter) -> Limits:
    """What one core does at best: a product of two large matrices, and copies within the cache and beyond it."""
    a = np.ones((512, 512), np.float32)
    out = np.empty_like(a)
    blas.hold.begin()  # on one thread, as in a run
    try:
        multiply = _best(lambda: np.matmul(a, a, out=out), clock)
    finally:
        blas.hold.finish()
    near, far = (_copying(nbytes, clock) for nbytes in (this_machine().l2 // 4, 1 << 26))
    return Limits(2.0 * 512**3 / multiply, near, far)


def _copying(nbytes: int, clock: Clock) -> float:
    """Bytes a second that are read and written."""
    source = np.ones(nbytes // 4, np.float32)
    target = np.empty_like(source)
    return 2.0 * source.nbytes / _best(lambda: np.copyto(target, source), clock)


def _best(run: Callable[[], object], clock: Clock) -> float:
    found = []
    run()
    for _ in range(BESTS):
        start = clock()
        run()
        found.append(clock() - start)
    return max(min(found), 1e-12)
