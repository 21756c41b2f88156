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

SMALL = 60
COUNT = 8
"""Interrupts of one process, in the suite; at length there are as many more as it takes to be worth starting one."""


def cases(rng: np.random.Generator) -> Iterator[Case]:
    count = COUNT
    while True:
        for kind in KINDS:
            yield _case(kind, str(rng.choice(SIGNALS)), count, int(rng.integers(1 << 30)))
        count = 500


def _case(kind: str, which: str, count: int, seed: int) -> Case:
    def check() -> int:
        command = [sys.executable, "-m", "tests.soak.interrupted", kind, which, str(count), str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
        assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-2000:]}"
        tally = json.loads(done.stdout)
        tried = tally.pop("interrupts", 0) + tally.pop("never came", 0)
        assert not tally, f"of {tried}: {tally} {done.stderr[-500:]}"
        return tried

    return Case(f"{kind}, {which}, {count} of seed {seed}", check)
