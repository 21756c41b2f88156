"""``lucid bench``: how long a call takes, in this process."""

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
from .models import open_model
from .show import progress

DAY = 86_400.0
"""The longest measurement, and the longest pause, in seconds."""

PARAMETERS = (
    options.model(), options.INPUTS,
    click.Option(["--seconds"], type=options.Number(0.01, DAY), default=2.0, show_default=True, help="For either way."),
    click.Option(
        ["--pause"], type=options.Number(0, DAY * 1e3), default=30.0, show_default=True,
        help="Milliseconds between paced calls.",
    ),
    options.SEED, *options.SETTINGS,
)  # fmt: skip

ROUNDS = 10
"""The number of parts of a measurement, after each of which the progress bar advances."""


def run(
    model: str, inputs: tuple[str, ...], seconds: float, pause: float, seed: int, settings: options.Settings,
) -> Answer:  # fmt: skip
    """Medians of calls one after another (loop), and with pauses between them, like requests (paced)."""
    given = Inputs(inputs)
    start = time.perf_counter()
    net = open_model(model, settings, given.alone)
    args, kwargs = net.arguments(arrays := given.arrays(net, settings.sizes_to_draw(model), seed, draw=True))
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
    """The seconds of each call, calling for about ``seconds`` in total, and at least once in each round."""
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
    """Statistics of times, in seconds."""
    return {"median": median(times), "min": min(times), "max": max(times), "calls": len(times)}
