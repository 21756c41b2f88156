"""Lucid beside ONNX Runtime, OpenVINO and PyTorch, on networks, blocks, pooling and single convolutions.

    python benchmarks/run.py                                    # all; writes benchmarks/results/inference.*
    python benchmarks/run.py --only resnet18 --only vgg16       # the cases so called, and so on
    python benchmarks/run.py --quick --only lenet-b1 --skip torch.compile
    python benchmarks/run.py --list

Times count only after the outputs were compared with a run in float64.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cases import CASES, Case, select
from contest import Contest, Result
from lowerings import chosen
from peers import Ready, contestants
from report import TITLES, error_table, lowering_table, pool_table, summary, time_table, write
from tables import RESULTS, aligned
from timing import copy_bandwidth, describe, machine


def moved_bytes(case: Case, ready: Ready) -> int:
    """The least a pooling must move: its input and output, and as much again backward."""
    once = ready.x.nbytes + ready.expected[0].size * ready.x.itemsize
    return 2 * once if case.backward else once


def notes(ready: Ready) -> dict[str, object]:
    """What the tables show of a case besides the times."""
    if ready.case.group == "pool":
        return {"bytes": moved_bytes(ready.case, ready)}
    return {"chosen": chosen(ready)} if ready.case.group == "layer" else {}


def show(results: Sequence[Result]) -> None:
    """Print the tables of all groups that were measured."""
    for group, title in TITLES.items():
        found = [r for r in results if r.group == group]
        if not found:
            continue
        print(f"\n{title}\n")
        print(aligned(lowering_table(found) if group == "layer" else time_table(found)).replace("**", ""))
        if group == "pool":
            print("\n" + aligned(pool_table(found)))
        print("\n" + summary(found).replace("**", ""))
        print("\n" + aligned(error_table(found)))
        for r in found:
            for name, reason in r.absent.items():
                print(f"* {r.title}: {name}: {reason}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the speed of Lucid with its peers.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a group, or part of a case's name")
    parser.add_argument("--skip", action="append", default=[], metavar="PEER", help="leave out these contestants")
    parser.add_argument("--quick", action="store_true", help="short runs; writes no files unless --out is given")
    parser.add_argument("--seconds", type=float, help="timing of one case (10; 1 with --quick)")
    parser.add_argument("--out", type=Path, help="where results are written (benchmarks/results)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    args = parser.parse_args()
    if args.seconds is None:
        args.seconds = 1.0 if args.quick else 10.0
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        parser.error("--seconds must be positive")
    args.cases = select(args.only)
    if not args.cases:
        parser.error(f"no case is called like {', '.join(args.only)}; see --list")
    args.contestants = contestants(args.skip)
    if all(who.ours for who in args.contestants):
        parser.error("--skip leaves no peer, and no figure stands without one")
    return args


def main() -> int:
    args = arguments()
    if args.list:
        print("\n".join(f"{case.name:<32} {case.title}" for case in args.cases))
        return 0
    facts = machine()
    print(describe(facts), flush=True)
    bandwidth = copy_bandwidth() if any(case.group == "pool" for case in args.cases) else 0.0
    out = args.out or (None if args.quick else RESULTS)
    results: list[Result] = []
    lowerings = any(case.group == "layer" for case in args.cases)
    with (
        Contest(args.contestants, args.seconds, lowerings) as contest,
        tqdm(args.cases, unit="case", disable=None, dynamic_ncols=True) as bar,
    ):
        for case in bar:

            def stage(text: str, name: str = case.name) -> None:
                bar.set_description(f"{name}: {text}")

            result = contest.case(case, stage=stage, notes=notes)
            if case.group == "pool":
                result.notes["bandwidth"] = bandwidth
            results.append(result)
            best = result.best_peer
            bar.write(
                f"{result.title}: Lucid {result.seconds['Lucid'] * 1e3:.4g} ms, "
                f"{best} {result.seconds[best] * 1e3:.4g} ms, best peer / Lucid {result.ratio:.2f}, "
                f"paced {result.paced_ratio:.2f}"
            )
            if out is not None:
                write(out, facts, results, [case.name for case in CASES])
    show(results)
    if out is not None:
        print(f"\nwritten to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
