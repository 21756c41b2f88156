"""Interrupts at random moments of a call: by another process and by a timer, with workers, threads and neither."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .interrupted import KINDS, SIGNALS
from .sweep import Case

SMALL = 1
COUNT = 8
"""Interrupts of each kind, in the suite, where one process does all kinds; at length each has a process of its own."""


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield _case(list(KINDS), "both", COUNT, int(rng.integers(1 << 30)))
    while True:
        for kind in KINDS:
            yield _case([kind], str(rng.choice(SIGNALS)), 500, int(rng.integers(1 << 30)))


def _case(kinds: list[str], which: str, count: int, seed: int) -> Case:
    def check() -> int:
        command = [sys.executable, "-m", "tests.soak.interrupted", which, str(count), str(seed), *kinds]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
        assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-2000:]}"
        tally = json.loads(done.stdout)
        tried = tally.pop("interrupts", 0) + tally.pop("never came", 0)
        assert not tally, f"of {tried}: {tally} {done.stderr[-500:]}"
        return tried

    return Case(f"{', '.join(kinds)}, {which}, {count} of seed {seed}", check)
