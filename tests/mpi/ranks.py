"""Runs a program in several processes, and brings back what each has told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lucid import nn

TIMEOUT = 60
MPIEXEC = Path(sys.executable).parent / "mpiexec"


def started(ranks: int, *program: str) -> subprocess.Popen[str]:
    """Processes that run a program of Python, each with one thread."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def printed(ranks: int, *program: str, fails: bool = False, seconds: float = TIMEOUT) -> str:
    """What they have printed, which have to end well, or to fail, within so many seconds."""
    process = started(ranks, *program)
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert (process.returncode != 0) == fails, output
    return output


def told(name: str, ranks: int, folder: Path) -> list[dict[str, Any]]:
    """What the ranks of a program of :mod:`tests.mpi.programs` have told."""
    printed(ranks, "-m", "tests.mpi.programs", name, str(folder))
    return [json.loads((folder / f"{rank}.json").read_text("utf-8")) for rank in range(ranks)]


def ended(name: str, ranks: int, folder: Path, seconds: float) -> str:
    """What such a program has said that ends badly, all of it within so many seconds."""
    return printed(ranks, "-m", "tests.mpi.programs", name, str(folder), fails=True, seconds=seconds)


def digest(model: nn.Module) -> str:
    """What tells two models apart by a single bit."""
    return _digest(tensor.numpy() for tensor in model.state_dict().values())


def _digest(arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
