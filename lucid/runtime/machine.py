"""What the cost model knows of the machine: cores and cache sizes as found, rates as assumed.

Rates are not measured when a model is compiled: the same model on the same machine must always get the
same program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import blas, crew
from .cores import available_cores

_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes
    ----------
    cores
        Cores this process may use.
    l1, l2, l3
        Bytes of a core's data cache, of its second-level cache, and of the cache the cores share.
    flops
        Multiply-adds (counted as two) a second, of a large single-precision product on one core.
    near, far
        Bytes a second that one core moves within its second-level cache, and to and from beyond it.
    call
        Seconds of a NumPy call that does nothing.
    fork, handover
        Seconds to hand blocks to other workers and wait for them; seconds that a NumPy call then takes longer.
    unpacked
        Multiply-adds of a single-precision product up to which BLAS reads both matrices where they lie.
    helpers
        Whether programs can have processes to help them.
    """

    cores: int
    l1: int
    l2: int
    l3: int
    flops: float = 1.05e11
    near: float = 3.0e10
    far: float = 1.0e10
    call: float = 1.0e-6
    fork: float = 1.0e-5
    handover: float = 0.0
    unpacked: int = 0
    helpers: bool = False


@cache
def this_machine() -> Machine:
    """The machine this process runs on; usual cache sizes where it does not tell its own."""
    caches = _cache(1, 1 << 15), _cache(2, 1 << 20), _cache(3, 1 << 24)
    # threads of one interpreter wait for each other, processes do not
    fork, handover = (4.0e-6, 0.0) if crew.POSSIBLE else (1.0e-4, 5.0e-6)
    unpacked = blas.unpacked()
    return Machine(available_cores(), *caches, fork=fork, handover=handover, unpacked=unpacked, helpers=crew.POSSIBLE)


def _cache(level: int, default: int) -> int:
    for index in sorted(_CPU.glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            if int((index / "level").read_text()) == level and kind != "Instruction":
                size = (index / "size").read_text().strip()
                return int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return default
