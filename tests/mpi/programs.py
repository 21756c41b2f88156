"""What the processes of a test do: ``python -m tests.mpi.programs NAME FOLDER``, in each of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import distributed, nn, optim

from .ranks import digest

LOSS = nn.CrossEntropyLoss()
Told = dict[str, Any]


def right(y: Any, target: Any) -> Any:
    return (y.argmax(1) == target).double().mean()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3)).double()


def images() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    ).double()


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)
        self.double()

    def forward(self, x: Any) -> Any:
        return self.out(self.lstm(x.reshape(-1, 2, 4))[0][:, -1])


def batches(count: int, size: int, seed: int = 0) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal((size, 8)) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in inputs]


def part(batch: tuple[Any, Any], group: distributed.Group) -> tuple[Any, Any]:
    x, target = batch
    return x[group.rank :: group.size], target[group.rank :: group.size]


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], optim.Optimizer], dict[str, Any]]] = {
    "sgd": (mlp, partial(optim.SGD, lr=0.1, momentum=0.9), {}),
    "adamw": (mlp, partial(optim.AdamW, lr=1e-2), {"clip_norm": 0.5}),
    "gathered": (images, partial(optim.Adam, lr=1e-2, weight_decay=1e-2), {"accumulate": 3, "clip_grad": 0.05}),
    "recurrent": (Sequences, partial(optim.RMSprop, lr=1e-3), {}),
}


def alike(folder: Path) -> Told:
    """Each case beside one process that has all of every batch."""
    found: Told = {}
    group = distributed.group(bucket_bytes=1 << 11, timeout=20)
    for name, (model, rule, options) in CASES.items():
        lucid.manual_seed(group.rank)  # rank 0 is followed
        own = model()
        own_rule = rule(own.parameters())
        step = lucid.compile_step(own, LOSS, own_rule, metrics={"right": right}, group=group, **options)
        lucid.manual_seed(0)
        whole = model()
        alone = lucid.compile_step(whole, LOSS, rule(whole.parameters()), metrics={"right": right}, **options)
        digests, losses = [], []
        for batch in batches(9, 12 * group.size):
            loss, metrics = step(*part(batch, group))
            wanted, measured = alone(*batch)
            losses.append([float(loss), float(wanted), float(metrics["right"]), float(measured["right"])])
            digests.append(digest(own))
        pairs = zip(own.parameters(), whole.parameters(), strict=True)
        apart = max(float(np.abs(a.numpy() - b.numpy()).max()) for a, b in pairs)
        found[name] = {"digests": digests, "losses": losses, "apart": apart, "sums": step.source.count("begin_sum(")}
    return found


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    found = globals()[name](folder)
    (folder / f"{distributed.get_rank()}.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
