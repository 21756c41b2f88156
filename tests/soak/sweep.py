"""A sweep: many generated programs, files or calls, each held against what must be true of all of them.

A module of this folder is a sweep if it has

``SMALL``
    how many cases the test suite runs (a few seconds), always the same ones;
``cases(rng)``
    yields :class:`Case` after :class:`Case`, drawn from the generator it is given. It may end (then all there are
    have been tried) or go on for ever.

``make soak`` runs them at length; ``python -m tests.soak stale views --cases 20000 --seed 7`` runs two of them.
"""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

KEPT = 50
"""How many failures a tally describes."""


@dataclass(frozen=True)
class Case:
    """One thing to try.

    Attributes
    ----------
    label
        Says what it is, well enough to try it again by hand.
    check
        Raises where what must be true is not. It may return how many things it tried, where that is not ``tries``.
    tries
        How many things it tries, and counts as where it fails.
    """

    label: str
    check: Callable[[], int | None]
    tries: int = 1


@dataclass
class Tally:
    """What came of a sweep."""

    name: str
    seed: int
    tried: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        head = f"{self.name}: {self.tried:,} tried, {self.failed:,} failed (seed {self.seed}, {self.seconds:.0f} s)"
        return "\n".join([head, *self.failures])


def names() -> list[str]:
    """The sweeps there are, none of which is imported for this: some bring PyTorch."""
    found = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in found if "\ndef cases(rng" in path.read_text("utf-8"))


def load(name: str) -> ModuleType:
    """The module of a sweep."""
    return importlib.import_module(f"tests.soak.{name}")


def run(name: str, cases: int, seed: int = 0, seconds: float = float("inf")) -> Tally:
    """Try this many cases of a sweep, or as many as begin within this time."""
    tally = Tally(name, seed)
    drawn: Iterator[Case] = load(name).cases(np.random.default_rng(seed))
    began = time.perf_counter()
    while tally.tried < cases and time.perf_counter() - began < seconds:
        case = next(drawn, None)
        if case is None:
            break
        try:
            tally.tried += case.check() or case.tries
        except Exception as error:  # noqa: BLE001 - whatever it is, the sweep goes on and reports it
            tally.tried += case.tries
            tally.failed += 1
            if len(tally.failures) < KEPT:
                tally.failures.append(f"  {case.label}: {''.join(traceback.format_exception_only(error)).strip()}")
    tally.seconds = time.perf_counter() - began
    return tally
