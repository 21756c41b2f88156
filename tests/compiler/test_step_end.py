"""The end of a step: what it allocates, who writes over parameters, and that this is done whole or not at all."""

from __future__ import annotations

import signal
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.optim.lr_scheduler import StepLR
from lucid.runtime.kernels.fused import iteration_space, kernels
from lucid.runtime.planning import work
from lucid.runtime.workers import sharing
from lucid.runtime.workers.settings import worker_processes
from lucid.runtime.workers.sharing import Sharing

from .test_step import LOSS, NETS, RULES, alike, batches, mlp, snapshot, twins

# ---------------------------------------------------------------- memory

WAYS: dict[str, dict[str, Any]] = {
    "plain, by a schedule": {},
    "clipped": {"clip_norm": 1e-3},
    "added up": {"accumulate": 2},
}


def _clerk_is_through() -> None:
    """Wait for all that was asked for workers so far."""
    workers, done = worker_processes(), Event()
    assert workers is None or not workers.clerk.ask(done.set) or done.wait(60)


@contextmanager
def _allocates_less(than: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < than


def test_a_step_reads_a_batch_where_it_lies() -> None:
    """No backward pass comes later, for which an array would have to be kept as it is."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2048, 2))
    x, y = np.zeros((64, 2048), np.float32), np.zeros(64, np.int64)
    step = lucid.compile_step(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), threads=1)
    step(x, y)
    with _allocates_less(x.nbytes // 2):
        step(x, y)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_allocated_for_a_step(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No array as large as a weight, that is; NumPy takes what it casts, and Lucid what it looks through, at a time.

    Workers are told of a program once, which takes half a megabyte for 64 of them: here soon, and it is waited for.
    """
    monkeypatch.setattr(sharing, "WORTH", 0.0)
    _clerk_is_through()  # there are workers then, if there will be any
    x, y = batches(1, (8, 1024))[0]
    ways: list[dict[str, Any]] = [{}, {"clip_norm": 1e-3}, {"accumulate": 2}]
    for options in ways:
        model = nn.Linear(1024, 256, bias=False)
        optimizer = RULES[rule](model.parameters())
        step, schedule = lucid.compile_step(model, LOSS, optimizer, **options), StepLR(optimizer, 1, 0.9)
        for _ in range(4):
            step(x, y)
            schedule.step()
        _clerk_is_through()
        with _allocates_less(than=model.weight.numpy().nbytes // 4):
            for _ in range(4):
                step(x, y)
                schedule.step()


# ---------------------------------------------------------------- who writes


@pytest.fixture
def shared_by_threads(monkeypatch: pytest.MonkeyPatch, without_workers: None) -> Iterator[None]:
    """Small updates too are shared by two threads, in several blocks each."""
    threads = lucid.get_num_threads()
    lucid.set_num_threads(2, processes=False)
    monkeypatch.setattr(kernels, "LAST_WORK", 1)
    monkeypatch.setattr(work, "FORKS", 0)
    monkeypatch.setattr(iteration_space, "BLOCK_BYTES", 1 << 7)
    monkeypatch.setattr(iteration_space, "THREAD_BYTES", 1 << 9)
    yield
    lucid.set_num_threads(threads, processes=False)


@pytest.mark.usefixtures("shared_by_threads")
def test_threads_share_what_writes_over_parameters() -> None:
    def wide() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 100), nn.ReLU(), nn.Linear(100, 5))

    model, optimizer, other, same = twins(wide, RULES["adam"])
    alone, step = lucid.compile_step(model, LOSS, optimizer, threads=1), lucid.compile_step(other, LOSS, same)
    for x, y in batches(5):
        alone(x, y)
        step(x, y)
    end = step.source[step.source.index("with whole:") :]
    assert "complete(" in end
    assert "share(" not in end
    assert "complete(" not in alone.source
    alike(model, other, 0)


@pytest.mark.usefixtures("shared_by_threads")
def test_what_is_left_in_the_midst_of_a_block_is_taken_up_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may end at any line of its part: the caller goes on from there, and each number is updated once."""
    model, optimizer, other, same = twins(lambda: nn.Sequential(nn.Linear(8, 9), nn.Linear(9, 5)), RULES["momentum"])
    step, alone = lucid.compile_step(other, LOSS, same), lucid.compile_step(model, LOSS, optimizer, threads=1)
    x, y = batches(1)[0]
    left, lines, longest = 0, 0, 0

    class EndError(Exception):
        pass

    def each_line(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        if lines > left:
            raise EndError
        return each_line

    def twice(sharing: Sharing, region: int) -> None:
        nonlocal lines, longest
        function, count = sharing.regions[region]
        for worker in range(count):
            lines = 0
            sys.settrace(each_line)
            try:
                function(worker)
                sys.settrace(None)
            except EndError:
                sys.settrace(None)
                function(worker)
            longest = max(longest, lines)

    monkeypatch.setattr(Sharing, "complete", twice)
    while left <= longest:
        step(x, y)
        alone(x, y)
        alike(model, other, 0)
        left += 1
    assert left > 20


# ---------------------------------------------------------------- whole or not at all


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.parametrize("fixture", [None, "shared_by_threads"])
def test_a_handler_that_raises_ends_a_step_before_or_after_it_never_within(
    fixture: str | None, request: pytest.FixtureRequest
) -> None:
    """At any moment of a hundred steps; the state is always that after as many whole steps as have been counted."""
    if fixture is not None:
        request.getfixturevalue(fixture)
    build, shape = NETS["lenet"]
    model, optimizer, other, same = twins(lambda: build().eval(), RULES["adam"])
    x, y = batches(1, shape)[0]
    step, reference = lucid.compile_step(other, LOSS, same), lucid.compile_step(model, LOSS, optimizer)
    step(x, y)
    states = [snapshot(other, same)]
    for _ in range(60):
        reference(x, y)
        states.append(snapshot(model, optimizer))
    states.pop(0)

    class AlarmError(Exception):
        pass

    def ring(number: int, frame: object) -> None:
        raise AlarmError

    rng, raised = np.random.default_rng(0), 0
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(50):
            try:
                signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(1e-5, 2e-3)))
                step(x, y)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except AlarmError:
                raised += 1
            assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    now = snapshot(other, same)
    count = int(same.state_dict()["state"][0]["step"])
    assert raised > 0
    assert all(np.array_equal(a, b) for a, b in zip(now, states[count - 1], strict=True))


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_parameters_are_written_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    optimizer = RULES["momentum"](model.parameters())
    step = lucid.compile_step(model, LOSS, optimizer, accumulate=2)
    x, y = batches(1)[0]
    step(x, y)
    step(x, y)
    assert step._ran is not None
    whole = step._ran.program.whole
    assert whole is not None
    done = whole._done
    monkeypatch.setattr(whole, "_done", lambda: (signal.raise_signal(signal.SIGINT), done()))
    step(x, y)  # of another form
    with pytest.raises(KeyboardInterrupt):
        step(x, y)
    monkeypatch.undo()
    assert {int(slots["step"]) for slots in optimizer.state_dict()["state"].values()} == {2}
    step(x, y)
    step(x, y)
    assert {int(slots["step"]) for slots in optimizer.state_dict()["state"].values()} == {3}


def test_a_step_that_runs_gives_nothing_back_to_another_thread() -> None:
    """What it has yet to copy into parameters that do not lie row by row, above all."""
    model, optimizer, other, same = twins(mlp, RULES["momentum"])
    alone, step = lucid.compile_step(model, LOSS, optimizer), lucid.compile_step(other, LOSS, same)
    for p in other.parameters():
        p._array = np.asfortranarray(p._array)
    x, y = batches(1)[0]
    step(x, y)
    assert step._ran is not None
    program = step._ran.program
    assert program.whole is not None and program._memory is not None
    whole, copies = program.whole, program._memory.copies
    assert any(place is not array for place, array in zip(copies.places, copies.arrays, strict=True))
    done = whole._done

    def meanwhile() -> None:
        thread = Thread(target=program.release)
        thread.start()
        thread.join()
        done()

    whole._done = meanwhile
    step(x, y)
    for _ in range(2):
        alone(x, y)
    alike(model, other, 0)
