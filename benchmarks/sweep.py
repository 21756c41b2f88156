"""Random convolutions: what the cost model chooses beside plain im2col, which it must never lose much to.

    python benchmarks/sweep.py                 # writes benchmarks/results/sweep.md
    python benchmarks/sweep.py --count 20 --seed 7 --out -

Odd sizes, strides, dilations, groups, asymmetric shapes, batch 1 to 17, with and without activation and pooling.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import lucid
from lowerings import convolution, run_by, ways
from lucid import nn
from lucid.runtime.workers.blas import hold
from tables import RESULTS, aligned, markdown
from timing import describe, interleave, machine, paired_ratio

SECONDS = 1.0
"""Timing of one configuration."""
WORST = 1 / 1.1
"""No choice may take more than 1.1 times as long as im2col."""


@dataclass(frozen=True)
class Config:
    """One layer."""

    shape: tuple[int, int, int, int]
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    pool: int

    def build(self) -> nn.Module:
        conv = nn.Conv2d(
            self.shape[1], self.outputs, self.kernel, self.stride, self.padding, self.dilation, self.groups
        )  # fmt: skip
        pool = [nn.MaxPool2d(self.pool, self.pool)] if self.pool else []
        return nn.Sequential(conv, nn.ReLU(), *pool).eval()

    def __str__(self) -> str:
        n, c, h, w = self.shape
        parts = [f"{n}×{c}→{self.outputs}×{h}×{w}", f"{self.kernel[0]}×{self.kernel[1]}"]
        parts += [f"/{self.stride[0]},{self.stride[1]}"] if self.stride != (1, 1) else []
        parts += [f"dilation {self.dilation[0]},{self.dilation[1]}"] if self.dilation != (1, 1) else []
        parts += [f"{self.groups} groups"] if self.groups > 1 else []
        return " ".join([*parts, *([f"pool {self.pool}"] if self.pool else [])])


def draw(rng: np.random.Generator) -> Config:
    """A layer of at most some 2 GFLOP whose output is not empty."""
    while True:
        n = int(rng.choice([1, 1, 2, 3, 5, 8, 17]))
        groups = int(rng.choice([1, 1, 1, 1, 2, 4]))
        c, k = (groups * int(rng.choice([1, 2, 3, 5, 8, 16, 24, 64, 128, 256])) for _ in range(2))
        if rng.random() < 0.12:
            groups = k = c
        h, w = (int(rng.choice([5, 7, 9, 14, 17, 28, 33, 56, 65, 112])) for _ in range(2))
        kernel = (3, 3) if rng.random() < 0.4 else tuple(int(v) for v in rng.choice([1, 2, 3, 5, 7], 2))
        stride, dilation = (tuple(int(v) for v in rng.choice([1, 1, 1, 2, 3], 2)) for _ in range(2))
        padding = tuple(int(v) for v in rng.integers(0, 3, 2))
        pool = int(rng.choice([0, 0, 2, 3]))
        config = Config((n, c, h, w), k, kernel, stride, padding, dilation, groups, pool)  # type: ignore[arg-type]
        made = [
            (size + 2 * p - d * (kn - 1) - 1) // s + 1
            for size, p, d, kn, s in zip((h, w), padding, dilation, kernel, stride, strict=True)
        ]
        flops = 2 * n * k * c // groups * math.prod(kernel) * math.prod(made)
        if min(made) >= max(1, pool) and 1e5 < flops < 2e9:
            return config


@dataclass(frozen=True)
class Row:
    """Seconds of the choice and of im2col, and the median of their paired ratios."""

    config: Config
    chosen: str
    seconds: float
    im2col: float
    ratio: float


def measure(config: Config, rng: np.random.Generator, seconds: float) -> Row:
    """Compare the results, then the times."""
    module, x = config.build(), rng.standard_normal(config.shape, dtype=np.float32)
    plan = lucid.compile(module, lucid.spec(*config.shape)).plan
    step, every = convolution(plan), ways(plan)
    runs: dict[str, Any] = {
        "chosen": run_by(module, config.shape, step.choice), "im2col": run_by(module, config.shape, every["im2col"])
    }  # fmt: skip
    results = {name: run(x) for name, run in runs.items()}
    scale = float(np.abs(results["im2col"]).max()) or 1.0
    error = float(np.abs(results["chosen"] - results["im2col"]).max()) / scale
    if not error < 1e-4:
        raise AssertionError(f"{config}: {step.choice} differs from im2col by {error:.1e}")
    if step.lowering == "im2col":
        runs.pop("im2col")
    taken = interleave({name: (lambda run=run: run(x)) for name, run in runs.items()}, seconds, pause=0.005)
    mine, plain = taken["chosen"], taken.get("im2col", taken["chosen"])
    return Row(config, step.lowering, float(np.median(mine)), float(np.median(plain)), paired_ratio(plain, mine))


def table(rows: list[Row]) -> str:
    cells = [
        [str(r.config), r.chosen, f"{r.seconds * 1e3:.3g}", f"{r.im2col * 1e3:.3g}", f"{r.ratio:.2f}"]
        for r in sorted(rows, key=lambda r: r.ratio)
    ]
    return markdown(["layer", "chosen", "its ms", "im2col ms", "im2col / chosen"], cells)


def summary(rows: list[Row]) -> str:
    others = [r for r in rows if r.chosen != "im2col"]
    behind = [r for r in others if r.ratio < WORST]
    mean = math.exp(sum(math.log(r.ratio) for r in others) / max(1, len(others)))
    worst = min((r.ratio for r in others), default=1.0)
    return (
        f"{len(rows)} layers, {len(others)} by another lowering than im2col: {mean:.2f} times as fast "
        f"(geometric mean), {worst:.2f} at worst; {len(behind)} slower than im2col by more than 10 %."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", default=str(RESULTS / "sweep.md"), help="file, or - for none")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    hold.begin()  # its idle threads spin for a while, on the cores that the next run wants
    rows = [measure(draw(rng), rng, args.seconds) for _ in tqdm(range(args.count), unit="layer", disable=None)]
    hold.finish()
    print(aligned(table(rows)), summary(rows), sep="\n\n")
    if args.out != "-":
        text = f"# Random convolutions\n\nMade by `make bench`.\n\n{describe(machine())}\n\n"
        Path(args.out).write_text(f"{text}{summary(rows)}\n\n{table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
