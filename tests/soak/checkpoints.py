"""Checkpoints that say anything, their checksum made to fit: one error and nothing changed, or training goes on.

What was saved of small nets, with each optimiser and schedule, is taken apart as JSON, changed in some places, put
together again and loaded into the same parts made anew; what loads is trained for some steps.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .files import at, hostile, places, put, take
from .limited import Trial, batches, limit, tried
from .sweep import Case

SMALL = 60
BATCH = 3000
"""Files that one process tries."""
JSON: TypeAlias = Any
Made: TypeAlias = "dict[str, Any]"


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Batches of files, each in a process of its own."""
    return batches("tests.soak.checkpoints", rng, SMALL, BATCH)


def kinds() -> list[Callable[[], Made]]:
    """What makes a model, an optimiser, a schedule and a loader."""
    import lucid  # in the child: this module is imported to list the sweeps
    from lucid import nn, optim
    from lucid.data import DataLoader, RandomSampler
    from lucid.optim import lr_scheduler as s

    optimizers: list[Callable[[Any], Any]] = [
        lambda ps: optim.SGD(ps, 0.1, momentum=0.9), lambda ps: optim.Adam(ps, amsgrad=True), optim.NAdam,
        lambda ps: optim.SGD([{"params": [p]} for p in ps], 0.1), lambda ps: optim.RMSprop(ps, momentum=0.1),
    ]  # fmt: skip
    schedules: list[Callable[[Any], Any]] = [
        lambda o: s.StepLR(o, 2), lambda o: s.MultiStepLR(o, [1, 3]), lambda o: s.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda o: s.OneCycleLR(o, 0.1, 50, cycle_momentum="momentum" in o.defaults), lambda o: s.PolynomialLR(o),
        lambda o: s.SequentialLR(o, [s.ConstantLR(o), s.ExponentialLR(o, 0.5)], [2]),
        lambda o: s.CosineAnnealingLR(o, 4),
        lambda o: s.ChainedScheduler([s.LinearLR(o), s.LambdaLR(o, lambda e: 0.9)]), lambda o: s.ReduceLROnPlateau(o),
        lambda o: s.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False), lambda o: optim.swa_utils.SWALR(o, 0.1),
    ]  # fmt: skip
    samplers: list[Callable[[], dict[str, Any]]] = [
        lambda: {"shuffle": True}, lambda: {"shuffle": True, "generator": lucid.Generator()},
        lambda: {"sampler": RandomSampler(range(10), generator=lucid.Generator())},
    ]  # fmt: skip

    def make(optimizer: Callable[[Any], Any], schedule: Callable[[Any], Any], sampler: Callable[[], Any]) -> Made:
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        made = optimizer(model.parameters())
        data: Any = [np.full(2, i, np.float32) for i in range(10)]
        return {
            "model": model, "optimizer": made, "scheduler": schedule(made), "loader": DataLoader(data, 4, **sampler()),
        }  # fmt: skip

    return [
        lambda o=o, s=s, d=samplers[i % 3]: make(o, s, d)  # type: ignore[misc]
        for i, (o, s) in enumerate((o, s) for o in optimizers for s in schedules)
    ]


def trained(parts: Made) -> None:
    """Some steps, to the end of the pass."""
    import lucid

    for batch in parts["loader"]:
        parts["optimizer"].zero_grad()
        loss = parts["model"](batch).sum()
        loss.backward()
        parts["optimizer"].step()
        plateau = isinstance(parts["scheduler"], lucid.optim.lr_scheduler.ReduceLROnPlateau)
        parts["scheduler"].step(*([1.0] if plateau else []))


def seen(parts: Made) -> str:
    """All states, as text."""
    import lucid

    model = {name: value.tolist() for name, value in parts["model"].state_dict().items()}
    others = [parts[name].state_dict() for name in ("optimizer", "scheduler", "loader")]
    return repr((model, others, lucid.get_rng_state()))


def changed(rng: np.random.Generator, header: dict[str, JSON]) -> None:
    """One to three changes: most to numbers of the state, some anywhere in it, few in the table of arrays."""
    for _ in range(1 + int(rng.integers(3))):
        where = rng.random()
        root = header["__metadata__"]["extra"] if where < 0.92 else header
        found = list(places(root))
        if where < 0.6:
            found = [path for path in found if isinstance(at(root, path), int | float)]
        path = found[int(rng.integers(len(found)))]
        at(root, path[:-1])[path[-1]] = hostile(rng, at(root, path))


def attempt(raw: bytes, path: str, parts: Made) -> str:
    """What comes of one file: refused with nothing changed, or training went on; or what is wrong."""
    import lucid

    Path(path).write_bytes(raw)
    before = seen(parts)
    try:
        lucid.load_checkpoint(path, **parts)
    except lucid.LucidError as error:
        str(error).encode("utf-8", "backslashreplace")
        return "refused" if seen(parts) == before else "refused, BUT CHANGED: CODE RAN"
    with contextlib.suppress(lucid.LucidError):  # a rate may be without bounds
        trained(parts)
    return "went on"


def main(seed: int, count: int, only: int | None = None) -> int:
    """Try so many files, or one of them; prints what is wrong."""
    limit()
    import lucid

    np.seterr(all="ignore")
    every = kinds()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = os.path.join(folder, "run.safetensors")
        good = []
        for make in every[:: 1 if count > SMALL else 5]:
            parts = make()
            next(iter(parts["loader"]))
            trained(parts)
            next(iter(parts["loader"]))
            lucid.save_checkpoint(path, **parts, step=3, extra=[1, {"a": (2.0, np.ones(2))}])
            good.append((make, *take(Path(path).read_bytes())))

        def draw(rng: np.random.Generator) -> Trial | None:
            make, header, data = good[int(rng.integers(len(good)))]
            header = copy.deepcopy(header)
            try:
                changed(rng, header)
                raw = put(header, data)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return None  # not even a header is left
            return Trial("checkpoint", lambda: attempt(raw, path, make()))

        return tried(seed, count, draw, only)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
