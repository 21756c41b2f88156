"""How time grows with the batch, the size of the image, and the depth of the network: ours beside the peers'.

    python benchmarks/growth.py                     # writes benchmarks/results/growth.md and three curves
    python benchmarks/growth.py --quick --only depth

``torch.compile`` takes no part: it would compile anew, for up to minutes, at every point of every curve.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

import svg
from cases import CHANNELS, GROWTH, SIDE, Case
from contest import Contest, Result
from peers import TORCH_COMPILE, contestants
from report import OURS, setup_table, time_table
from tables import RESULTS, aligned, write_text
from timing import describe, machine

Curve = tuple[str, str, list[tuple[int, Case]]]
"""A title, the name of its axis, and its points."""


def _curves(quick: bool) -> dict[str, Curve]:
    titles = {
        "batch": ("ResNet-18 on 64×64, by batch", "images"),
        "image": ("ResNet-18, one image, by its side", "pixels"),
        "depth": (f"conv 3×3 + ReLU on {CHANNELS}×{SIDE}×{SIDE}, by number of layers", "layers"),
    }
    return {
        name: (*title, [(point, case) for point, case in GROWTH[name].items()][: 2 if quick else None])
        for name, title in titles.items()
    }


def exponents(points: Sequence[int], results: Sequence[Result], names: Sequence[str]) -> str:
    """The slope of each contestant's curve over the last two points, in words."""
    said = []
    for name in names:
        if len(points) > 1 and all(name in r.seconds for r in results[-2:]):
            times = [r.seconds[name] for r in results[-2:]]
            slope = float(np.log(times[1] / times[0]) / np.log(points[-1] / points[-2]))
            said.append(f"{name} {slope:.2f}")
    return f"Exponent between the last two points: {', '.join(said)}."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time against batch, image size and depth.")
    parser.add_argument("--only", action="append", choices=("batch", "image", "depth"), help="these curves only")
    parser.add_argument("--skip", action="append", default=[], metavar="PEER", help="leave out these contestants")
    parser.add_argument("--quick", action="store_true", help="two points each; writes no files unless --out is given")
    parser.add_argument("--seconds", type=float, help="timing of one point (5; 0.5 with --quick)")
    parser.add_argument("--out", type=Path, help="where results are written (benchmarks/results)")
    args = parser.parse_args()
    if args.seconds is None:
        args.seconds = 0.5 if args.quick else 5.0
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        parser.error("--seconds must be positive")
    args.contestants = contestants([*args.skip, TORCH_COMPILE])
    if all(who.ours for who in args.contestants):
        parser.error("--skip leaves no peer, and no figure stands without one")
    return args


def _curve(curve: Curve, contest: Contest, bar: tqdm) -> tuple[list[str], str]:
    """Measure one curve. Returns the paragraphs that tell of it, and its plot."""
    title, axis, points = curve
    values, results = [value for value, _ in points], []
    for _, case in points:

        def stage(text: str, name: str = case.name) -> None:
            bar.set_description(f"{name}: {text}")

        results.append(contest.case(case, stage=stage))
        bar.update()
    timed = [name for name in contest.running if any(name in r.seconds for r in results)]
    lines = {
        name: [(v, r.seconds[name] * 1e3) for v, r in zip(values, results, strict=True) if name in r.seconds]
        for name in timed
    }
    words = exponents(values, results, timed)
    bar.write(f"\n{title}\n\n{aligned(time_table(results)).replace('**', '')}\n\n{words}")
    parts = [f"## {title[0].upper()}{title[1:]}", time_table(results), words, setup_table(results)]
    return parts, svg.curves(title, axis, "ms", lines, OURS)


def main() -> int:
    args = _arguments()
    out = args.out or (None if args.quick else RESULTS)
    wanted = {name: curve for name, curve in _curves(args.quick).items() if not args.only or name in args.only}
    intro = (
        "# Growth\n\nMade by `make bench`; milliseconds and seconds as in [inference.md](inference.md). "
        "`torch.compile` takes no part: it would compile anew at every point."
    )
    parts = [intro, describe(machine())]
    total = sum(len(points) for _, _, points in wanted.values())
    with Contest(args.contestants, args.seconds) as contest, tqdm(total=total, unit="point", disable=None) as bar:
        for name, curve in wanted.items():
            told, plot = _curve(curve, contest, bar)
            parts += [*told, f"![{curve[0]}](growth-{name}.svg)"]
            if out is not None:
                write_text(out / f"growth-{name}.svg", plot)
    if out is not None and not args.only:  # the page tells of all curves or is left as it is
        write_text(out / "growth.md", "\n\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
