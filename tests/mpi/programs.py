"""What the processes of a test do: ``python -m tests.mpi.programs NAME FOLDER``, in each of them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import distributed, nn, optim
from lucid.optim.swa_utils import AveragedModel
from lucid.runtime.workers.board import Abandoned
from lucid.runtime.workers.processes import WorkerProcesses

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


def buffers(folder: Path) -> Told:
    """Running statistics, averages, and random numbers that differ between ranks and come again."""
    group = distributed.group(timeout=20)
    found: Told = {"digests": [], "outputs": [], "own": [], "averages": []}
    for _ in range(2):
        lucid.manual_seed(5)
        model = normalised()
        average = AveragedModel(model)
        average.n_averaged.copy_(1 + group.rank)  # it begins as in rank 0
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        step = lucid.compile_step(model, LOSS, optimizer, outputs=True, group=group, average=average)
        for x, target in batches(4, 8):
            _, outputs = step(x.astype(np.float32), target)  # the same in all ranks, but for what is dropped
            found["digests"].append(digest(model))
            found["averages"].append(digest(average))
            found["outputs"].append(outputs.numpy().tolist())
        found["drawn"] = float(lucid.rand(1).item())
    return found


class Either(nn.Module):
    """A model that reads other parameters in other ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.nobody = nn.Linear(8, 3), nn.Linear(8, 3), nn.Linear(8, 3)
        self.double()

    def forward(self, x: Any, which: bool) -> Any:
        return self.one(x) if which else self.other(x) + self.one(x) * 0.5


def unused(folder: Path) -> Told:
    """Parameters that only one rank has gradients of; of those that none has, momentum and decay leave no trace."""
    group = distributed.group(timeout=20)
    lucid.manual_seed(0)
    model = Either()
    before = digest(model.nobody)
    step = lucid.compile_step(model, LOSS, optim.AdamW(model.parameters(), lr=1e-2), group=group)
    digests = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number, (x, target) in enumerate(batches(6, 8, group.rank)):
            step(x, number < 2 or group.rank == 0, target)
            digests.append([digest(part) for part in (model.one, model.other)])
    words = " ".join(str(one.message) for one in warned)
    return {"digests": digests, "left": digest(model.nobody) == before, "warned": words}


def tried(call: Callable[[], object]) -> str:
    """The error of a call."""
    try:
        call()
    except (lucid.LucidError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def refused(folder: Path) -> Told:
    """What ranks do differently."""
    group, found = distributed.group(timeout=20), {}
    (x, target), *_ = batches(1, 8)

    def step_of(model: nn.Module, lr: float = 0.1, **options: Any) -> lucid.compiler.step.CompiledStep:
        return lucid.compile_step(model, LOSS, optim.SGD(model.parameters(), lr=lr), group=group, **options)

    other = nn.Linear(8, 3 + group.rank).double()
    found["model"] = tried(lambda: step_of(other)(x, target))
    found["rate"] = tried(lambda: step_of(mlp(), 0.1 + group.rank)(x, target))
    found["options"] = tried(lambda: step_of(mlp(), **({"clip_norm": 1.0} if group.rank else {}))(x, target))
    found["metrics"] = tried(lambda: step_of(mlp(), metrics={"right": right} if group.rank else None)(x, target))
    step = step_of(mlp())
    step.clip_norm = 1.0 if group.rank else None
    found["later"] = tried(lambda: step(x, target))
    step.clip_norm = None
    found["well"] = tried(lambda: step(x, target))
    found["save"] = tried(lambda: step.save(folder / "step.lucid"))
    return found


def failing(folder: Path) -> Told:
    """One rank fails in a step, in one way or another: all are as before, and go on."""
    group, found = distributed.group(bucket_bytes=1 << 9, timeout=20), {}
    lucid.manual_seed(0)
    model = mlp()
    step = lucid.compile_step(model, LOSS, optim.Adam(model.parameters()), group=group, detect_anomaly=True)
    data = batches(12, 8, group.rank)
    step(*data[0])
    for rank in range(group.size):
        mine = group.rank == rank
        for name, (x, target) in {
            "label": (data[1][0], data[1][1] + (9 if mine else 0)),
            "nan": (data[2][0] * (np.nan if mine else 1.0), data[2][1]),
            "shape": (data[3][0][:, : 7 if mine else 8], data[3][1]),
        }.items():
            before = digest(model)
            found[f"{name} {rank}"] = tried(partial(step, x, target)), digest(model) == before
    step(*data[4])
    found["after"] = digest(model)
    return found


def interrupted(folder: Path) -> Told:
    """Ctrl-C in one rank at some moment of a step."""
    group = distributed.group(bucket_bytes=1 << 9, timeout=20)
    lucid.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(30)), nn.Linear(8, 3)).double()
    step = lucid.compile_step(model, LOSS, optim.Adam(model.parameters()), group=group)
    digests, errors = [digest(model)], []
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def timed(number: int) -> None:
        if number > 2 and number % group.size == group.rank:
            signal.setitimer(signal.ITIMER_REAL, 0.0002 * (number % 30) + 0.0001)
        try:
            step(*batches(1, 8, number)[0])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    for number in itertools.count():  # one that is interrupted before it has begun takes part in none
        errors.append(tried(partial(timed, number)))
        if digests[-1] != digest(model):
            digests.append(digest(model))
        if len(digests) > 30:
            break
    return {"digests": digests, "errors": errors}


class Lateness:
    """Lets a worker of this process leave a region of a run, once it has done its part; the first is number 0."""

    def __init__(self) -> None:
        self.regions, self.late = 0, -1
        share = WorkerProcesses.share

        def shared(workers: WorkerProcesses, turn: Any, index: int, function: Any, count: int, complete: bool) -> None:
            share(workers, turn, index, function, count, complete)
            if complete:  # what writes over parameters is taken up where it was left
                return
            self.regions += 1
            if self.regions == self.late + 1:
                raise Abandoned

        WorkerProcesses.share = shared  # type: ignore[method-assign]
        WorkerProcesses.patient, WorkerProcesses.modest = True, False

    def expect(self, late: int) -> None:
        self.regions, self.late = 0, late


def late(folder: Path) -> Told:
    """A worker of one rank that leaves its part of each of the regions that it shares in a step: nobody notices."""
    group, lateness = distributed.group(bucket_bytes=1 << 16, timeout=20), Lateness()
    lucid.set_num_threads(2)

    def digests(who: int) -> tuple[list[str], list[int]]:
        lucid.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(96, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 3)
        )
        rule = optim.Adam(model.parameters())
        step = lucid.compile_step(model, LOSS, rule, clip_norm=0.1, clip_grad=0.02, group=group, threads=2)
        rng = np.random.default_rng(group.rank)
        found, regions = [], []
        for number in range(-3, 18):
            lateness.expect(number // 2 if who == group.rank and number % 2 == 0 else -1)
            step(rng.standard_normal((128, 96)).astype(np.float32), rng.integers(0, 3, 128))
            found.append(digest(model))
            regions.append(lateness.regions)
        return found, regions

    want, _ = digests(-1)
    found = [digests(rank) for rank in range(group.size)]
    return {"want": want, "found": [one for one, _ in found], "regions": [regions for _, regions in found]}


def budgeted(folder: Path) -> Told:
    """Steps within a budget of memory: of all ranks, of one, and one that a rank cannot keep to."""
    group, found = distributed.group(bucket_bytes=1 << 14, timeout=20), {}
    data = [(x.astype(np.float32), target) for x, target in batches(4, 2048, group.rank)]

    def trained(budget: int | None) -> tuple[list[str], lucid.compiler.step.CompiledStep]:
        lucid.manual_seed(0)
        wide = (layer for _ in range(7) for layer in (nn.Linear(64, 64), nn.Tanh()))
        model = nn.Sequential(nn.Linear(8, 64), *wide, nn.Linear(64, 3))
        rule = optim.Adam(model.parameters())
        step = lucid.compile_step(model, LOSS, rule, group=group, threads=1, memory_budget=budget)
        digests = []
        for batch in data:
            step(*batch)
            digests.append(digest(model))
        return digests, step

    found["free"], free = trained(None)
    budget = free.plan.peak * 5 // 6
    found["all"], step = trained(budget)
    found["again"], found["kept"] = len(step.recomputed), step.plan.peak <= budget
    found["one"], _ = trained(budget if group.rank else None)
    found["too small"] = tried(lambda: trained(1000 if group.rank else None))
    found["after"], _ = trained(None)
    return found


def killed(folder: Path) -> Told:
    """A rank that is killed at some moment, while the first saves."""
    group = distributed.group()
    model = mlp()
    rule = optim.Adam(model.parameters())
    step = lucid.compile_step(model, LOSS, rule, group=group)
    for number in itertools.count(1):
        step(*batches(1, 8, number)[0])
        if group.rank == 1 and number == 3:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if group.rank == 0:
            lucid.save_checkpoint(folder / "last.lucid", model=model, optimizer=rule, step=number)
    raise AssertionError


def raising(folder: Path) -> Told:
    """An error that nobody catches, between steps."""
    group = distributed.group()
    model = mlp()
    step = lucid.compile_step(model, LOSS, optim.Adam(model.parameters()), group=group)
    for number, batch in enumerate(batches(10, 8)):
        if number == 3 and group.rank == 1:
            raise OSError("the disk is full")
        step(*batch)
    return {}


def fewer(folder: Path) -> Told:
    """A rank that makes fewer steps."""
    group = distributed.group(timeout=1.0)
    model = mlp()
    step = lucid.compile_step(model, LOSS, optim.Adam(model.parameters()), group=group)
    for batch in batches(5 + group.rank, 8):
        step(*batch)
    return {}


def fitted(folder: Path) -> Told:
    """``lucid.fit``, stopped and resumed, with a sampler for each rank."""
    group, found = distributed.group(timeout=20), {}
    (x, target), *_ = batches(1, 46)
    data = lucid.data.TensorDataset(x.astype(np.float32), target)
    path = folder / "last.lucid"

    def run(epochs: int, resume: bool, stop: int | None = None, accumulate: int = 1) -> tuple[str, str, Any]:
        lucid.manual_seed(3 + group.rank)
        model = normalised()
        average = AveragedModel(model)
        sampler = lucid.data.DistributedSampler(data)
        loader = lucid.data.DataLoader(data, batch_size=8, sampler=sampler)
        callbacks = [lucid.training.ModelCheckpoint(path), Stops(stop if group.rank == 1 else None)]
        history = lucid.fit(
            model, loader, loss=LOSS, optimizer=optim.Adam(model.parameters(), lr=1e-2), epochs=epochs, group=group,
            validation=loader, metrics=[lucid.training.Accuracy()], callbacks=callbacks,
            resume=path if resume else None, accumulate=accumulate, average=average,
        )  # fmt: skip
        return digest(model), digest(average), dict(history)

    found["whole"] = run(4, False)
    group.barrier()
    found["stopped"] = run(4, False, stop=2)
    group.barrier()
    run(2, False)
    group.barrier()
    found["resumed"] = run(4, True)
    for epochs, resume in ((1, False), (2, True), (2, False)):  # of three batches each
        group.barrier()
        found[f"sums {resume}"] = run(epochs, resume, accumulate=2)
    uneven = [(x[:8].astype(np.float32), target[:8])] * (2 + group.rank)
    model = normalised()
    rule = optim.SGD(model.parameters())
    found["uneven"] = tried(lambda: lucid.fit(model, uneven, loss=LOSS, optimizer=rule, group=group))
    found["eager"] = tried(lambda: lucid.fit(model, uneven, loss=LOSS, optimizer=rule, group=group, compiled=False))
    return found


class Stops(lucid.training.Callback):
    """Ends a run after so many epochs, in one rank."""

    def __init__(self, epochs: int | None) -> None:
        self.epochs = epochs

    def on_epoch_end(self, run: lucid.training.Run) -> None:
        if run.epoch == self.epochs:
            run.stop()


def together(folder: Path) -> Told:
    """What a group offers by itself."""
    group, found = distributed.group(timeout=20), {}
    group.barrier()
    for op in ("sum", "mean", "max"):
        tensor = lucid.tensor([1.0, group.rank + 1.0])
        group.all_reduce(tensor, op)
        found[op] = tensor.tolist()
    flags = lucid.tensor([group.rank == 1, True])
    group.broadcast(flags, src=1)
    found["flags"] = flags.tolist()
    model = mlp()
    group.broadcast(model)
    found["model"] = digest(model)
    found["op"] = tried(lambda: group.all_reduce(tensor, "product"))
    found["whom"] = tried(lambda: group.broadcast(tensor, src=group.size))
    found["place"] = [group.rank, group.size, distributed.get_rank(), distributed.get_world_size(), str(group)]
    return found


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    found = globals()[name](folder)
    (folder / f"{distributed.get_rank()}.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
