"""The suite beside two busy processes, and on each machine that is described: ``make machines``.

The run beside busy processes is the first, is whole, and takes down which tests ask what the machine is
(``asking.py``). The others are the same on every machine, and are left out on those that follow; but not on that of one
core, where BLAS has one thread, which no test asks.

``python -m tests.everywhere 1core busy -- tests/runtime/test_conv.py`` runs a part of it; what follows ``--`` is
pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from .machines import MACHINES

ROOT = Path(__file__).parent.parent
BUSY, WHOLE = "busy", "1core"

SPIN = """
import os, sys
parent, n = int(sys.argv[1]), 0
while n % 100_000 or os.getppid() == parent:
    n += 1
"""
"""Keeps a core busy for as long as its parent lives, however that ends: looks some fifty times a second."""


@contextmanager
def busy(processes: int = 2) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Beside what is done within, so many processes compute for nothing."""
    found: list[subprocess.Popen[bytes]] = []
    try:
        while len(found) < processes:
            found.append(subprocess.Popen([sys.executable, "-IS", "-c", SPIN, str(os.getpid())], cwd=os.sep))
        yield found
    finally:
        for process in found:
            process.kill()
        for process in found:
            process.wait()


def suite(name: str, arguments: Sequence[str], notes: Path) -> int:
    """Run it on the machine of this name, or on this one while that is busy. Returns pytest's exit code."""
    told = [f"--note-asking={notes}"] if name == BUSY else ["--machine", name]  # a path alone is taken for a test's
    if name not in (BUSY, WHOLE) and notes.exists():
        told.append(f"--only-asking={notes}")
    command = [sys.executable, "-m", "pytest", "-q", *(arguments or ["-n", "auto"]), *told]
    with busy() if name == BUSY else nullcontext():
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """0 where all pass everywhere."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    names, rest = arguments[:cut] or [BUSY, *MACHINES], arguments[cut + 1 :]
    unknown = set(names) - {*MACHINES, BUSY}
    if unknown:
        say(f"{', '.join(sorted(unknown))}: expected some of {', '.join([*MACHINES, BUSY])}")
        return 2
    codes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            began = time.monotonic()
            say(f"-- {name}")
            codes[name] = suite(name, rest, Path(folder) / "notes")
            say(f"-- {name}: {'FAILED' if codes[name] else 'passed'} in {time.monotonic() - began:.0f} s")
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
