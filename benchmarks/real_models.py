"""Real ONNX models in Lucid, ONNX Runtime and OpenVINO: first result, steady time, peak memory.

    python benchmarks/real_models.py                       # all (make models fetches them)
    python benchmarks/real_models.py silero PP-OCR         # those whose path contains a word
    python benchmarks/real_models.py --turns 5 --seconds 1 --threads 1 --write benchmarks/results/real_models.md

Every contestant has a process of its own, in turns, and computes in single precision; a figure is the median of the
turns, a ratio that of the best peer of the same turn. Calls come in a loop, and paced (one every 30 ms). What a
contestant cannot run is said below the table, and the others go on; what was measured is written after every model.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PACE = 0.03
PATIENCE = 300.0
"""Seconds that a contestant may take for a model in a turn."""
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Variables of a contestant's process: bytecode is kept, as that of installed packages is."""
CONTESTANTS = ("Lucid", "ONNX Runtime", "OpenVINO")
Turn: TypeAlias = "dict[str, dict[str, Any]]"
"""What was found of each contestant: figures, or the ``error`` that it ended with."""


# ---------------------------------------------------------------- one contestant, in a process of its own


def ready(contestant: str, path: Path, given: dict[str, Any], threads: int) -> Callable[[], Any]:
    """A call of the model on these inputs; what imports and compiles it is part of the first result."""
    import onnx

    from tests.real.weights import reweighted

    proto = onnx.load(path)
    proto = reweighted(proto, path.name) if path.name.startswith("light_") else proto
    return {"Lucid": _lucid, "ONNX Runtime": _onnxruntime, "OpenVINO": _openvino}[contestant](proto, given, threads)


def _lucid(proto: Any, given: dict[str, Any], threads: int) -> Callable[[], Any]:
    import lucid

    model = lucid.onnx.load(proto)
    net = lucid.compile(model, threads=threads or None)
    arrays = [given[name] for name in model.input_names]

    def call() -> Any:
        with lucid.no_grad():
            return net(*arrays)

    return call


def _onnxruntime(proto: Any, given: dict[str, Any], threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, given)


def _openvino(proto: Any, given: dict[str, Any], threads: int) -> Callable[[], Any]:
    import openvino

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # where the processor has bfloat16 it would be the default
        **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", options)
    request = compiled.create_infer_request()
    for port in compiled.inputs:
        array = next(given[name] for name in port.get_names() if name in given)
        request.set_tensor(port, openvino.Tensor(array, shared_memory=array.ndim > 0))
    return request.infer


def alone(contestant: str, name: str, folder: Path, seconds: float, threads: int) -> None:
    """Print what one contestant takes for one model."""
    from memory import peak
    from tests.real.inputs import inputs

    given = inputs(folder / name, 1)
    began = time.perf_counter()
    call = ready(contestant, folder / name, given, threads)
    call()
    first = time.perf_counter() - began
    for _ in range(3):
        call()
    loop, paced = _times(call, seconds, 0.0), _times(call, seconds, PACE)
    found = {"first": first, "loop": statistics.median(loop), "paced": statistics.median(paced), "peak": peak() / 1e6}
    print(json.dumps(found))


def _times(call: Callable[[], Any], seconds: float, pause: float) -> list[float]:
    """Seconds of each call, for so long, with a pause before each."""
    found, end = list[float](), time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 5:
        if pause:
            time.sleep(pause)
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


# ---------------------------------------------------------------- the contest


def turn(name: str, folder: Path, seconds: float, threads: int) -> Turn:
    """What each contestant takes, one after the other."""
    found = {}
    for contestant in CONTESTANTS:
        command = [sys.executable, __file__, "--alone", contestant, "--folder", str(folder), name]
        command += ["--seconds", str(seconds), "--threads", str(threads)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=PATIENCE, env={**os.environ, **COMPILED}
            )
        except subprocess.TimeoutExpired:
            found[contestant] = {"error": f"took more than {PATIENCE:g} s"}
            continue
        if done.returncode == 0:
            found[contestant] = json.loads(done.stdout.splitlines()[-1])
        else:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            found[contestant] = {"error": said[-1][:160] if said else f"ended with {done.returncode}"}
    return found


def middle(turns: Sequence[Turn], contestant: str, figure: str) -> float:
    found = [one[contestant][figure] for one in turns if figure in one[contestant]]
    return statistics.median(found) if found else math.nan


def ratio(turns: Sequence[Turn], figure: str) -> float:
    """The best peer's time, of the same turn, over Lucid's."""
    found = []
    for one in turns:
        peers = [one[c][figure] for c in CONTESTANTS[1:] if figure in one[c]]
        if peers and figure in one["Lucid"]:
            found.append(min(peers) / one["Lucid"][figure])
    return statistics.median(found) if found else math.nan


def title(name: str) -> str:
    """A model as the table names it: package and file."""
    path = Path(name)
    return f"{path.parts[0].rpartition('-')[0]}: {path.stem}"


def row(name: str, turns: Sequence[Turn]) -> str:
    cells = [title(name), _number(ratio(turns, "loop"), 2), _number(ratio(turns, "paced"), 2)]
    for figure, scale, digits in (("loop", 1e3, 3), ("paced", 1e3, 3), ("first", 1e3, 0), ("peak", 1, 0)):
        cells += [_number(scale * middle(turns, c, figure), digits) for c in CONTESTANTS]
    return "| " + " | ".join(cells) + " |"


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.exp(statistics.fmean(map(math.log, known))) if known else math.nan


def convolves(path: Path) -> bool:
    """Whether a convolution is among the operators of a model."""
    import onnx

    def of(graph: Any) -> bool:
        inner = (a for node in graph.node for a in node.attribute)
        return any("Conv" in node.op_type for node in graph.node) or any(a.HasField("g") and of(a.g) for a in inner)

    return of(onnx.load(path, load_external_data=False).graph)


def report(results: dict[str, list[Turn]], folder: Path, facts: str, asked: str) -> str:
    """The table, with the means above it and what could not be measured below."""
    images = [name for name in results if convolves(folder / name)]
    heads = [f"{what}: {c}" for what in ("loop, ms", "paced, ms", "first, ms", "peak, MB") for c in CONTESTANTS]
    lines = [
        "# Real models", "",
        facts, "",
        f"{asked} Ratios are the best peer's time over Lucid's: more than 1 is ahead of both.", "",
        "| geometric mean | models | loop | paced |", "|---|---|---|---|",
    ]  # fmt: skip
    for what, names in (("all", list(results)), ("with convolutions", images)):
        means = [_number(mean([ratio(results[name], figure) for name in names]), 2) for figure in ("loop", "paced")]
        lines.append(f"| {what} | {len(names)} | {' | '.join(means)} |")
    lines += ["", f"| model | loop | paced | {' | '.join(heads)} |", "|---" * (3 + len(heads)) + "|"]
    lines += [row(name, turns) for name, turns in results.items()]
    errors = dict.fromkeys(
        f"- {title(name)}, {contestant}: {found['error']}"
        for name, turns in results.items()
        for one in turns
        for contestant, found in one.items()
        if "error" in found
    )
    return "\n".join([*lines, *(["", "What did not run:", "", *errors] if errors else [])]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare real ONNX models with the peers.")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--folder", type=Path, help="where they lie, if not where make models puts them")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=0, help="of each contestant; 0: as it comes")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        alone(args.alone, args.words[0], args.folder, args.seconds, args.threads)
        return
    from tests.real.fetch import folder, listed
    from timing import describe, machine

    place = args.folder or folder()
    facts = describe(machine())
    used = f"{args.threads} thread{'s' * (args.threads > 1)} each" if args.threads else "as many threads as each takes"
    measured = "One turn" if args.turns == 1 else f"Medians of {args.turns} turns"
    asked = f"{measured}, {used}, single precision."
    results: dict[str, list[Turn]] = {}
    for name in listed(args.words):
        results[name] = [turn(name, place, args.seconds, args.threads) for _ in range(args.turns)]
        print(row(name, results[name]), flush=True)
        if args.write:
            args.write.write_text(report(results, args.folder, facts, asked), "utf-8")
    print(report(results, args.folder, facts, asked))


if __name__ == "__main__":
    main()
