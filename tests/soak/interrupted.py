"""A process that is interrupted at random moments while models run.

``python -m tests.soak.interrupted SIGNAL COUNT SEED KIND …`` prints how many interrupts there were and what went wrong.

After each interrupt that was handled the next call must answer as the first did, bit by bit, in time; the interrupt
must have come out of the call, as what the handler raised; BLAS must have its threads, and the collector be on.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

import lucid
from lucid import LucidError, Tensor, nn, optim
from lucid.runtime.workers.link import Link
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.settings import worker_processes

HANGS = 120.0
"""Seconds after which a call hangs."""
SLOW = 15.0
"""Seconds that the call after an interrupt may take."""

Array = np.ndarray[Any, Any]
Call = Callable[[], list[Array]]


class OutOfTimeError(Exception):
    """What the handler of a timer raises."""


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2, stride=2), nn.Flatten(), nn.Linear(32 * 144, 10),
    )  # fmt: skip


def images() -> Array:
    return np.random.default_rng(0).standard_normal((8, 8, 24, 24)).astype(np.float32)


def inference(**options: Any) -> Call:
    net, x = lucid.compile(convolutions().eval(), **options), images()

    def call() -> list[Array]:
        with lucid.no_grad():
            return [net(x).numpy()]

    return call


def updated() -> Call:
    """The weights are packed anew in every call."""
    module, x = convolutions().eval(), images()
    net = lucid.compile(module, threads=2)

    def call() -> list[Array]:
        for parameter in module.parameters():
            parameter.copy_(parameter.numpy())
        with lucid.no_grad():
            return [net(x).numpy()]

    return call


def training() -> Call:
    module, x = convolutions(), Tensor(images())
    net = lucid.compile(module, threads=2)
    start = {name: np.array(value) for name, value in module.state_dict().items()}

    def call() -> list[Array]:
        module.load_state_dict(start)
        sgd = optim.SGD(module.parameters(), lr=1e-3)
        sgd.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        gradients = [p.grad.numpy() for p in module.parameters()]
        sgd.step()
        return [loss.numpy(), *gradients, *(p.numpy().copy() for p in module.parameters())]

    return call


def compiling() -> Call:
    """A model is traced, planned and run for the first time until that has come to its end, then there is another."""
    module, x = convolutions().eval(), images()
    made: list[Any] = [lucid.compile(module, threads=2)]

    def call() -> list[Array]:
        with lucid.no_grad():
            y = made[0](x).numpy()
        made[0] = lucid.compile(module, threads=2)
        return [y]

    return call


def eager() -> Call:
    module, x = convolutions().eval(), images()
    return lambda: [module(Tensor(x)).numpy()]


def with_workers(make: Callable[..., Call], **options: Any) -> Callable[[], Call]:
    def made() -> Call:
        WorkerProcesses.modest = False
        lucid.set_num_threads(2)
        Link.distrust = lambda self, now: None  # type: ignore[method-assign] # however busy the machine is
        call = make(**options)
        call()
        workers = worker_processes()
        assert workers is not None
        workers.wanted = max(1, workers.wanted)
        workers.clerk.ask(workers._tend)
        end = time.monotonic() + HANGS
        while not workers.settle(0.2) and time.monotonic() < end:
            call()
        for link in workers.links:
            link.trusted = 0.0
        return call

    return made


def with_threads(make: Callable[..., Call], **options: Any) -> Callable[[], Call]:
    def made() -> Call:
        lucid.set_num_threads(2, processes=False)
        return make(**options)

    return made


KINDS: dict[str, Callable[[], Call]] = {
    "workers": with_workers(inference, threads=2),
    "threads": with_threads(inference, threads=2),
    "alone": with_threads(inference, threads=1),
    "updated": with_workers(updated),
    "training": with_workers(training),
    "training on threads": with_threads(training),
    "compiling": with_threads(compiling),
    "eager": with_threads(eager),
}
SIGNALS = ("alarm", "int", "both")


class Interrupts:
    """Sends signals to this process: a timer's, and another process's."""

    def __init__(self, which: str, rng: random.Random, around: float) -> None:
        self.which, self.rng, self.around = which, rng, around
        self.came = 0
        signal.signal(signal.SIGINT, self.handle)
        signal.signal(signal.SIGALRM, self.handle)
        sender = (
            "import sys, os, time\nfor line in sys.stdin:\n    time.sleep(float(line))\n"
            f"    os.kill({os.getpid()}, {signal.SIGINT})\n    print(flush=True)"
        )
        self.other = subprocess.Popen(
            [sys.executable, "-c", sender], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def handle(self, number: int, frame: object) -> None:
        self.came += 1
        raise KeyboardInterrupt if number == signal.SIGINT else OutOfTimeError

    def ask(self) -> bool:
        """For one, soon. Whether another process sends it."""
        after = (
            self.rng.uniform(1e-6, self.around) if self.rng.random() < 0.9 else self.rng.uniform(1e-6, 5 * self.around)
        )
        sent = self.which == "int" or (self.which == "both" and self.rng.random() < 0.5)
        if sent:
            assert self.other.stdin is not None
            self.other.stdin.write(f"{after}\n".encode())
            self.other.stdin.flush()
        else:
            signal.setitimer(signal.ITIMER_REAL, after)
        return sent


def same(found: list[Array], want: list[Array]) -> bool:
    """Not by ``np.array_equal``, which takes any exception for a difference."""
    return [a.tobytes() for a in found] == [a.tobytes() for a in want]


def blas_threads() -> list[int]:
    return [c["num_threads"] for c in threadpoolctl.threadpool_info() if c["user_api"] == "blas"]


def one(call: Call, want: list[Array], interrupts: Interrupts, tally: Counter[str]) -> None:
    """Call until an interrupt comes, and once more."""
    before, end, sent = interrupts.came, time.monotonic() + 10, False
    try:
        sent = interrupts.ask()
        while time.monotonic() < end:
            tally["wrong before"] += not same(call(), want)
    except (KeyboardInterrupt, OutOfTimeError):
        tally["interrupts"] += 1
    except LucidError as error:
        tally["turned into something else"] += 1
        sys.stderr.write(f"{error!r}\n")
    else:
        tally["never came" if interrupts.came == before else "lost"] += 1
    if sent:
        assert interrupts.other.stdout is not None
        interrupts.other.stdout.read(1)
    tally["lost"] += interrupts.came - before - 1
    began = time.monotonic()
    tally["wrong"] += not same(call(), want)
    tally["slow"] += time.monotonic() - began > SLOW
    tally["collector off"] += not gc.isenabled()


def main(kind: str, which: str, count: int, seed: int) -> Counter[str]:
    """So many interrupts of a kind: how many there were, and what went wrong."""
    lucid.manual_seed(0)
    quiet = blas_threads()
    call = KINDS[kind]()
    want = [array.copy() for array in call()]
    call()
    began = time.perf_counter()
    for _ in range(5):
        call()
    interrupts = Interrupts(which, random.Random(seed), 2 * (time.perf_counter() - began) / 5)
    tally: Counter[str] = Counter()
    sys.unraisablehook = lambda given: tally.update([f"unraisable in {given.object!r:.80}"])
    for number in range(count):
        faulthandler.dump_traceback_later(HANGS, exit=True)
        one(call, want, interrupts, tally)
        if number % 50 == 49:
            tally["BLAS without its threads"] += blas_threads() != quiet
    faulthandler.cancel_dump_traceback_later()
    interrupts.other.kill()
    return tally


if __name__ == "__main__":
    tallies = (main(kind, sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) for kind in sys.argv[4:])
    total = sum(tallies, Counter[str]())
    sys.stdout.write(json.dumps({name: number for name, number in total.items() if number}) + "\n")
