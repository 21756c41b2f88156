"""Training steps whose updates workers share: parameters lie where they reach them, and each is updated once."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.base import changes
from lucid.errors import ExecutionError
from lucid.runtime.planning.machine import described
from lucid.runtime.program import runs
from lucid.runtime.workers import launch, processes
from lucid.runtime.workers.board import Abandoned
from lucid.runtime.workers.heap import Heap
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.settings import helpers, reached, shared_bytes

from ...machines import USUAL
from .test_models import helped
from .test_turns import Array, impatient, shared, sharing_of

pytestmark = pytest.mark.skipif(not helpers(), reason="there are no processes to help here")

LOSS = nn.MSELoss()


def make_model() -> nn.Sequential:
    lucid.manual_seed(3)
    return nn.Sequential(nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 256))


def make_step(model: nn.Module, threads: int = 3, y: Array | None = None, **options: Any) -> Callable[[], float]:
    rule = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    step = lucid.compile_step(model, LOSS, rule, threads=threads, **options)
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((96, 64), np.float32), rng.standard_normal((96, 256), np.float32)
    return lambda: float(step(x, z if y is None else y))


def arrays_of(model: nn.Module) -> list[Array]:
    return [np.array(p.numpy()) for p in model.parameters()]


def alike(a: nn.Module, b: nn.Module) -> bool:
    return all(np.allclose(p, q, rtol=1e-4, atol=1e-6) for p, q in zip(arrays_of(a), arrays_of(b), strict=True))


def test_workers_share_updates_where_parameters_lie(workers: WorkerProcesses) -> None:
    one, model = make_model(), make_model()
    alone, step = make_step(one, threads=1), make_step(model)
    for _ in range(4):
        assert step() == pytest.approx(alone(), rel=1e-5)
    assert helped(workers) == [True, True], "the last region is an update"
    assert all(reached(p._array) for p in model.parameters()) and not any(reached(p._array) for p in one.parameters())
    assert alike(one, model)

    twin = copy.deepcopy(model)  # and all that sets a parameter otherwise is seen
    model.load_state_dict({name: value.numpy() * 0.5 for name, value in model.state_dict().items()})
    model[2].bias.data = Tensor(np.ones(256, np.float32))
    one.load_state_dict({name: value.numpy() for name, value in model.state_dict().items()})
    for _ in range(2):
        assert step() == pytest.approx(alone(), rel=1e-4)
    assert alike(one, model) and not any(reached(p._array) for p in twin.parameters())


@pytest.mark.parametrize("moves", [True, False])
def test_the_first_step_takes_working_memory_once(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch, moves: bool
) -> None:
    """Although a program is bound twice where parameters are copied to where workers reach them."""
    taken, model = list[int](), make_model()
    seen = None if moves else model[0].weight.numpy()

    def counted(size: int) -> Array:
        taken.append(size)
        return shared_bytes(size)

    monkeypatch.setattr(runs, "shared_bytes", counted)
    step = make_step(model)
    for _ in range(3):
        step()
    assert len(taken) == 1 and helped(workers) == [True, True]
    assert (seen is None) == all(reached(p._array) for p in model.parameters())


def test_what_somebody_else_sees_stays_where_it_is(workers: WorkerProcesses) -> None:
    one, model = make_model(), make_model()
    seen, tied = model[0].weight.numpy(), Tensor(np.zeros(1))
    tied.data = model[2].weight
    alone, step = make_step(one, threads=1), make_step(model)
    for _ in range(3):
        step()
        alone()
        assert np.array_equal(seen, model[0].weight.numpy()) and np.array_equal(tied.numpy(), model[2].weight.numpy())
    assert [reached(p._array) for p in model.parameters()] == [False, True, False, True]
    assert alike(one, model)


def test_a_part_that_was_left_is_not_noticed_in_a_step(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever region it was: the run begins again in its memory, in which values were written over by others."""
    taken, calls, at = list[int](), list[bool](), -1
    share = WorkerProcesses.share

    def counted(size: int) -> Array:
        taken.append(size)
        return shared_bytes(size)

    def left(self: WorkerProcesses, *given: Any) -> None:
        share(self, *given)
        calls.append(given[-1])
        if len(calls) == at + 1:
            raise Abandoned

    monkeypatch.setattr(runs, "shared_bytes", counted)
    monkeypatch.setattr(WorkerProcesses, "share", left)
    one, model = make_model(), make_model()
    want, step = make_step(one), make_step(model)
    with described(USUAL):  # another machine may share fewer regions
        want(), step(), want()
    calls.clear()
    step()
    regions = calls.count(False)  # the others are completed, and so never left
    assert regions > 3 and not any(calls[:regions])
    for at in range(regions):
        calls.clear()
        step()
        assert len(calls) == at + 1, "alone it shares nothing"
        at = -1
        want()
        assert all(map(np.array_equal, arrays_of(model), arrays_of(one)))
    assert len(taken) == 2


def test_a_history_of_before_is_gone_back_along(workers: WorkerProcesses) -> None:
    """Where a step has moved a parameter, and then not updated it."""
    model = make_model()
    with lucid.no_grad():
        model[0].weight.mul_(0.5)
    loss = LOSS(model(Tensor(np.ones((2, 64), np.float32))), Tensor(np.ones((2, 256), np.float32)))
    step = make_step(model, detect_anomaly=True, y=np.full((96, 256), np.nan, np.float32))
    with pytest.raises(ExecutionError, match="not finite"):
        step()
    assert reached(model[0].weight._array)
    loss.backward()
    assert model[0].weight.grad is not None


def test_a_child_has_the_parameters_as_they_were(workers: WorkerProcesses) -> None:
    model = make_model()
    step = make_step(model)
    step()
    before, (there, here) = arrays_of(model), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(here)
            os.read(there, 1)  # the parent has made a step meanwhile
            same = all(map(np.array_equal, arrays_of(model), before))
            step()
            after = all(map(np.array_equal, arrays_of(model), before))
            os._exit(0 if same and not after else 1)
        finally:
            os._exit(2)
    os.close(there)
    step()
    after = arrays_of(model)
    os.write(here, b".")
    assert os.waitpid(child, 0)[1] == 0
    os.close(here)
    assert all(map(np.array_equal, arrays_of(model), after)) and not np.array_equal(after[0], before[0])


def test_a_child_is_made_between_two_updates() -> None:
    model = make_model()
    step = make_step(model, threads=1)
    step()
    before = arrays_of(model)
    with changes.writing:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and all(map(np.array_equal, arrays_of(model), before))
    thread.join()
    assert not any(map(np.array_equal, arrays_of(model), before))

    began = threading.Event()
    ended: list[bool] = []

    def update() -> None:
        with changes.writing:
            began.set()
            time.sleep(0.1)
            ended.append(True)

    thread = threading.Thread(target=update)
    thread.start()
    began.wait()
    child = os.fork()
    if not child:
        done: list[bool] = []
        other = threading.Thread(target=lambda: done.append(changes.writing.acquire(timeout=5)), daemon=True)
        other.start()
        other.join()
        os._exit(0 if ended and done == [True] else 1)
    assert ended and os.waitpid(child, 0)[1] == 0
    thread.join()


def test_a_child_makes_steps_that_another_thread_was_at() -> None:
    began, over = threading.Event(), threading.Event()
    model = make_model()
    step = lucid.compile_step(model, LOSS, optim.SGD(model.parameters()), threads=1)
    x, y = np.ones((2, 64), np.float32), np.ones((2, 256), np.float32)
    step(x, y)

    def be_at_it() -> None:
        with step._turn:
            began.set()
            over.wait()

    thread = threading.Thread(target=be_at_it)
    thread.start()
    began.wait()
    child = os.fork()
    if not child:
        signal.alarm(10)
        step(x, y)
        os._exit(0)
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_what_was_moved_while_a_child_was_made_is_there_too() -> None:
    gone: list[object] = []
    heap = Heap(gone.append)
    first = heap.take(8, lasting=True)
    assert first is not None
    first[:] = 1
    noted = heap.lasting()
    second = heap.take(8, lasting=True)
    assert second is not None
    first[:], second[:] = 2, 3  # by the parent
    heap.leave(noted)
    os.close(heap.file)
    assert first.tolist() == [1] * 8 and second.tolist() == [3] * 8


def hangs(sums: Array) -> Callable[[int], None]:
    """A worker's part that does not end; the caller, who takes it up, ends it."""

    def region(worker: int) -> None:
        if worker:
            sums[worker, 0] += 1
            while sums[worker, 0] == 1:
                sums[worker, 1] += 1
        else:
            while not sums[1, 1]:
                sums[0, 1] += 1
        sums[worker, 2] += 1

    return region


@pytest.mark.parametrize("ended", [True, False])
def test_a_worker_that_ends_or_hangs_in_an_update_is_taken_up_from(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr(processes, "HANGS", 20.0 if ended else 0.1)
    start = time.monotonic()
    sums = shared(workers, (3, 3))
    sharing = sharing_of([(hangs(sums), 2)])
    pid, socket = workers.pid(workers.links[0]), workers.links[0].socket
    assert socket is not None

    def end() -> None:
        while not sums[1, 1]:
            pass
        os.kill(pid, signal.SIGKILL)
        while not launch.ended(socket.number):
            pass
        workers.clerk.ask(workers._tend)  # another has its place before the caller looks

    thread = threading.Thread(target=end if ended else lambda: None)
    thread.start()
    with impatient(workers), sharing:
        sharing.complete(0)
    thread.join()
    assert time.monotonic() < start + 10
    assert (sums[:, 0].tolist(), sums[:2, 2].tolist()) == ([0, 2, 0], [1, 1])
    workers.clerk.ask(workers._tend)
    assert workers.settle(), "another one has begun"
