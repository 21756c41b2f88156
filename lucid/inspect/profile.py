"""Profiles: the time of each step next to what the machine could do (``net.profile(x)``)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, field
from functools import lru_cache
from itertools import accumulate, pairwise
from statistics import median
from time import perf_counter

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct
from ..base.tables import as_html
from ..formats.files import checked_path, write_atomically
from ..runtime.planning.machine import this_machine
from ..runtime.program.executable import Executable, watched
from ..runtime.program.marks import Marks
from ..runtime.program.plan import Plan
from ..runtime.program.step import Step
from ..runtime.workers import blas

Clock = Callable[[], float]

WARM, MOST_WARM = 0.05, 200
"""Seconds, and runs, before measuring: workers receive a program only once it has run for some time."""
BESTS = 5
"""Repetitions, of which the best shows what the machine can do."""
NEXT = 5
"""The most steps that are named as those where most time can be saved."""
MILLISECOND = 1e-3
MOST_DISTORTED = 0.04
"""The fraction of the time that marks may take."""
MARK = 1.5
"""The time of a mark, relative to that of reading the clock."""
LITTLE = 0.02
"""Least possible time relative to the actual one, below which neither products nor bytes matter."""


@struct(frozen=True)
class Limits:
    """The measured limits of one core: products per second, and bytes per second in the cache and beyond it."""

    flops: float
    near: float
    far: float


@struct(frozen=True)
class StepTime:
    """The time of one step.

    Attributes
    ----------
    node, op, lowering
        What it computes, and how.
    workers
        The number of workers that share it.
    seconds
        Median of the runs, without the time for reading the clock.
    flops
        Multiplications and additions in the lowering's products.
    nbytes
        Bytes read and written, each value counted once.
    least
        Seconds in which that many cores of this machine could do it at best.
    where
        The user's line.
    helpers
        For each worker besides the caller, the median of the seconds it spent on this step.
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
    helpers: tuple[float, ...] = ()

    @property
    def helped(self) -> float:
        """The total seconds of all helpers."""
        return sum(self.helpers)

    @property
    def to_be_had(self) -> float:
        """Seconds that could be saved if the machine's limits were reached."""
        return max(0.0, self.seconds - self.least)


@struct(frozen=True)
class Profile:
    """Times of a program's steps (medians, in seconds), in the order of execution.

    Attributes
    ----------
    steps
        ``(node, op, seconds)`` of every step of the plan; steps that depend on parameters only take no time in a run.
    total
        The time of a run of the unmodified program.
    timed
        Details of the steps of a run.
    distortion
        How much longer the fastest run with measurement took, relative to the fastest run without.
    limits
        The limits of a core.
    threads
        The number of threads of the plan.
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
        """The table that a notebook shows."""
        return as_html(self._table(), self._summary())

    def _table(self) -> list[tuple[str, ...]]:
        head = ("node", "op", "lowering", "workers", "us", "%", "helpers, us", "GFLOP/s", "GB/s", "to be had, us")
        return [head, *(self._row(step) for step in sorted(self.timed, key=lambda step: -step.seconds))]

    def _row(self, step: StepTime) -> tuple[str, ...]:
        rates = [f"{one / step.seconds / 1e9:.1f}" if one and step.seconds else "" for one in (step.flops, step.nbytes)]
        return (
            step.node, step.op, step.lowering, str(step.workers), f"{step.seconds * 1e6:.1f}",
            f"{100 * step.seconds / self.total:.1f}", f"{step.helped * 1e6:.1f}" if step.helped else "", *rates,
            f"{step.to_be_had * 1e6:.1f}",
        )  # fmt: skip

    def _summary(self) -> list[str]:
        best = self.limits
        lines = [
            f"total {self.total * 1e6:.1f} us on {self.threads} thread{'s' * (self.threads != 1)}; "
            f"to measure it step by step took {100 * self.distortion:+.1f} %",
            f"a core does {best.flops / 1e9:.0f} GFLOP/s, and moves {best.near / 1e9:.0f} GB/s within its second-level "
            f"cache and {best.far / 1e9:.0f} beyond",
        ]
        helped = sum(step.helped for step in self.timed)
        if helped:
            lines.insert(1, f"helpers worked {helped * 1e6:.1f} us of it, beside the caller")
        wanting = [step for step in sorted(self.timed, key=lambda step: -step.to_be_had)[:NEXT] if step.to_be_had > 0]
        if wanting:
            so_far = list(accumulate(step.to_be_had for step in wanting))
            enough = next((n for n, seconds in enumerate(so_far, 1) if seconds >= MILLISECOND), 0)
            named = ", ".join(f"{step.node} ({self._wanting(step)})" for step in wanting[: enough or NEXT])
            which = "millisecond is" if enough else "microseconds are"
            lines.append(f"the next {which} to be had in {named}")
        return lines

    def _wanting(self, step: StepTime) -> str:
        """The time a step could save, and its rate of products or bytes; neither matters for functions and calls."""
        workers, best = max(1, step.workers), self.limits
        had = f"{step.to_be_had * 1e6:.1f} us"
        if step.least < LITTLE * step.seconds:
            return f"{had}: neither products nor bytes"
        if step.flops / best.flops >= workers * step.least:
            return f"{had}: {step.flops / step.seconds / 1e9:.0f} of {workers * best.flops / 1e9:.0f} GFLOP/s"
        return f"{had}: {step.nbytes / step.seconds / 1e9:.0f} of {step.nbytes / step.least / 1e9:.0f} GB/s"

    def data(self) -> dict[str, object]:
        """The profile as JSON data."""
        return {
            "total": self.total, "threads": self.threads, "distortion": self.distortion, "limits": asdict(self.limits),
            "steps": [{**asdict(step), "to_be_had": step.to_be_had} for step in self.timed],
        }  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a trace in Chrome's format, for ``chrome://tracing`` and Perfetto.

        Raises
        ------
        FileError
            If the path cannot be written.
        """
        text = json.dumps({"traceEvents": self._events(), "displayTimeUnit": "ns"}, separators=(",", ":"))
        write_atomically(checked_path(path, "written"), [text.encode()])

    def _events(self) -> list[dict[str, object]]:
        at, events = 0.0, []
        for step in self.timed:
            said = {key: value for key, value in asdict(step).items() if key not in ("node", "seconds")}
            for worker, seconds in enumerate((step.seconds, *step.helpers), 1):
                if worker == 1 or seconds:
                    events.append({
                        "name": step.node, "cat": step.op, "ph": "X", "pid": 1, "tid": worker, "ts": at * 1e6,
                        "dur": seconds * 1e6, "args": said,
                    })  # fmt: skip
            at += step.seconds
        return events


def profile(
    plan: Plan, program: Executable, parameters: Sequence[Array], inputs: Sequence[Array], repeat: int,
    clock: Clock = perf_counter,
) -> Profile:  # fmt: skip
    """Run the program, alternately with and without marks, ``repeat`` times; the plan keeps the measured times.

    If marks take too much of the time, several steps share a mark, and its time is divided among them in proportion to
    their times when each had a mark of its own.
    """
    reading, best = _reading(clock), limits(clock)
    runs = _measured(plan, program, parameters, inputs, repeat, clock, None)
    seconds = runs.seconds(reading)
    batches = _batches(seconds, MARK * reading / MOST_DISTORTED)
    if len(seconds) * MARK * reading > MOST_DISTORTED * median(runs.plain) and len(batches) < len(seconds):
        runs = _measured(plan, program, parameters, inputs, repeat, clock, batches)
        seconds = _shared_out(runs.seconds(reading), seconds)
    times = {**dict.fromkeys((step.name for step in plan.steps if not step.fixed), 0.0), **seconds}
    helped = runs.helped()
    timed = tuple(_timed(step, times[step.name], best, helped) for step in plan.steps if step.name in times)
    plan.measured.update(times)
    steps = tuple((step.name, step.node.op.name, times.get(step.name, 0.0)) for step in plan.steps)
    return Profile(steps, median(runs.plain), timed, runs.distortion(), best, plan.threads)


@struct(frozen=True)
class _Runs:
    """Seconds of the runs without and with marks; and in the latter, of the steps and of helpers at each step."""

    plain: list[float] = field(default_factory=list)
    marked: list[float] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    helpers: list[dict[str, list[float]]] = field(default_factory=list)

    def distortion(self) -> float:
        """How much longer the fastest marked run took; the fastest runs are the least disturbed ones."""
        least = min(self.plain)
        return min(self.marked) / least - 1 if least else 0.0

    def seconds(self, reading: float) -> dict[str, float]:
        """Medians of the steps, without the time for reading the clock."""
        return {name: max(0.0, median(run[name] for run in self.steps) - reading) for name in self.steps[0]}

    def helped(self) -> dict[str, tuple[float, ...]]:
        """For each shared step, the median of each worker besides the caller."""
        return {
            name: tuple(map(median, zip(*(run[name] for run in self.helpers), strict=True)))[1:]
            for name in self.helpers[0]
        }


def _measured(
    plan: Plan, program: Executable, parameters: Sequence[Array], inputs: Sequence[Array], repeat: int, clock: Clock,
    only: Container[str] | None,
) -> _Runs:  # fmt: skip
    """Run the program, alternately, as it is and with marks at the ends of the steps ``only`` (None for all)."""
    marks = Marks(only=only, parts=[])
    marked = watched(plan, parameters, marks=marks, clock=clock)
    for one in (program, marked):
        _warm(one, inputs, clock)
    runs = _Runs()
    for _ in range(repeat):
        start = clock()
        program(*inputs)
        runs.plain.append(clock() - start)
        marks.runs.clear()
        began, start = perf_counter(), clock()
        marked(*inputs)
        runs.marked.append(clock() - start)
        runs.steps.append(marks.seconds(start))
        runs.helpers.append(marks.helpers(began))
    return runs


def _batches(seconds: Mapping[str, float], least: float) -> list[str]:
    """The last steps of batches that each take at least ``least`` seconds; the very last step is one of them."""
    found, since = list[str](), 0.0
    for name, one in seconds.items():
        since += one
        if since > least:
            found.append(name)
            since = 0.0
    return [*found[:-1], *list(seconds)[-1:]]


def _shared_out(batches: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """The seconds of batches, divided among their steps in proportion to the times ``before``."""
    found: dict[str, float] = {}
    batch: list[str] = []
    for name in before:
        batch.append(name)
        if name in batches:
            whole = sum(before[one] for one in batch)
            found |= {one: batches[name] * before[one] / whole if whole else 0.0 for one in batch}
            batch = []
    return found


def _warm(program: Executable, inputs: Sequence[Array], clock: Clock) -> None:
    end = clock() + WARM
    for _ in range(MOST_WARM):
        program(*inputs)
        if clock() >= end:
            return


def _reading(clock: Clock) -> float:
    """Seconds for reading the clock."""
    return median(b - a for a, b in pairwise([clock() for _ in range(64)]))


def _timed(step: Step, seconds: float, best: Limits, helped: Mapping[str, tuple[float, ...]]) -> StepTime:
    operands = dict.fromkeys(y for y in (*step.ins, *step.outs) if y is not None)
    nbytes = sum(y.type.nbytes for y in operands) if step.code.run else 0
    flops = step.choice.way.flops * step.workers  # a way counts the work of the busiest worker
    rate = best.near if nbytes <= this_machine().l2 else best.far
    least = max(flops / best.flops, nbytes / rate) / max(1, step.workers)
    return StepTime(
        step.name, step.node.op.name, str(step.choice), step.workers, seconds, flops, nbytes, least,
        ", ".join(step.node.origin.locations), helped.get(step.name, ()),
    )  # fmt: skip


@lru_cache(maxsize=4)
def limits(clock: Clock = perf_counter) -> Limits:
    """The limits of one core, from a product of two large matrices, and copies within the cache and beyond it."""
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
    """Bytes read and written per second."""
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
