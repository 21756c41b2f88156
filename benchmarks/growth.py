"""How time grows with the batch, the size of the image, and the depth of the network: ours beside the peers'.

    python benchmarks/growth.py                     # writes benchmarks/results/growth.md and three curves
    python benchmarks/growth.py --quick --only depth

``torch.compile`` takes no part: it would compile anew, for up to minutes, at every point of every curve.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

import svg
from cases import Case
from contest import Result, contest
from lucid import models, nn
from peers import TORCH_COMPILE, Contestant, contestants
from report import OURS, setup_table, time_table
from tables import RESULTS, aligned, write_text
from timing import describe, machine

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (32, 64, 128, 256, 512)
DEPTHS = (10, 30, 100, 300, 1000)
CHANNELS, SIDE = 16, 28
"""Of the layers whose number grows."""


def deep(depth: int) -> Callable[[], nn.Module]:
    """So many 3×3 convolutions with ReLU, one after another, each close to the identity.

    With random weights all signals grow alike within some hundred layers, and what is left of their difference is
    rounding error: at 300 layers PyTorch's float32 result is off by 0.65 of the largest value.
    """

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(depth):
            conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            nn.init.normal_(conv.weight, std=0.001)
            weight = conv.weight.numpy().copy()
            weight[range(CHANNELS), range(CHANNELS), 1, 1] += 1
            conv.weight.copy_(weight)
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.ReLU()]
        return nn.Sequential(*layers)

    return build


Curve = tuple[str, str, list[tuple[int, Case]]]
"""A title, the name of its axis, and its points."""


def _curves(quick: bool) -> dict[str, Curve]:
    def case(axis: str, value: int, build: Callable[[], nn.Module], *shape: int) -> tuple[int, Case]:
        return value, Case(f"{axis}-{value}", "growth", build, shape, f"{axis} {value}")

    def points(values: Sequence[int]) -> Sequence[int]:
        return values[:2] if quick else values

    net = models.resnet18
    return {
        "batch": (
            "ResNet-18 on 64×64, by batch", "images", [case("batch", n, net, n, 3, 64, 64) for n in points(BATCHES)]
        ),
        "image": (
            "ResNet-18, one image, by its side", "pixels", [case("image", s, net, 1, 3, s, s) for s in points(SIZES)]
        ),
        "depth": (
            f"conv 3×3 + ReLU on {CHANNELS}×{SIDE}×{SIDE}, by number of layers", "layers",
            [case("depth", d, deep(d), 1, CHANNELS, SIDE, SIDE) for d in points(DEPTHS)],
        ),
    }  # fmt: skip


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


def _curve(curve: Curve, entered: Sequence[Contestant], seconds: float, bar: tqdm) -> tuple[list[str], str]:
    """Measure one curve. Returns the paragraphs that tell of it, and its plot."""
    title, axis, points = curve
    values, results = [value for value, _ in points], []
    for _, case in points:

        def stage(text: str, name: str = case.name) -> None:
            bar.set_description(f"{name}: {text}")

        results.append(contest(case, entered, seconds, stage=stage))
        bar.update()
    timed = [who.name for who in entered if any(who.name in r.seconds for r in results)]
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
    with tqdm(total=sum(len(points) for _, _, points in wanted.values()), unit="point", disable=None) as bar:
        for name, curve in wanted.items():
            told, plot = _curve(curve, args.contestants, args.seconds, bar)
            parts += [*told, f"![{curve[0]}](growth-{name}.svg)"]
            if out is not None:
                write_text(out / f"growth-{name}.svg", plot)
    if out is not None and not args.only:  # the page tells of all curves or is left as it is
        write_text(out / "growth.md", "\n\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
