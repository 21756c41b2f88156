"""Time per node of each stage on very long and very wide graphs, and the exponent of its growth.

    python benchmarks/scale.py                                          # print the tables
    python benchmarks/scale.py --write benchmarks/results/scale.md      # and keep them
    python benchmarks/scale.py --check                                  # fail where an exponent exceeds the limit

Every stage should take time in proportion to the number of nodes: an exponent of 1.
"""

from __future__ import annotations

import argparse
import gc
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from lucid.formats.serialize import dump, loads
from lucid.graph.ir import Graph
from lucid.graph.types import spec
from lucid.passes.pipeline import inference_pipeline, run_passes
from lucid.runtime.eager import evaluate
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.program.plan import Plan, make_plan
from lucid.runtime.program.printer import Source, generate
from lucid.runtime.workers.sharing import Sharing
from lucid.tensor.tensor import Tensor
from lucid.tensor.tracing import Recorder

CHAINS = (1_000, 10_000, 100_000)
FANS = (1_000, 3_000, 10_000)
LIMIT = 1.1
WIDTH = 4

Times = dict[str, float]


def _trace(model: Callable[[Any, Any], Any]) -> Graph:
    recorder = Recorder()
    with recorder.active():
        x, w = (recorder.input(spec(WIDTH), name) for name in ("x", "w"))
        return recorder.finish([model(x, w)])


def chain(count: int) -> Graph:
    """``count`` ops, each on the result of the one before."""

    def model(x: Any, w: Any) -> Any:
        for i in range(count):
            x = x.tanh() if i % 2 else x * w
        return x

    return _trace(model)


def fan(count: int) -> Graph:
    """``count`` ops on one value, all different, added up in a tree."""

    def model(x: Any, w: Any) -> Any:
        values = [(x * float(i)).tanh() * w for i in range(count)]
        while len(values) > 1:
            odd = [values.pop()] if len(values) % 2 else []
            values = [a + b for a, b in zip(values[::2], values[1::2], strict=True)] + odd
        return values[0]

    return _trace(model)


def _passes() -> Any:
    return inference_pipeline(evaluate, lambda node: bool(lowerings(node.op)))


def _load_program(source: Source) -> Callable[..., Any]:
    program: Callable[..., Any] = source.load("program")
    return program


def measure(make: Callable[[int], Graph], count: int) -> tuple[int, Times]:
    """Seconds for each stage on one graph, and its number of nodes."""
    times: Times = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        gc.collect()
        start = time.process_time()
        result = work()
        times[name] = time.process_time() - start
        return result

    graph: Graph = stage("trace", lambda: make(count))
    optimised: Graph = stage("optimise", lambda: run_passes(graph, _passes()))
    plan: Plan = stage("plan", lambda: make_plan(graph))
    source: Source = stage("program", lambda: generate(plan))
    program = stage("compile program", lambda: _load_program(source))
    x, w = np.full(WIDTH, 0.5, np.float32), np.full(WIDTH, 0.999, np.float32)

    def run() -> Any:
        prepare, bind = program([])
        prepare()
        return Sharing(1).bind(bind, np.empty(plan.arena_bytes, np.uint8))(x, w)

    (y,) = stage("bind and run", run)
    data: bytes = stage("save", lambda: dump({"graph": graph}))
    loaded: Graph = stage("load", lambda: loads(data)).graphs["graph"]
    assert np.allclose(y, evaluate(optimised, [x, w])[0], rtol=1e-4)
    assert loaded.order == graph.order
    return len(graph), times


def measure_eager(count: int) -> tuple[int, Times]:
    """Seconds to compute a chain of eager ops, to differentiate it, and to let go of it."""
    x = Tensor(np.full(WIDTH, 0.5, np.float32), requires_grad=True)
    w = Tensor(np.full(WIDTH, 0.999, np.float32))
    y: Any = x
    gc.collect()
    start = time.process_time()
    for i in range(count):
        y = y.tanh() if i % 2 else y * w
    computed = time.process_time()
    y.backward(np.ones(WIDTH, np.float32))
    differentiated = time.process_time()
    del y
    dropped = time.process_time()
    assert x.grad is not None
    return count, {
        "eager": computed - start, "backward": differentiated - computed, "drop": dropped - differentiated
    }  # fmt: skip


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of the least-squares line through log(seconds) over log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def best(run: Callable[[int], tuple[int, Times]], count: int) -> tuple[int, Times]:
    """The quickest of several runs, stage by stage; more of them where they are short."""
    runs = [run(count) for _ in range(max(1, min(3, 10_000 // count)))]
    return runs[0][0], {stage: min(times[stage] for _, times in runs) for stage in runs[0][1]}


def table(title: str, counts: Sequence[int], run: Callable[[int], tuple[int, Times]]) -> tuple[str, dict[str, float]]:
    """A Markdown table of microseconds per node, and each stage's exponent."""
    run(min(counts) // 5)  # imports, caches
    results = [best(run, count) for count in counts]
    sizes = [size for size, _ in results]
    head = [f"{title} of {count:,}" for count in counts]
    lines = [f"| µs per node | {' | '.join(head)} | exponent |", f"|---|{'---:|' * (len(counts) + 1)}"]
    exponents = {}
    for stage in results[0][1]:
        seconds = [times[stage] for _, times in results]
        exponents[f"{title} {stage}"] = growth = exponent(sizes, seconds)
        cells = [f"{s / n * 1e6:.2f}" for s, n in zip(seconds, sizes, strict=True)]
        lines.append(f"| {stage} | {' | '.join(cells)} | {growth:.2f} |")
    return "\n".join(lines), exponents


def main() -> int:
    parser = argparse.ArgumentParser(description="Time per node on long and wide graphs.")
    parser.add_argument("--write", type=Path, help="also write the tables to this Markdown file")
    parser.add_argument("--check", action="store_true", help=f"fail where an exponent exceeds {LIMIT}")
    parser.add_argument("--largest", type=int, default=max(CHAINS), help="longest chain")
    args = parser.parse_args()
    chains = [count for count in CHAINS if count <= args.largest]
    parts, exponents = [], {}
    for title, counts, run in (
        ("chain", chains, lambda count: measure(chain, count)),
        ("fan", FANS, lambda count: measure(fan, count)),
        ("eager chain", chains, measure_eager),
    ):
        text, found = table(title, counts, run)
        print(text, end="\n\n", flush=True)
        parts.append(text)
        exponents |= found
    made_with = f"Python {platform.python_version()}, NumPy {np.__version__}, networkx {nx.__version__}"
    if args.write is not None:
        args.write.parent.mkdir(parents=True, exist_ok=True)
        notes = f"# Scale\n\nMade by `make bench` with {made_with}; seconds of one processor;\n"
        notes += "nodes are counted before the passes, `plan` to `load` take the graph as traced."
        args.write.write_text("\n\n".join([notes, *parts]) + "\n", "utf-8")
    steep = {stage: value for stage, value in exponents.items() if value > LIMIT and not math.isnan(value)}
    for stage, value in steep.items():
        print(f"{stage}: exponent {value:.2f} exceeds {LIMIT}", file=sys.stderr)
    return 1 if args.check and steep else 0


if __name__ == "__main__":
    sys.exit(main())
