"""The processor's cores: how many this process may use, and which the caller's helpers keep off."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterable

_libc = ctypes.PyDLL(None) if sys.platform == "linux" else None  # others have no sched_getcpu


def available_cores() -> int:
    """Cores this process may use: those of its affinity, within the limit of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _cgroup_limit()
    return max(1, min(cores, limit) if limit else cores)


def _cgroup_limit() -> int | None:
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()[:2]
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None


def keep_off(tasks: Iterable[int]) -> None:
    """Let threads or processes run on any core but the caller's, where that can be said.

    The system wakes a task where its waker is. While both are at work it may leave them there for milliseconds, and the
    other core idle: a max pooling of 8 ms took as long on two threads as on one.
    """
    if _libc is None or not hasattr(_libc, "sched_getcpu"):
        return
    others = os.sched_getaffinity(0) - {_libc.sched_getcpu()}
    for task in tasks if others else ():
        with contextlib.suppress(OSError):  # it may just have ended
            os.sched_setaffinity(task, others)
