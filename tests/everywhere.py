"""The suite beside two busy processes, and on each machine that is described: ``make machines``.

The run beside busy processes is the first, is whole, and takes down which tests ask what the machine is
(``asking.py``). The others are the same on every machine, and are left out on those that follow; but not on that of one
core, where BLAS has one thread, which no test asks.

``python -m tests.everywhere 1core busy -- tests/runtime/test_conv.py`` runs a part of it; what follows ``--`` is
pytest's. ``--shares 16`` runs a sixteenth of the tests everywhere, with each commit another one (``shares.py``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from .machines import MACHINES
from .shares import whose_turn

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
    command = [sys.executable, "-m", "pytest", "-q", *arguments, *told]
    with busy() if name == BUSY else nullcontext():
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def arguments_of(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the machines, and what pytest is told; exits where a machine is not described."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="tests.everywhere", description=__doc__)
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help=f"some of {', '.join([BUSY, *MACHINES])}")
    parser.add_argument("--shares", type=int, metavar="N", help="run a share of the tests: N take turns, by commit")
    given = parser.parse_args(arguments[:cut])
    unknown = set(given.machines) - {*MACHINES, BUSY}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join([BUSY, *MACHINES])}")
    if given.shares is not None and given.shares < 1:
        parser.error("there is one share at least")
    rest = list(arguments[cut + 1 :]) or ["-n", "auto"]
    if given.shares is not None:
        share = whose_turn(given.shares, ROOT)
        say(f"share {share} of the tests")
        rest += ["--share", str(share)]
    return given.machines or [BUSY, *MACHINES], rest


def main(arguments: Sequence[str]) -> int:
    """0 where all pass everywhere."""
    names, rest = arguments_of(arguments)
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
