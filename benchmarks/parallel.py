"""Training in two ranks of one thread each, against one: how much of the second processor is gained.

    python benchmarks/parallel.py                        # some four minutes
    python benchmarks/parallel.py --only mlp lenet --rounds 9 --write benchmarks/results/parallel.md

Every contestant has processes of its own, which MPI has started, and a turn in each round. Beside Lucid's ranks there
are PyTorch's (DistributedDataParallel by gloo), and two processes of either that have nothing to do with each other:
what the machine itself loses when both of its processors are at work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import lucid
import trained
from tables import markdown, milliseconds, write_text
from timing import describe, machine
from trained import CASES, STEPS
from turns import Process, in_turns

if TYPE_CHECKING:
    from mpi4py import MPI

NETS = ["mlp", "lenet", "vgg11", "resnet18", "transformer"]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
ROUND = 0.3
"""About how many seconds one contestant's turn takes."""
IDLE = 0.005
"""Seconds between two looks of a rank that waits for its turn."""
AGREE = 2e-3
"""How far the losses of the first steps may lie apart."""


@dataclass(frozen=True)
class Way:
    """How a network is trained.

    Attributes
    ----------
    ranks
        How many processes there are.
    grouped
        Whether they add up their gradients.
    parts
        Into how many parts the batch is cut, of which a rank has one; else each has all of it.
    """

    ranks: int = 2
    grouped: bool = True
    parts: int = 1


WAYS = {"alone": Way(1, False), "apart": Way(grouped=False), "more": Way(), "shared": Way(parts=2)}
"""One rank; two that know nothing of each other; two with a batch each; two with half of it each."""


# ---------------------------------------------------------------- one rank


def lucid_step(name: str, way: Way, world: MPI.Comm) -> Callable[[], float]:
    case = CASES[name]
    group = lucid.distributed.group() if way.grouped else None
    step = trained.compiled(trained.model(case), group=group, threads=1)
    x, y = trained.batch(case, way.parts, world.rank % way.parts)
    return lambda: float(step(x, y))


def torch_step(name: str, way: Way, world: MPI.Comm) -> Callable[[], float]:
    import torch
    import torch.distributed as dist

    from twins import stepping, trainable

    torch.set_num_threads(1)
    case = CASES[name]
    model = trainable(case)
    if way.grouped:
        first = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if world.rank == 0 else None
        port = world.bcast(first.port if first else 0)
        store = first or dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
        dist.init_process_group("gloo", store=store, rank=world.rank, world_size=world.size)
        model = torch.nn.parallel.DistributedDataParallel(model)
    x, y = map(torch.from_numpy, trained.batch(case, way.parts, world.rank % way.parts))
    return stepping(model, model, x, y)


LIBRARIES = {"Lucid": lucid_step, "PyTorch": torch_step}


def serve(library: str, way: str, name: str) -> None:
    """One rank: the first losses as a line, then seconds of a step for as many as each line asks for."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    lucid.set_num_threads(1)
    step = LIBRARIES[library](name, WAYS[way], world)
    losses = world.gather([step() for _ in range(STEPS)])
    if losses is not None:
        print(json.dumps({"losses": np.mean(losses, 0).tolist(), "mpi": MPI.Get_library_version()}), flush=True)
    while steps := _asked(world):
        world.Barrier()
        start, before = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        world.Barrier()
        each = (time.perf_counter() - start) / steps
        work = world.reduce((time.process_time() - before) / steps)
        if work is not None:
            print(json.dumps({"seconds": each, "work": work / world.size}), flush=True)


def _asked(world: MPI.Comm) -> int:
    """How many steps the first rank has read; the others sleep until then. Nothing where there are to be no more."""
    steps = np.zeros(1, np.int64)
    if world.rank == 0:
        steps[:] = int(sys.stdin.readline() or 0)
    request = world.Ibcast(steps, 0)
    while not request.Test():
        time.sleep(IDLE)
    return int(steps[0])


# ---------------------------------------------------------------- all contestants, on some network

Found = dict[tuple[str, str], dict[str, Any]]
"""What was found of each library and way."""


def contest(name: str, rounds: int) -> Found:
    running = {
        (library, way): Process(
            [__file__, "--serve", library, way, name],
            before=[str(MPIEXEC), "-n", str(WAYS[way].ranks)],
            environment={"OMP_NUM_THREADS": "1"},
        )
        for library in LIBRARIES
        for way in WAYS
    }
    for who, one in running.items():
        if not one.first:
            raise SystemExit(f"{name}: {' '.join(who)} has not begun")
        first, wanted = (o.first["losses"][: CASES[name].compared] for o in (one, running["PyTorch", who[1]]))
        if not np.allclose(first, wanted, rtol=AGREE, atol=AGREE):
            raise SystemExit(f"{name}: {' '.join(who)} has the losses {first}, PyTorch {wanted}")
    steps = {who: max(2, round(ROUND / one.ask(2)["seconds"])) for who, one in running.items()}
    turns = in_turns(running, steps, rounds)
    for one in running.values():
        one.end()
    found = {}
    for who, of in turns.items():
        ratios = {
            figure: statistics.median(a[figure] / b[figure] for a, b in zip(turns[who[0], "alone"], of, strict=True))
            for figure in ("seconds", "work")
        }
        share = WAYS[who[1]].parts  # of the batch, a rank has one part
        found[who] = {
            "seconds": statistics.median(turn["seconds"] for turn in of),
            "efficiency": ratios["seconds"] / share,
            "work": share / ratios["work"],
            "mpi": running[who].first["mpi"],
        }
    return found


# ---------------------------------------------------------------- the page


def row(name: str, found: Found, library: str) -> list[str]:
    of = {way: found[library, way] for way in WAYS}
    cells = [milliseconds(of["alone"]["seconds"]), f"{of['apart']['efficiency']:.0%}"]
    for way in ("more", "shared"):
        cells += [milliseconds(of[way]["seconds"]), f"**{of[way]['efficiency']:.0%}**", f"{of[way]['work']:.2f}"]
    return [CASES[name].title, *cells]


HEAD = [
    "one rank, ms", "two apart", "a batch each, ms", "efficiency", "work", "half of it each, ms", "efficiency", "work",
]  # fmt: skip


def page(found: Mapping[str, Found], rounds: int) -> str:
    """The whole of ``parallel.md``."""
    mpi = next(iter(next(iter(found.values())).values()))["mpi"]
    facts = {key: value for key, value in machine().items() if key != "cores used"}
    facts["MPI"] = " ".join(mpi.splitlines()[0].split())
    parts = [
        "# Training in two ranks\n\nMade by `make bench`. Two ranks of one thread each train one network, each on a "
        "batch of its own or on half of one, against one rank of one thread. Efficiency is the samples per second of "
        "both over twice those of one. *Two apart* are two processes with a batch each that have nothing to do with "
        "each other: what is missing there to 100 % is the machine's. *Work* is what a sample takes of a processor, "
        "waiting that keeps it busy included, over the same in one rank. Every contestant has processes of its own and "
        f"a turn in each of {rounds} rounds; figures are medians, ratios those of the rounds' ratios.",
        describe(facts),
    ]
    for library in LIBRARIES:
        title = "PyTorch, DistributedDataParallel by gloo" if library == "PyTorch" else library
        rows = [row(name, of, library) for name, of in found.items()]
        parts += [f"## {title}", markdown(["network", *HEAD], rows)]
    least = {name: found[name]["Lucid", "more"]["efficiency"] for name in found}
    worst = min(least, key=least.__getitem__)
    parts.append(f"The smallest efficiency of Lucid with a batch each is {least[worst]:.0%}, of {CASES[worst].title}.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=NETS, choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(*asked.serve)
        return
    found: dict[str, Found] = {}
    for name in asked.only:
        found[name] = contest(name, asked.rounds)
        for library in LIBRARIES:
            print(" | ".join([library, *row(name, found[name], library)]).replace("**", ""), flush=True)
    if asked.write:
        write_text(asked.write, page(found, asked.rounds))


if __name__ == "__main__":
    main()
