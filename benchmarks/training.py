"""Training steps beside PyTorch's: every contestant in a process of its own, a batch of steps each in turn.

    python benchmarks/training.py                        # a table
    python benchmarks/training.py --only lenet mlp --rounds 9 --threads 2 --write results/training.md

The same weights, batches and optimizer (SGD with momentum) for all; the losses of the first steps must agree before
anything is timed. A figure is the median over the rounds of a round's fastest step, a ratio that of the same round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn as tn

import lucid
from lucid import models, nn, optim
from memory import peak
from twins import twin

LR, MOMENTUM, CLASSES = 1e-3, 0.9, 10
AGREE = 2e-3
"""How far the losses of the first steps may lie apart."""
STEPS = 3
"""How many first steps are run before anything is timed, and compared."""
ROUND = 0.4
"""About how many seconds one contestant's turn takes."""


def _attention(module: Any) -> Any:
    """A classifier of sequences in either library."""
    return module.Sequential(
        module.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True),
        module.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True),
        module.Flatten(), module.Linear(32 * 128, CLASSES),
    )  # fmt: skip


class Last:
    """The mixin of a recurrent layer whose last output counts."""

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(x)[0][:, -1])


class OurRecurrent(Last, nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.LSTM(64, 128, batch_first=True), nn.Linear(128, CLASSES)


class TorchRecurrent(Last, tn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = tn.LSTM(64, 128, batch_first=True), tn.Linear(128, CLASSES)


@dataclass(frozen=True)
class Case:
    """A network to train; ``other`` makes PyTorch's, where that does not follow from the modules.

    So many of the first losses are ``compared``. Where batch normalisation goes over few pixels, later ones part in
    single precision: PyTorch's own by 2e-3 at the second step from those in double precision, in which all agree.
    """

    title: str
    build: Callable[[], Any]
    shape: tuple[int, ...]
    other: Callable[[], Any] | None = None
    compared: int = STEPS


CASES = {
    "mlp": Case("MLP 784-512-512-10, batch 256", lambda: models.mlp((784, 512, 512, CLASSES)), (256, 784)),
    "lenet": Case("LeNet-5, batch 64", models.lenet5, (64, 1, 28, 28)),
    "vgg11": Case("VGG-11 on 32×32, batch 32", lambda: models.vgg11(CLASSES, small=True), (32, 3, 32, 32)),
    "resnet18": Case("ResNet-18 on 112×112, batch 8", lambda: models.resnet18(CLASSES), (8, 3, 112, 112)),
    "mobilenet": Case(
        "MobileNet-v1 on 64×64, batch 16", lambda: models.mobilenet_v1(CLASSES), (16, 3, 64, 64), compared=1
    ),
    "transformer": Case(
        "transformer, 2 layers of 128, 32 tokens, batch 16", lambda: _attention(nn), (16, 32, 128),
        lambda: _attention(tn),
    ),
    "lstm": Case("LSTM 64-128, 32 steps, batch 32", OurRecurrent, (32, 32, 64), TorchRecurrent),
}  # fmt: skip


def _ours(case: Case) -> Any:
    lucid.manual_seed(0)
    model = case.build()
    for module in model.modules():  # masks would differ
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.train()


def _batch(case: Case) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(case.shape).astype(np.float32), rng.integers(0, CLASSES, case.shape[0])


def lucid_step(case: Case) -> Callable[[], float]:
    model = _ours(case)
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM))
    x, y = _batch(case)
    return lambda: float(step(x, y))


def torch_step(case: Case, how: str) -> Callable[[], float]:
    ours = _ours(case)
    if case.other is None:
        model = twin(ours).requires_grad_(True)
    else:
        model = case.other()
        model.load_state_dict({k: torch.from_numpy(np.array(v.numpy())) for k, v in ours.state_dict().items()})
    x, y = map(torch.from_numpy, _batch(case))
    if how == "channels last":
        if x.ndim != 4:
            raise SystemExit("no images")
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=LR, momentum=MOMENTUM)
    loss, run = tn.CrossEntropyLoss(), torch.compile(model) if how == "compiled" else model

    def step() -> float:
        optimizer.zero_grad()
        value = loss(run(x), y)
        value.backward()
        optimizer.step()
        return value.item()

    return step


CONTESTANTS: dict[str, Callable[[Case], Callable[[], float]]] = {
    "Lucid": lucid_step,
    "PyTorch": lambda case: torch_step(case, "eager"),
    "PyTorch, channels last": lambda case: torch_step(case, "channels last"),
    "PyTorch, compiled": lambda case: torch_step(case, "compiled"),
}


def serve(who: str, name: str, threads: int) -> None:
    """One contestant: the losses of its first steps as a line, then seconds of as many steps as each line asks for."""
    lucid.set_num_threads(threads)
    torch.set_num_threads(threads)
    before, start = peak(), time.perf_counter()
    step = CONTESTANTS[who](CASES[name])
    losses = [step() for _ in range(STEPS)]
    print(json.dumps({"losses": losses, "setup": time.perf_counter() - start}), flush=True)
    timed(step, before)


def timed(step: Callable[[], float], before: int) -> None:
    """Seconds of as many steps as each line asks for, and the memory that the process has taken since."""
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps({"best": min(times), "all": sum(times), "peak": peak() - before}), flush=True)


class Process:
    """A contestant that waits for its turn."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, stderr=nothing, text=True)
        self.first = self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def ask(self, steps: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def contest(name: str, rounds: int, threads: int) -> dict[str, dict[str, Any]]:
    """Medians of each contestant that can take part and has the same losses."""
    given = ["--only", name, "--threads", str(threads)]
    running = {who: Process([__file__, "--serve", who, *given]) for who in CONTESTANTS}
    found = {who: one for who, one in running.items() if one.first}
    losses = {who: one.first["losses"][: CASES[name].compared] for who, one in found.items()}
    for who, first in losses.items():
        if not np.allclose(first, losses["PyTorch"], rtol=AGREE, atol=AGREE):
            raise SystemExit(f"{name}: {who} has the losses {first}, PyTorch {losses['PyTorch']}")
    steps = {who: max(1, round(ROUND / one.ask(2)["best"])) for who, one in found.items()}
    turns: dict[str, list[dict[str, Any]]] = {who: [] for who in found}
    for _ in range(rounds):
        for who, one in found.items():
            turns[who].append(one.ask(steps[who]))
    for one in running.values():
        one.end()
    return {
        who: {
            "ms": statistics.median(turn["best"] for turn in of) * 1e3,
            "ratio": statistics.median(a["best"] / b["best"] for a, b in zip(of, turns["Lucid"], strict=True)),
            "peak": of[-1]["peak"],
            "setup": found[who].first["setup"],
        }
        for who, of in turns.items()
    }


def report(names: Sequence[str], rounds: int, threads: int) -> str:
    heads = [
        *(f"{who}, ms" for who in CONTESTANTS),
        "best PyTorch / Lucid",
        "peak, Lucid / PyTorch, MB",
        "set-up, Lucid, s",
    ]
    lines = [f"| network | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    ratios = []
    for name in names:
        of = contest(name, rounds, threads)
        peers = [who for who in of if who != "Lucid"]
        best = min(peers, key=lambda who: of[who]["ms"])
        ratios.append(of[best]["ratio"])
        times = " | ".join(f"{of[who]['ms']:.3g}" if who in of else "–" for who in CONTESTANTS)
        peaks = f"{of['Lucid']['peak'] / 1e6:.0f} / {of[best]['peak'] / 1e6:.0f}"
        lines.append(f"| {CASES[name].title} | {times} | {ratios[-1]:.2f} | {peaks} | {of['Lucid']['setup']:.2f} |")
        print(lines[-1], flush=True)
    mean = float(np.exp(np.mean(np.log(ratios))))
    lines.append(f"\nGeometric mean of the ratios: {mean:.2f}; {threads} threads, {rounds} rounds.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=lucid.get_num_threads())
    parser.add_argument("--write", type=Path)
    parser.add_argument("--serve", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.only[0], asked.threads)
        return
    text = report(asked.only, asked.rounds, asked.threads)
    print(text.splitlines()[-1])
    if asked.write:
        asked.write.write_text(f"# Training steps\n\n{platform.processor() or platform.machine()}\n\n{text}\n", "utf-8")


if __name__ == "__main__":
    main()
