"""Batches of trials in processes of their own, in which time and memory are limited: for files that nobody wrote."""

from __future__ import annotations

import faulthandler
import resource
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np

from .sweep import Case

SECONDS = 3.0
"""Of the processor's time that a file may take."""
START = 300.0
"""Seconds by the clock that a process may take beside: what waits for ever takes no processor's time."""
MEMORY, GROWTH = 4 << 30, 1400 << 20
"""Bytes a process may map, and those that one file may take of the machine."""


class TooSlow(BaseException):
    """A file took too long."""


class Trial(NamedTuple):
    """A file to try: of what it was made, and what tries it and says in a word what came of it."""

    name: str
    check: Callable[[], str]


def batches(module: str, rng: np.random.Generator, small: int, large: int) -> Iterator[Case]:
    """Batches, each in a process that runs a module with a seed and a count; the first is small."""
    for count in chain([small], repeat(large)):
        seed = int(rng.integers(1 << 31))
        yield Case(f"python -m {module} {seed} {count}", partial(_in_process, module, seed, count), count)


def _in_process(module: str, seed: int, count: int) -> None:
    command = [sys.executable, "-m", module, str(seed), str(count)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START + count * SECONDS)
    if found.returncode:
        raise AssertionError(f"ended with {found.returncode}: {found.stdout[-6000:]} {found.stderr[-3000:]}")


def limit() -> None:
    """From here on the process maps so much and no more: before Lucid is imported, which reserves what it may."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def tried(
    seed: int, count: int, draw: Callable[[np.random.Generator], Trial | None], only: int | None = None,
    seconds: float = SECONDS,
) -> int:  # fmt: skip
    """Try so many files, or one of them; prints what is wrong, and returns 1 where anything is.

    What must not happen: any error but what the trial expects, ``CODE RAN`` in what it says, too much time or memory.
    """
    faulthandler.enable()

    def stop(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, stop)
    warnings.simplefilter("error")
    outcomes: dict[str, int] = {}
    wrong = 0
    for number in range(count) if only is None else [only]:
        trial = draw(np.random.default_rng([seed, number]))
        if trial is None:
            continue
        before, report = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            outcome = trial.check()
        except TooSlow:
            outcome, report = "slow", traceback.format_exc(limit=-6)
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            outcome, report = f"raised {type(error).__name__}", traceback.format_exc(limit=-6)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > GROWTH >> 10:
            report += f"took {grown >> 10} MB"
        report += "CODE RAN" if "CODE RAN" in outcome else ""
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if report:
            wrong += 1
            sys.stdout.write(f"{seed} {count} {number} ({trial.name}): {outcome} {report}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{outcomes}\n")
    return int(wrong > 0)
