"""``lucid bench``: how long a call takes, in this one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import click

from ..base.checks import named
from ..runtime.workers.cores import processor
from ..tensor.grad_mode import no_grad
from . import options
from .answer import Answer, Table, counted, duration
from .inputs import Inputs
from .models import open_model, wish
from .show import progress

DAY = 86_400.0
"""Seconds; the most that is measured, and the longest pause."""

PARAMETERS = (
    options.model(), options.INPUTS,
    click.Option(["--seconds"], type=options.Number(0.01, DAY), default=2.0, show_default=True, help="For either way."),
    click.Option(
        ["--pause"], type=options.Number(0, DAY * 1e3), default=30.0, show_default=True,
        help="Milliseconds between paced calls.",
    ),
    options.SEED, options.SPECS, options.SIZES, options.THREADS, options.EXACT,
)  # fmt: skip

ROUNDS = 10
"""Parts of the time, between which the bar moves on."""


def run(
    model: str, inputs: tuple[str, ...], seconds: float, pause: float, seed: int, specs: tuple[str, ...],
    sizes: tuple[str, ...], threads: int | None, exact: bool,
) -> Answer:  # fmt: skip
    """Medians of calls again and again (loop), and with pauses, as requests come (paced)."""
    how, given = wish(specs=specs, sizes=sizes, threads=threads, exact=exact), Inputs(inputs)
    start = time.perf_counter()
    net = open_model(model, how, given.alone)
    args, kwargs = net.arguments(arrays := given.arrays(net, how.sizes_to_draw(model), seed, draw=True))
    with no_grad():
        net(*args, **kwargs)
        ready = time.perf_counter() - start
        loop = timed(lambda: net(*args, **kwargs), seconds, 0.0, f"{named(model)}, again and again")
        paced = timed(lambda: net(*args, **kwargs), seconds, pause / 1e3, f"{named(model)}, with pauses")
    fed = ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)
    data = {
        "model": model, "inputs": fed, "processor": processor(), "threads": net.plan.threads, "first_result": ready,
        "loop": summary(loop), "paced": summary(paced),
    }  # fmt: skip
    rows = [
        (name, *(duration(one) for one in (median(times), min(times), max(times))), str(len(times)))
        for name, times in (("loop", loop), ("paced", paced))
    ]
    where = f"{counted(net.plan.threads, 'thread')}, {processor()}"
    said = f"{named(model)} on {fed}, {where}; first result after {duration(ready)}"
    return Answer(data, [said, Table(("", ">median", ">least", ">greatest", ">calls"), rows)])


def timed(
    call: Callable[[], object], seconds: float, pause: float, label: str,
    clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep,
) -> list[float]:  # fmt: skip
    """Seconds of each call, for about so many in all; at least one in each round."""
    found: list[float] = []
    for _ in progress(range(ROUNDS), label):
        end = clock() + seconds / ROUNDS
        while True:
            if pause:
                sleep(pause)
            start = clock()
            call()
            now = clock()
            found.append(now - start)
            if now >= end:
                break
    return found


def summary(times: list[float]) -> dict[str, float]:
    """In seconds."""
    return {"median": median(times), "min": min(times), "max": max(times), "calls": len(times)}
