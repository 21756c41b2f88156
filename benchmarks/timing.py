"""Clocks: contestants run in turns, and what kind of machine they run on."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import lucid
from lucid.runtime.workers.cores import processor

REST = 0.03
"""Seconds between turns, at least: until the idle threads of BLAS, OpenMP and the runtimes, which spin for up to 26 ms
and on some days 46, are asleep."""

LONGEST_REST = 0.1
"""Seconds after which a turn begins although some thread is awake."""

BURST = 0.004
"""Seconds a turn lasts at least: short runs are repeated, and the turn counts as the median of them."""

SETTLE = 0.02
"""A contestant quicker than this gets one run before its turn counts: threads and caches are cold after the rest."""

MOST_RUNS = 64


@contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection inside; what exists already is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def clock(run: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - start) * 1e-9


def warm_up(run: Callable[[], object], seconds: float = 0.2, least: int = 3, most: int = 200) -> float:
    """Run until it is warm. Returns the quickest run's seconds."""
    taken: list[float] = []
    start = time.perf_counter()
    while len(taken) < least or (time.perf_counter() - start < seconds and len(taken) < most):
        taken.append(clock(run))
    return min(taken)


def steady(run: Callable[[], object], seconds: float) -> float:
    """Seconds of a call in a loop so long: the median of its second half, as caches and workers are cold before."""
    taken, end = [clock(run)], time.perf_counter() + seconds
    while len(taken) < 4 or time.perf_counter() < end:
        taken.append(clock(run))
    return statistics.median(taken[len(taken) // 2 :])


def interleave(
    runs: Mapping[str, Callable[[], object]], seconds: float, pause: float = REST, least: int = 3
) -> dict[str, list[float]]:
    """Run what is in this process A B C A B C … until the time is up.

    Parameters
    ----------
    runs
        By name. All must be ready to run.
    seconds
        Budget for all rounds together; the round that exceeds it is the last.
    pause
        Seconds of silence before each turn.
    least
        Rounds there are in any case.

    Returns
    -------
    For each the seconds of one run in each round (the median of its turn): the i-th entries of all lists were measured
    one after another.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with collector_off():
        quickest = {name: warm_up(run) for name, run in runs.items()}
        end, rounds = time.perf_counter() + seconds, 0
        while rounds < least or time.perf_counter() < end:
            for name, run in runs.items():
                rest([os.getpid()], pause)
                if quickest[name] < SETTLE:
                    run()
                count = min(MOST_RUNS, max(1, round(BURST / quickest[name])))
                taken[name].append(statistics.median(clock(run) for _ in range(count)))
            gc.collect()
            rounds += 1
    return taken


def asleep(processes: Sequence[int]) -> bool:
    """Whether no thread of these processes, BLAS's own among them, is at work; but for the one that asks."""
    this = str(threading.get_native_id())
    try:
        tasks = [task for pid in processes for task in Path(f"/proc/{pid}/task").iterdir() if task.name != this]
        # a thread's state is what follows its name, which is in brackets
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "S" for task in tasks)
    except OSError:  # one has just ended
        return False


def rest(processes: Sequence[int], pause: float = REST) -> None:
    """Wait so long, and then on until all threads of the processes are asleep."""
    end = time.perf_counter() + LONGEST_REST
    time.sleep(pause)
    while not asleep(processes) and time.perf_counter() < end:
        time.sleep(0.005)


def paired_ratio(peer: list[float], ours: list[float]) -> float:
    """Median over the rounds of the peer's time over ours."""
    return statistics.median(p / o for p, o in zip(peer, ours, strict=True))


def copy_bandwidth(nbytes: int = 1 << 28, repeat: int = 9) -> float:
    """Bytes read and written per second by copying arrays far larger than the caches, on all cores (the best run)."""
    threads = lucid.get_num_threads()
    source, target = np.ones(nbytes // 4, np.float32), np.empty(nbytes // 4, np.float32)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        best = min(clock(lambda: list(pool.map(lambda pair: np.copyto(*pair), parts))) for _ in range(repeat))
    return 2 * nbytes / best


def numpy_call(repeat: int = 300) -> float:
    """Seconds of a NumPy call that adds 512 numbers: a shared machine has quick and slow hours."""
    a, b = np.ones(512, np.float32), np.ones(512, np.float32)
    return clock(lambda: [np.add(a, b, out=b) for _ in range(repeat)]) / repeat


# ---------------------------------------------------------------- the machine


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / key).read_text().strip() for key in ("level", "type", "size"))
        found[f"L{level} {kind.lower()}"] = size
    return found


def _vector_units() -> list[str]:
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return []
    known = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
    return [name for name in known if name in flags.split()]


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def machine() -> dict[str, Any]:
    """Processor, cores, caches, memory, system and versions, as JSON would have them."""
    blas = [
        f"{b['internal_api']} {b['version']} ({b.get('architecture', '?')})"
        for b in threadpoolctl.threadpool_info()
        if b["user_api"] == "blas"
    ]
    packages = ("lucid", "numpy", "networkx", "torch", "onnxruntime", "openvino", "onnx")
    return {
        "processor": processor(),
        "cores used": lucid.get_num_threads(),
        "vector units": _vector_units(),
        "caches of one core": _caches(),
        "memory": f"{_memory() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": sorted(set(blas)),
        "versions": {name: _version(name) for name in packages},
    }


def describe(facts: Mapping[str, Any]) -> str:
    """The machine as a Markdown list."""

    def text(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{k} {v}" for k, v in value.items())
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return "\n".join(f"- {name}: {text(value)}" for name, value in facts.items())
