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


def started(name: str, ranks: int, folder: Path) -> subprocess.Popen[str]:
    """The processes of a program of :mod:`tests.mpi.programs`."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "tests.mpi.programs", name, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def told(name: str, ranks: int, folder: Path) -> list[dict[str, Any]]:
    """What the ranks of a program have told, which has to end well."""
    process = started(name, ranks, folder)
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return [json.loads((folder / f"{rank}.json").read_text("utf-8")) for rank in range(ranks)]


def ended(name: str, ranks: int, folder: Path, seconds: float) -> str:
    """What a program has said that ends badly, all of it within so many seconds."""
    process = started(name, ranks, folder)
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode != 0, output
    return output


def digest(model: nn.Module) -> str:
    """What tells two models apart by a single bit."""
    return _digest(tensor.numpy() for tensor in model.state_dict().values())


def _digest(arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
