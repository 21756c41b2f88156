"""What speed costs: time to compile, memory to run, time to import, and size on disk, beside the peers.

    python benchmarks/costs.py              # writes benchmarks/results/costs.md
    python benchmarks/costs.py --quick      # LeNet-5 instead of ResNet-50; writes no files unless --out is given

Everything is measured in fresh processes, with empty compilation caches and with bytecode cached.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from tqdm import tqdm

import lucid
from peers import CONTESTANTS, LUCID, TORCH_COMPILE
from tables import RESULTS, aligned, markdown, write_text
from timing import describe, machine

ROOT = Path(__file__).resolve().parent.parent
REPEAT = 3
EXACT = "Lucid exact"
PEERS = [who.name for who in CONTESTANTS if not who.ours]
PLANNED = ("lenet-b1", "vgg11-b32", "vgg16-b1", "resnet18-b1", "resnet18-b8", "resnet50-b1", "mobilenet-b1", "mlp-b256")
MODULES = {LUCID: "lucid", "NumPy": "numpy", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "PyTorch": "torch"}


def environment(cache: Path) -> dict[str, str]:
    """This process's variables, with bytecode and PyTorch's compiled programs kept in ``cache``."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(cache / "bytecode"), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}


def python(cache: Path, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, env=environment(cache)
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)[:200]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


# ---------------------------------------------------------------- compile time and memory, one process each


def run_alone(name: str, case: str) -> dict[str, Any]:
    """Set-up seconds and memory of one contestant on one case, in a process that does nothing else."""
    with tempfile.TemporaryDirectory() as cache:  # empty: torch.compile must not find its work done
        text = python(Path(cache), str(Path(__file__).with_name("alone.py")), name, case)
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def compile_and_memory(case: str, step: Callable[[str], object]) -> tuple[str, str]:
    """The tables of set-up time and of memory."""
    names = [LUCID, EXACT, *PEERS]
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for _ in range(1 if name == TORCH_COMPILE else REPEAT):
            found.setdefault(name, []).append(run_alone(name, case))
            step(f"{name} alone on {case}")
    failed = {name: runs[0]["absent"] for name, runs in found.items() if "absent" in runs[0]}
    values = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in found.items()
        if name not in failed
    }

    def over(name: str, key: str) -> str:
        return f"{values[name][key] / values[LUCID][key]:.2f}"

    times = [
        [name, f"{values[name]['small']:.3f}", f"{values[name]['setup']:.3f}", over(name, "setup")]
        if name in values
        else [name, "–", "–", failed[name]]
        for name in names
    ]
    memory = [
        [name, *(f"{values[name][key] / 1e6:.1f}" for key in ("setup_peak", "run_peak")), over(name, "run_peak")]
        for name in values
    ]
    return (
        markdown([f"{case}: from model to first result", "a small one before it, s", "s", "over Lucid's"], times),
        markdown([f"{case}: peak above weights", "set-up, MB", "running, MB", "running over Lucid's"], memory),
    )


def plan_memory(cases: Sequence[str], step: Callable[[str], object]) -> str:
    """The plan's own number beside what NumPy was seen to allocate."""
    rows = []
    for case in cases:
        found = run_alone("plan", case)
        planned, running, arena = found["planned"], found["running"], found["arena"]
        sizes = [f"{value / 1e6:.2f}" for value in (planned, running, found["packing"], arena)]
        shares = [f"{value:+.1%}" for value in (running / planned - 1, arena / found["lower_bound"] - 1)]
        rows.append([case, *sizes[:2], shares[0], *sizes[2:], shares[1]])
        step(f"plan of {case}")
    head = ["memory of Lucid beside the weights, MB", "planned", "measured, running", "off by", "measured, packing",
            "arena", "over the largest live set"]  # fmt: skip
    return markdown(head, rows)


# ---------------------------------------------------------------- import


def import_table(step: Callable[[str], object], repeat: int) -> str:
    """Milliseconds that each import takes in a fresh interpreter, in turns, bytecode cached."""
    taken: dict[str, list[float]] = {name: [] for name in MODULES}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(repeat + 1):
            for name, module in MODULES.items():
                code = (
                    "from time import perf_counter as now; start = now(); "
                    f"import {module}; print(now() - start)"
                )  # fmt: skip
                seconds = float(python(Path(cache), "-c", code))
                if number:  # the first writes the bytecode
                    taken[name].append(seconds)
            step("imports")
    middle = {name: statistics.median(runs) for name, runs in taken.items()}
    rows = [
        [f"`import {MODULES[name]}`", f"{seconds * 1e3:.1f}", f"{seconds / middle['NumPy']:.2f}"]
        for name, seconds in middle.items()
    ]
    return markdown(["import", "ms", "over NumPy's"], rows)


# ---------------------------------------------------------------- size on disk


def _requirements(listed: Sequence[str]) -> list[str]:
    """Names of the packages that are needed here, extras left out."""
    found = [Requirement(text) for text in listed]
    return [r.name for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]


def _package_bytes(name: str, seen: set[str]) -> int:
    """Bytes of an installed package and of all it needs; each is counted once."""
    key = name.lower().replace("_", "-")
    if key in seen:
        return 0
    seen.add(key)
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return 0
    paths = (Path(str(file.locate())) for file in package.files or () if file.suffix != ".pyc")
    own = sum(path.stat().st_size for path in paths if path.is_file())
    return own + sum(_package_bytes(other, seen) for other in _requirements(package.requires or ()))


def size_table() -> str:
    """Megabytes of each contestant with all it needs."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    own = sum(path.stat().st_size for path in Path(lucid.__file__).parent.rglob("*.py"))
    seen: set[str] = set()
    sizes = {LUCID: own + sum(_package_bytes(name, seen) for name in _requirements(needs))}
    for name in ("ONNX Runtime", "OpenVINO", "PyTorch"):
        sizes[name] = _package_bytes(MODULES[name], set())
    rows = [[name, f"{size / 1e6:.1f}", f"{size / sizes[LUCID]:.1f}"] for name, size in sizes.items()]
    note = f"Lucid's own files take {own / 1e6:.2f} MB of that."
    return markdown(["on disk, with all it needs", "MB", "over Lucid's"], rows) + "\n\n" + note


def report(facts: Mapping[str, Any], quick: bool) -> list[str]:
    """All tables, printed as they are made."""
    case = "lenet-b1" if quick else "resnet50-b1"
    planned = PLANNED[:1] if quick else PLANNED
    imports = 3 if quick else 11
    total = REPEAT * (1 + len(PEERS)) + 1 + len(planned) + imports + 1
    parts = [
        "# Costs\n\nMade by `make bench`. Fresh processes, medians; memory is what the process grew by at its peak, "
        "the weights of the model not counted (ONNX Runtime and OpenVINO keep a copy, which is).",
        describe(facts),
    ]
    with tqdm(total=total, unit="step", disable=None) as bar:

        def step(text: str) -> None:
            bar.set_description(text)
            bar.update()

        for make in (
            lambda: compile_and_memory(case, step),
            lambda: (plan_memory(planned, step),),
            lambda: (import_table(step, imports),),
            lambda: (size_table(),),
        ):
            for table in make():
                head, _, note = table.partition("\n\n")
                bar.write("\n" + aligned(head) + ("\n\n" + note if note else ""))
                parts.append(table)
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile time, memory, import time and size.")
    parser.add_argument("--quick", action="store_true", help="LeNet-5 only; writes no files unless --out is given")
    parser.add_argument("--out", type=Path, help="where results are written (benchmarks/results)")
    args = parser.parse_args()
    parts = report(machine(), args.quick)
    out = args.out or (None if args.quick else RESULTS)
    if out is not None:
        write_text(out / "costs.md", "\n\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
