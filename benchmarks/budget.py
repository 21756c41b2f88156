"""Training steps within a budget of memory: what was predicted, what a process takes, and how long a step then takes.

    python benchmarks/budget.py                        # a table
    python benchmarks/budget.py --only vgg11 --threads 2 --write results/budget.md

Each step is made in a process of its own, and its peak is what is resident at most during some steps, less what was
before the model was made. Times are those of the fastest of many steps, in turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from pathlib import Path
from typing import Any

import lucid
from lucid.errors import OptionError
from memory import forget_peak, peak
from trained import CASES, batch, compiled, model
from turns import Process, timed

NETS = ["vgg11", "resnet18", "mobilenet", "transformer"]
SHARE = 0.7
"""Of the peak without a budget, that is tried."""


def serve(name: str, budget: int | None, threads: int) -> None:
    """One process: what it found as a line, then the seconds of as many steps as each line asks for."""
    lucid.set_num_threads(threads)
    _warm()
    forget_peak()
    before, case = peak(), CASES[name]
    step = compiled(model(case), memory_budget=budget)
    x, y = batch(case)
    try:
        losses = [float(step(x, y)) for _ in range(3)]
    except OptionError as error:
        least = re.findall(r"not less than ([\d,]+)$", str(error))[0]
        print(json.dumps({"least": int(least.replace(",", ""))}), flush=True)
        return
    forget_peak()
    losses += [float(step(x, y)) for _ in range(3)]
    plan = step.plan
    again = sum(one.seconds for one in step.recomputed) / plan.predicted
    found = {"losses": losses, "peak": peak() - before, "predicted": plan.peak, "again": again}
    print(json.dumps(found | {"count": len(step.recomputed)}), flush=True)
    timed(lambda: float(step(x, y)), before)


def _warm() -> None:
    """Import and start what any step needs."""
    case = CASES["mlp"]
    step = compiled(model(case))
    for _ in range(3):
        step(*batch(case))


def started(name: str, budget: int | None, threads: int) -> Process:
    given = [] if budget is None else ["--budget", str(budget)]
    return Process([__file__, "--serve", "--only", name, "--threads", str(threads), *given])


def row(name: str, threads: int, rounds: int) -> str:
    usual = started(name, None, threads)
    least = started(name, 1, threads).first["least"]
    share = max(least, int(SHARE * usual.first["predicted"]))
    running = [usual, *(started(name, budget, threads) for budget in (share, least))]
    assert all(one.first["losses"] == usual.first["losses"] for one in running), "the losses differ"
    best = [min(times) for times in zip(*([one.ask(5)["best"] for one in running] for _ in range(rounds)), strict=True)]
    cells = [CASES[name].title]
    for one, seconds in zip(running, best, strict=True):
        found: dict[str, Any] = one.first
        cells.append(
            f"{found['predicted'] / 1e6:.0f} / {found['peak'] / 1e6:.0f}, {found['count']} ({found['again']:.0%}), "
            f"{seconds * 1e3:.1f} ms ({seconds / best[0]:.2f})"
        )
        one.end()
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=NETS, choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=lucid.get_num_threads())
    parser.add_argument("--write", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.only[0], asked.budget, asked.threads)
        return
    lines = [
        f"| network | no budget | {SHARE:.0%} of that, or the least | the least |",
        "|---|---|---|---|",
        *(row(name, asked.threads, asked.rounds) for name in asked.only),
        "",
        f"Peak in MB, predicted / measured; nodes computed again, and their part of the predicted time; milliseconds "
        f"of a step, and how many times those without a budget. {asked.threads} threads.",
    ]
    text = "\n".join(lines)
    print(text)
    if asked.write:
        machine = platform.processor() or platform.machine()
        asked.write.write_text(f"# Training within a budget of memory\n\n{machine}\n\n{text}\n", "utf-8")


if __name__ == "__main__":
    main()
