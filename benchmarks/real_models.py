"""Real ONNX models in Lucid, ONNX Runtime and OpenVINO: first result, steady time, peak memory.

    python benchmarks/real_models.py                       # all of .models (make models fetches them)
    python benchmarks/real_models.py silero PP-OCR         # those whose path contains a word
    python benchmarks/real_models.py --turns 5 --seconds 1 --write benchmarks/results/real_models.md

Every contestant has a process of its own, in turns; a figure is the median of the turns, a ratio that of the best peer
of the same turn. Calls come in a loop, and paced (one every 30 ms).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PACE = 0.03
CONTESTANTS = ("Lucid", "ONNX Runtime", "OpenVINO")


# ---------------------------------------------------------------- one contestant, in a process of its own


def ready(contestant: str, path: Path, given: dict[str, Any]) -> Any:
    """A call of the model on these inputs; what imports and compiles it is part of the first result."""
    import onnx

    from tests.real.weights import reweighted

    proto = onnx.load(path)
    proto = reweighted(proto, path.name) if path.name.startswith("light_") else proto
    if contestant == "Lucid":
        import lucid

        model = lucid.onnx.load(proto)
        net, arrays = lucid.compile(model), [given[name] for name in model.input_names]

        def call() -> Any:
            with lucid.no_grad():
                return net(*arrays)

        return call
    if contestant == "ONNX Runtime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, given)
    import openvino

    core = openvino.Core()
    request = core.compile_model(core.read_model(proto.SerializeToString()), "CPU").create_infer_request()
    arrays = list(given.values())
    return lambda: request.infer(arrays)


def alone(contestant: str, name: str, folder: Path, seconds: float) -> None:
    """Print what one contestant takes for one model."""
    from tests.real.inputs import inputs

    given = inputs(folder / name, 1)
    began = time.perf_counter()
    call = ready(contestant, folder / name, given)
    call()
    first = time.perf_counter() - began
    for _ in range(3):
        call()
    loop, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(loop) < 5:
        began = time.perf_counter()
        call()
        loop.append(time.perf_counter() - began)
    paced, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(paced) < 5:
        time.sleep(PACE)
        began = time.perf_counter()
        call()
        paced.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"first": first, "loop": statistics.median(loop), "paced": statistics.median(paced), "peak": peak}
    print(json.dumps(found))


# ---------------------------------------------------------------- the contest


def turn(name: str, folder: Path, seconds: float) -> dict[str, dict[str, float]]:
    """What each contestant takes, one after the other."""
    found = {}
    for contestant in CONTESTANTS:
        command = [sys.executable, __file__, "--alone", contestant, "--folder", str(folder), name]
        done = subprocess.run([*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found[contestant] = json.loads(done.stdout.splitlines()[-1])
    return found


def middle(turns: list[dict[str, dict[str, float]]], contestant: str, figure: str) -> float:
    found = [one[contestant][figure] for one in turns if contestant in one]
    return statistics.median(found) if found else math.nan


def ratio(turns: list[dict[str, dict[str, float]]], figure: str) -> float:
    """The best peer's time, of the same turn, over Lucid's."""
    found = []
    for one in turns:
        peers = [one[c][figure] for c in CONTESTANTS[1:] if c in one]
        if peers and "Lucid" in one:
            found.append(min(peers) / one["Lucid"][figure])
    return statistics.median(found) if found else math.nan


def row(name: str, turns: list[dict[str, dict[str, float]]]) -> str:
    cells = [Path(name).stem, f"{ratio(turns, 'loop'):.2f}", f"{ratio(turns, 'paced'):.2f}"]
    for figure, scale, digits in (("loop", 1e3, 3), ("first", 1e3, 0), ("peak", 1, 0)):
        cells += [f"{scale * middle(turns, c, figure):.{digits}f}" for c in CONTESTANTS]
    return "| " + " | ".join(cells) + " |"


def mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.exp(statistics.fmean(map(math.log, known))) if known else math.nan


def report(results: dict[str, list[dict[str, dict[str, float]]]], facts: str, turns: int) -> str:
    means = {figure: mean([ratio(turns, figure) for turns in results.values()]) for figure in ("loop", "paced")}
    heads = [f"{what}: {c}" for what in ("loop, ms", "first, ms", "peak, MB") for c in CONTESTANTS]
    lines = [
        "# Real models", "",
        facts, "",
        f"Medians of {turns} turns. Ratios are the best peer's time over Lucid's: more than 1 is ahead of both.", "",
        f"Geometric mean of {len(results)} models: loop {means['loop']:.2f}, paced {means['paced']:.2f}.", "",
        "| model | loop | paced | " + " | ".join(heads) + " |", "|---" * (3 + len(heads)) + "|",
    ]  # fmt: skip
    return "\n".join([*lines, *(row(name, turns) for name, turns in results.items())]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare real ONNX models with the peers.")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--folder", type=Path, default=ROOT / ".models")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        alone(args.alone, args.words[0], args.folder, args.seconds)
        return
    from tests.real.fetch import listed
    from timing import describe, machine

    results = {}
    for name in listed(args.words):
        results[name] = [turn(name, args.folder, args.seconds) for _ in range(args.turns)]
        print(row(name, results[name]), flush=True)
    text = report(results, describe(machine()), args.turns)
    print(text)
    if args.write:
        args.write.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
