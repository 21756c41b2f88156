"""One contestant on one case in this process: its set-up time and its memory, as a line of JSON. Run by costs.py.

    python benchmarks/alone.py "ONNX Runtime" resnet50-b1
    python benchmarks/alone.py plan resnet50-b1             # what Lucid's plan says, beside what NumPy allocated

Memory is that of the whole process, so nothing else may run in it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import lucid
from cases import CASES, Case
from lucid import nn
from memory import forget_peak, peak, resident
from peers import CONTESTANTS, Contestant, Ready, UnsupportedError, mode

RUNS = 3


def _warm_blas() -> None:
    """BLAS takes its buffers at the first products: they belong to no model."""
    for dtype in (np.float32, np.float64):
        a = np.ones((1024, 1024), dtype)
        a @ a


def _small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(8 * 7 * 7, 10))


SMALL = Case("small", "net", _small, (1, 3, 16, 16), "a small network")
"""Compiled first: what a library loads and starts only once belongs to no model."""


def _first_result(who: Contestant, ready: Ready) -> tuple[Callable[[], Any], float]:
    """A contestant's run, and the seconds from the model to the first result."""
    ready.present(who.needs)
    start = time.perf_counter()
    run = who.prepare(ready)
    run()
    return run, time.perf_counter() - start


def contestant(name: str, ready: Ready) -> dict[str, Any]:
    """Seconds to the first result, of a small network and of this one; bytes grown by until then and in later runs."""
    who = next(who for who in CONTESTANTS if who.name == name)
    ready.present(who.needs)
    with mode(ready.case):
        try:
            small = _first_result(who, Ready(SMALL))[1]
            _warm_blas()
            forget_peak()
            before = resident()
            run, seconds = _first_result(who, ready)
        except UnsupportedError as reason:
            return {"absent": str(reason)}
        except Exception as error:
            if who.ours:
                raise
            # a peer that cannot be set up here is a line of the table, not the end of the benchmark
            return {"absent": f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"}
        setup_peak = peak() - before
        forget_peak()
        for _ in range(RUNS):
            run()
        return {"small": small, "setup": seconds, "setup_peak": setup_peak, "run_peak": peak() - before}


def _objects() -> int:
    """Bytes of what is traced now and is no array: code, mostly, and dictionaries."""
    others = tracemalloc.DomainFilter(False, np.lib.tracemalloc_domain)
    found = tracemalloc.take_snapshot().filter_traces([others])
    return sum(trace.size for trace in found.traces)


def plan(ready: Ready) -> dict[str, Any]:
    """Bytes of arena, packed weights and outputs by the plan; the peak of what NumPy allocated, packing and later."""
    lucid.set_num_threads(lucid.get_num_threads(), processes=False)  # else the arena is shared memory, not NumPy's
    net = lucid.compile(ready.module, lucid.spec(*ready.case.shape))
    found = net.plan
    planned = found.packed_bytes + found.workspace_bytes + found.arena_bytes
    planned += sum(o.type.nbytes for o in found.outputs)
    _warm_blas()
    gc.collect()
    tracemalloc.start()
    net(ready.x)
    packing = tracemalloc.get_traced_memory()[1] - _objects()
    gc.collect()
    tracemalloc.reset_peak()
    for _ in range(RUNS):
        net(ready.x)
    running = tracemalloc.get_traced_memory()[1] - _objects()
    layout = found.layout
    return {
        "planned": planned,
        "packing": packing,
        "running": running,
        "arena": layout.size,
        "lower_bound": layout.lower_bound,
    }


def main() -> int:
    name, case = sys.argv[1:]
    ready = Ready(next(c for c in CASES if c.name == case), alone=True)
    print(json.dumps(plan(ready) if name == "plan" else contestant(name, ready)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
