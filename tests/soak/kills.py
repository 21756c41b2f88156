"""Training that is killed (SIGKILL) at random moments, again and again, and resumed, ends as one that never was."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

import lucid
from lucid.errors import FileError

from .sweep import Case

SMALL = 1
ONCE, OFTEN = 1, 4
"""How often a run is killed in the suite, and at length."""


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield _case(int(rng.integers(1 << 30)), ONCE)
    while True:
        yield _case(int(rng.integers(1 << 30)), OFTEN)


def _case(seed: int, times: int) -> Case:
    return Case(f"killed {times} times, of seed {seed}", lambda: _killed(np.random.default_rng(seed), times))


def _started(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.soak.killed", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def _result(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, f"status {process.returncode}"
    return out.splitlines()[-1]


@cache
def _undisturbed() -> tuple[str, float]:
    """What comes of a run that nobody kills, and how long its steps take."""
    with tempfile.TemporaryDirectory() as folder, _started(Path(folder, "run.safetensors")) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        began = time.perf_counter()
        return _result(process), time.perf_counter() - began


def _killed(rng: np.random.Generator, times: int) -> int:
    wanted, seconds = _undisturbed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.safetensors")
        kills = 0
        while kills < times:
            with _started(path) as process:
                assert process.stdout is not None
                if process.stdout.readline() != "begun\n":
                    break  # it had all been done
                time.sleep(rng.uniform(0, seconds / times))
                process.kill()
            kills += 1
            if path.exists():
                _whole(path)
        assert _result(_started(path)) == wanted, f"killed {kills} times, it ends in another way"
        left = [name for name in os.listdir(folder) if name != path.name]
        assert left == [], f"{left} is left behind"
    return kills + 1


def _whole(path: Path) -> None:
    try:
        lucid.load_checkpoint(path, random=False)
    except FileError as error:
        raise AssertionError(f"what a killed process has left is not whole: {error}") from error
