"""Training steps beside PyTorch's: every contestant in a process of its own, a batch of steps each in turn.

    python benchmarks/training.py                        # on one thread and on all, some six minutes
    python benchmarks/training.py --quick                # without what PyTorch compiles, which takes most of that
    python benchmarks/training.py --only lenet mlp --rounds 9 --threads 2 --write benchmarks/results/training.md

The same weights, batches and optimizer (SGD with momentum) for all; the losses of the first steps must agree before
anything is timed. A figure is the median over the rounds of a round's fastest step, a ratio that of the same round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lucid
import trained
from memory import peak
from tables import geometric_mean, markdown, milliseconds, write_text
from timing import describe, machine
from trained import CASES, STEPS, Case
from turns import Process, in_turns, timed
from twins import stepping, trainable

AGREE = 2e-3
"""How far the losses of the first steps may lie apart."""
ROUND = 0.25
"""About how many seconds one contestant's turn takes."""
EAGER, COMPILED = "PyTorch", "PyTorch, compiled"
Found = dict[str, dict[str, Any]]
"""What was found of each contestant that has taken part."""


def lucid_step(case: Case) -> Callable[[], float]:
    step = trained.compiled(trained.model(case))
    x, y = trained.batch(case)
    return lambda: float(step(x, y))


def torch_step(case: Case, how: str) -> Callable[[], float]:
    model = trainable(case)
    x, y = map(torch.from_numpy, trained.batch(case))
    if how == "channels last":
        if x.ndim != 4:
            raise SystemExit("no images")
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    return stepping(model, torch.compile(model) if how == "compiled" else model, x, y)


CONTESTANTS: dict[str, Callable[[Case], Callable[[], float]]] = {
    "Lucid": lucid_step,
    EAGER: lambda case: torch_step(case, "eager"),
    "PyTorch, channels last": lambda case: torch_step(case, "channels last"),
    COMPILED: lambda case: torch_step(case, "compiled"),
}


def worked() -> float:
    """Seconds of a processor that this process and those it has waited for have taken."""
    taken = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in taken)


def serve(who: str, name: str, threads: int) -> None:
    """One contestant: the losses of its first steps as a line, then seconds of as many steps as each line asks for."""
    lucid.set_num_threads(threads)
    torch.set_num_threads(threads)
    before, start = peak(), worked()
    step = CONTESTANTS[who](CASES[name])
    losses, setup = [step()], worked() - start
    losses += [step() for _ in range(STEPS - 1)]
    print(json.dumps({"losses": losses, "setup": setup}), flush=True)
    timed(step, before)


# ---------------------------------------------------------------- all contestants, on some network


def contest(name: str, rounds: int, running: Mapping[str, Process]) -> Found:
    """Medians of each contestant; all have to have the same losses."""
    losses = {who: one.first["losses"][: CASES[name].compared] for who, one in running.items()}
    for who, first in losses.items():
        if not np.allclose(first, losses[EAGER], rtol=AGREE, atol=AGREE):
            raise SystemExit(f"{name}: {who} has the losses {first}, PyTorch {losses[EAGER]}")
    steps = {who: max(1, round(ROUND / one.ask(2)["best"])) for who, one in running.items()}
    turns = in_turns(running, steps, rounds)
    return {
        who: {
            "seconds": statistics.median(turn["best"] for turn in of),
            "ratio": statistics.median(a["best"] / b["best"] for a, b in zip(of, turns["Lucid"], strict=True)),
            "peak": of[-1]["peak"],
            "setup": running[who].first["setup"],
        }
        for who, of in turns.items()
    }


def contests(name: str, entered: Sequence[str], rounds: int, counts: Sequence[int], cache: str) -> list[Found]:
    """A contest for each number of threads. All are set up at once, as nothing is timed meanwhile."""
    running = [
        {
            who: Process(
                [__file__, "--serve", who, "--only", name, "--threads", str(threads)],
                environment={"TORCHINDUCTOR_CACHE_DIR": cache},
            )
            for who in entered
        }
        for threads in counts
    ]
    ready = [{who: one for who, one in group.items() if one.first} for group in running]
    found = [contest(name, rounds, group) for group in ready]
    for one in (one for group in running for one in group.values()):
        one.end()
    return found


# ---------------------------------------------------------------- the page


def best_peer(found: Found) -> str:
    return min((who for who in found if who != "Lucid"), key=lambda who: found[who]["seconds"])


def speed_table(found: Mapping[str, Found], entered: Sequence[str]) -> str:
    """Milliseconds of a step, and how many times as long the quickest of PyTorch takes."""
    rows = []
    for name, of in found.items():
        cells = [milliseconds(of[who]["seconds"]) if who in of else "–" for who in entered]
        rows.append([CASES[name].title, *cells, f"**{of[best_peer(of)]['ratio']:.2f}**"])
    return markdown(["ms", *entered, "best of PyTorch / Lucid"], rows)


def cost_table(found: Mapping[str, Found], entered: Sequence[str]) -> str:
    """Memory and set-up of each."""
    rows = []
    for name, of in found.items():
        cells = [f"{of[who]['peak'] / 1e6:.0f}, {of[who]['setup']:.1f}" if who in of else "–" for who in entered]
        share = of["Lucid"]["peak"] / of[best_peer(of)]["peak"]
        rows.append([CASES[name].title, *cells, best_peer(of), f"{share:.2f}"])
    return markdown(["peak in MB, set-up in s", *entered, "quickest of PyTorch", "Lucid's peak / its"], rows)


def summary(found: Mapping[str, Found]) -> str:
    ratios = {name: of[best_peer(of)]["ratio"] for name, of in found.items()}
    mean, least = geometric_mean(list(ratios.values())), min(ratios, key=ratios.__getitem__)
    return (
        f"Geometric mean of best of PyTorch / Lucid over {len(ratios)}: **{mean:.2f}**; "
        f"the smallest is {ratios[least]:.2f}, of {CASES[least].title}."
    )


def page(found: Mapping[int, Mapping[str, Found]], entered: Sequence[str], rounds: int) -> str:
    """The whole of ``training.md``."""
    intro = (
        "# Training steps\n\nMade by `make bench`. A step is forward half, loss, backward half and update by SGD with "
        "momentum, in single precision. Each contestant has a process of its own, and a turn in each of "
        f"{rounds} rounds; a time is the median of the rounds' fastest steps, a ratio the median of the rounds': above "
        "1 Lucid is faster. The peak is what the process takes at most beside what it has before the model is made; "
        "set-up is to the first loss, in seconds of a processor, those of compilers that are started counted too."
    )
    if COMPILED not in entered:
        intro += " What PyTorch compiles was left out."
    parts = [intro, describe({key: value for key, value in machine().items() if key != "cores used"})]
    for threads, of in found.items():
        title = "One thread" if threads == 1 else f"{threads} threads"
        parts += [f"## {title}", speed_table(of, entered), summary(of), cost_table(of, entered)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, lucid.get_num_threads()}))
    parser.add_argument("--quick", action="store_true", help="leave out what PyTorch compiles")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--serve", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.only[0], asked.threads[0])
        return
    entered = [who for who in CONTESTANTS if not (asked.quick and who == COMPILED)]
    found: dict[int, dict[str, Found]] = {threads: {} for threads in asked.threads}
    with tempfile.TemporaryDirectory() as cache:  # so that what is compiled is compiled anew
        for name in asked.only:
            for threads, of in zip(found, contests(name, entered, asked.rounds, asked.threads, cache), strict=True):
                found[threads][name] = of
                best = best_peer(of)
                times = (
                    f"Lucid {milliseconds(of['Lucid']['seconds'])} ms, {best} {milliseconds(of[best]['seconds'])} ms"
                )
                print(f"{CASES[name].title}, threads {threads}: {times}, {of[best]['ratio']:.2f}", flush=True)
    for threads, of in found.items():
        print(f"Threads {threads}. {summary(of)}".replace("**", ""))
    if asked.write:
        write_text(asked.write, page(found, entered, asked.rounds))


if __name__ == "__main__":
    main()
