"""The processor's cores: how many this process may use, and keeping workers off the caller's core."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping

_libc = ctypes.PyDLL(None) if sys.platform == "linux" else None  # others have no sched_getcpu
_MOUNTS = ("", "unified", "cpu", "cpu,cpuacct", "cpuacct,cpu")
"""Folders under ``/sys/fs/cgroup`` where control groups may be: version 2, hybrid, version 1."""
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with which users limit the threads of numeric libraries."""


def processor() -> str:
    """The name of this machine's processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """The number of cores that this process may use, by its affinity and the quotas of its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, quota())))


def default_threads(environment: Mapping[str, str] = os.environ) -> int:
    """The default number of threads of a call: the number of cores, unless the environment allows fewer."""
    return min([available_cores(), *_asked(environment)])


def _asked(environment: Mapping[str, str]) -> Iterator[int]:
    for name in LIMITS:
        first = environment.get(name, "").split(",")[0].strip()  # OpenMP allows a list, with a number for each level
        if first.isdecimal() and int(first) > 0:
            yield int(first)


def quota(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> float:
    """The CPU time, in cores, that the nested control groups of the process leave it; infinity without a limit."""
    paths = {"/"}
    with contextlib.suppress(OSError, ValueError), open(membership) as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                paths.add(path)
    limits = [float("inf")]
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            limits.extend(_limit("/".join([root, mount, *parts[:depth]])) for mount in _MOUNTS)
    return min(limits)


def _limit(folder: str) -> float:
    """The limit of one control group."""
    for read in (_limit_2, _limit_1):
        try:
            time, period = read(folder)
        except (OSError, ValueError):
            continue
        if time > 0 and period > 0:
            return time / period
    return float("inf")


def _limit_2(folder: str) -> tuple[int, int]:
    with open(f"{folder}/cpu.max") as file:
        time, period = file.read().split()
    return int(time), int(period)  # "max" is no number: no limit


def _limit_1(folder: str) -> tuple[int, int]:
    with open(f"{folder}/cpu.cfs_quota_us") as time, open(f"{folder}/cpu.cfs_period_us") as period:
        return int(time.read()), int(period.read())  # -1: no limit


def others() -> set[int]:
    """The cores that this process may use besides the one the caller is on; empty if that is unknown."""
    if _libc is None or not hasattr(_libc, "sched_getcpu"):
        return set()
    return os.sched_getaffinity(0) - {_libc.sched_getcpu()}


def keep_off(tasks: Iterable[int]) -> None:
    """Let threads or processes run on any core but the caller's, if that is known.

    The system wakes a task on the core of its waker. It may leave both there for milliseconds, with another core idle:
    a max pooling of 8 ms took as long on two threads as on one.
    """
    cores = others()
    for task in tuple(tasks) if cores else ():  # a copy, as tasks may begin and end meanwhile
        with contextlib.suppress(OSError):  # it may just have ended
            os.sched_setaffinity(task, cores)
