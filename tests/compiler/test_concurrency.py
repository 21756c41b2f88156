"""Compiled models that are called at the same time: their results, the threads they take, and BLAS's own threads."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import lucid
from lucid import models, nn
from lucid.errors import ExecutionError
from lucid.graph.trace import active_trace
from lucid.models.resnet import BasicBlock
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.marks import Marks
from lucid.runtime.workers.settings import get_num_threads, set_num_threads
from lucid.runtime.workers.threads import ThreadPool
from lucid.tensor.tracing import Recorder

Array = np.ndarray[Any, Any]
TIMEOUT = 600


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Two for programs and two for BLAS, whatever the machine has; no processes."""
    before = get_num_threads()
    set_num_threads(2, processes=False)
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        yield
        set_num_threads(2, processes=False)
        assert set(blas_threads()) == {2}
    set_num_threads(before)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


def blas_threads() -> list[int]:
    return [c["num_threads"] for c in threadpoolctl.threadpool_info() if c["user_api"] == "blas"]


def os_threads() -> int:
    """All threads of this process, BLAS's among them, where the system tells; Python's elsewhere."""
    tasks = Path("/proc/self/task")
    return len(os.listdir(tasks)) if tasks.exists() else threading.active_count()


def threads_now() -> int:
    """As many as there are once BLAS has its own, which it gives up when the process forks."""
    np.ones((512, 512)) @ np.ones((512, 512))
    return os_threads()


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(32, 32, 3))


BUILDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convs": (conv_net, (4, 3, 64, 64)),
    "resnet": (lambda: models.ResNet(BasicBlock, (1, 1, 1, 1), 10), (2, 3, 64, 64)),
    "mobilenet": (lambda: models.mobilenet_v1(10, width=0.5), (2, 3, 64, 64)),
    "mlp": (lambda: models.mlp((300, 512, 256, 10)), (256, 300)),
}


def compiled(name: str, **options: Any) -> tuple[Any, list[Array]]:
    """A network and some inputs of two batch sizes."""
    build, (batch, *sizes) = BUILDS[name]
    lucid.manual_seed(0)
    net = lucid.compile(build().eval(), lucid.spec("N", *sizes), **options)
    rng = np.random.default_rng(0)
    return net, [rng.standard_normal((batch + i % 2, *sizes)).astype(np.float32) for i in range(4)]


def together(*jobs: Callable[[], object]) -> None:
    """Run each in a thread of its own; the first error is raised."""
    start = threading.Barrier(len(jobs), timeout=TIMEOUT)

    def begin(job: Callable[[], object]) -> None:
        start.wait()
        job()

    with ThreadPoolExecutor(len(jobs)) as callers:
        for done in [callers.submit(begin, job) for job in jobs]:
            done.result(TIMEOUT)


def check(net: Any, inputs: list[Array], want: list[Array], calls: int) -> None:
    with lucid.no_grad():
        for i in range(calls):
            np.testing.assert_array_equal(net(inputs[i % len(inputs)]).numpy(), want[i % len(want)])


def alone(net: Any, inputs: list[Array]) -> list[Array]:
    with lucid.no_grad():
        return [net(x).numpy().copy() for x in inputs]


def test_several_models_at_once_give_what_each_gives_alone() -> None:
    """Bit by bit; and no more threads are alive than the callers, the pool's worker, and who was there before."""
    nets = [compiled(name) for name in BUILDS]
    runs = [(net, inputs, alone(net, inputs)) for net, inputs in nets]
    jobs = [lambda run=run: check(*run, calls=4) for run in runs for _ in range(2)]
    before, most, done = threads_now(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, os_threads())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(2):
            together(*jobs)
    finally:
        done.set()
        watcher.join()
    assert before + 2 < most <= before + len(jobs) + 2  # the watcher, and the pool's worker if it had none yet
    assert threads_now() <= before + 1


def test_threads_do_not_add_up_when_their_number_changes() -> None:
    """Models compiled for other numbers of threads go on while the number changes, and end with the right results."""
    runs = []
    for threads in (2, 3):
        net, inputs = compiled("resnet", threads=threads)
        runs.append((net, inputs, alone(net, inputs)))
    before, done = threads_now(), threading.Event()

    def change() -> None:
        try:
            for i in range(30):
                set_num_threads(1 + i % 3, processes=False)
                assert get_num_threads() == 1 + i % 3
        finally:
            done.set()

    def call(run: Any) -> None:
        while not done.is_set():
            check(*run, calls=4)

    together(change, *(lambda run=run: call(run) for run in runs))
    set_num_threads(2, processes=False)
    for run in runs:
        check(*run, calls=4)
    assert threads_now() <= before + 2


def test_a_pool_that_nobody_has_any_more_ends_its_workers() -> None:
    pool = ThreadPool(3)
    for _ in range(2):  # again, as does who read which pool there is just before that was changed
        barrier = threading.Barrier(3, timeout=TIMEOUT)
        pool.run(lambda i, barrier=barrier: barrier.wait(), 3)
        workers = pool._workers
        assert len(workers) == 2
        pool.close()
        wait_until(lambda workers=workers: not workers)
    pool.run(lambda i: None, 3)
    workers = pool._workers
    wait_until(lambda: len(workers) == 2)
    del pool
    wait_until(lambda: not workers)


# ---------------------------------------------------------------- BLAS


def program(at_step: Callable[[], object]) -> Callable[[], object]:
    """A program with shared blocks that calls ``at_step`` between its steps."""
    net, inputs = compiled("convs")
    run = Executable(net.graph.bind({"N": len(inputs[0])}), threads=2, marks=Marks(), clock=at_step)  # type: ignore[arg-type]
    state = net.model.state_dict()
    run.load([np.asarray(state[name]) for name in run.parameters], 0)
    return lambda: run(inputs[0])


class Pause:
    """Stops a program once, in the middle, until it is let go on or made to fail."""

    def __init__(self) -> None:
        self.reached, self.go_on, self.error = threading.Event(), threading.Event(), ""

    def __call__(self) -> None:
        self.reached.set()
        assert self.go_on.wait(TIMEOUT)
        if self.error:
            raise ValueError(self.error)

    def release(self, error: str) -> None:
        self.error = error
        self.go_on.set()


def test_blas_has_one_thread_in_a_program_with_shared_blocks() -> None:
    seen: list[list[int]] = []
    program(lambda: seen.append(blas_threads()))()
    assert len(seen) >= 2 and all(set(counts) == {1} for counts in seen)
    assert set(blas_threads()) == {2}


def test_blas_gets_its_threads_back_from_a_program_that_raises() -> None:
    def fail() -> None:
        assert set(blas_threads()) == {1}
        raise ValueError("in the middle")

    run = program(fail)
    for _ in range(3):
        with pytest.raises(ExecutionError, match="in the middle"):
            run()
        assert set(blas_threads()) == {2}


@pytest.mark.parametrize("first", [0, 1], ids=["first-in-first-out", "first-in-last-out"])
@pytest.mark.parametrize("error", ["", "in the middle"], ids=["", "raising"])
@pytest.mark.parametrize("switch", [2, 1, 3])
def test_blas_is_held_until_the_last_program_has_ended(first: int, error: str, switch: int) -> None:
    """Of two that overlap, in either order, where one may raise and the number of threads may change between."""
    pauses = [Pause(), Pause()]
    programs = [program(pause) for pause in pauses]
    with ThreadPoolExecutor(2) as callers:
        running = []
        try:
            for run, pause in zip(programs, pauses, strict=True):
                running.append(callers.submit(run))
                assert pause.reached.wait(TIMEOUT)
                assert set(blas_threads()) == {1}
                set_num_threads(switch, processes=False)
            pauses[first].release(error)
            raised = running[first].exception(TIMEOUT)
            assert (error in str(raised)) if error else raised is None
            assert set(blas_threads()) == {1}
        finally:
            for pause in pauses:
                pause.go_on.set()
        assert running[1 - first].exception(TIMEOUT) is None
    assert set(blas_threads()) == {1 if switch == 1 else 2}


def test_a_trace_that_is_interrupted_as_it_ends_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However far its own tidying up came."""
    x = lucid.ones(2)

    @contextlib.contextmanager
    def active(self: Recorder, grad: bool = True) -> Iterator[Recorder]:
        active_trace.set(self)
        yield self
        raise KeyboardInterrupt

    compiled = lucid.compile(lambda t: t * 2)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "active", active)
        with pytest.raises(KeyboardInterrupt):
            compiled(x)
    assert active_trace.get() is None
    assert (x + 1).tolist() == [2.0, 2.0] and compiled(x).tolist() == [2.0, 2.0]
