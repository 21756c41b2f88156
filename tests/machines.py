"""Machines that the suite is run on by description: ``python -m pytest --machine 1core``.

A test of what the compiler *chooses* says for which machine (``described``, from
:mod:`lucid.runtime.planning.machine`, or a fixture of conftest.py); all other tests hold on any, so they must pass
under each of these descriptions.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import lucid
from lucid.runtime.planning.machine import Machine, describe

KB, MB = 1 << 10, 1 << 20

USUAL = Machine(2, 32 * KB, MB, 32 * MB, fork=4.0e-6, helpers=True)
"""What tests of choices are written for, unless they say otherwise."""

MACHINES = {
    "1core": Machine(1, 32 * KB, 512 * KB, 8 * MB, fork=1.0e-4, handover=5.0e-6),
    "2core256k": Machine(2, 32 * KB, 256 * KB, 4 * MB, fork=4.0e-6, helpers=True),
    "2core1m": USUAL,
    "8core2m": Machine(8, 48 * KB, 2 * MB, 32 * MB, fork=4.0e-6, unpacked=1_000_000, helpers=True),
    "64core": Machine(64, 64 * KB, MB, 256 * MB, fork=4.0e-6, unpacked=1_000_000, helpers=True),
}

VARIABLE = "LUCID_TESTS_MACHINE"
"""Environment variable by which a description reaches processes that tests start; nothing reads it but
``subprocesses/sitecustomize.py``."""


HOOK = str(Path(__file__).parent / "subprocesses")


def environment(machine: Machine) -> dict[str, str]:
    """That of an interpreter that is to be told of the machine."""
    paths = os.pathsep.join(filter(None, [HOOK, os.environ.get("PYTHONPATH")]))
    return {**os.environ, VARIABLE: json.dumps(dataclasses.asdict(machine)), "PYTHONPATH": paths}


def bare(root: Path) -> dict[str, str]:
    """That of an interpreter that has the package from this folder, and of this one no more than what it was told."""
    told = {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}
    return {**told, "PYTHONPATH": os.pathsep.join([str(root), HOOK])}


def untold() -> dict[str, str]:
    """That of an interpreter that is to know nothing but the machine it runs on."""
    return {name: value for name, value in os.environ.items() if name != VARIABLE}


def use(name: str) -> None:
    """Describe the machine of this name for the rest of this process, and of those that it starts."""
    machine = MACHINES[name]
    os.environ.update(environment(machine))
    describe(machine)
    lucid.set_num_threads(machine.cores, processes=machine.helpers)
