"""How a caller and the workers agree on who does what, and what an exception in the midst of it leaves behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import ExecutionError, LucidError
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.marks import Marks
from lucid.runtime.workers import blas, processes
from lucid.runtime.workers.board import DONE, START, TURN, Abandoned
from lucid.runtime.workers.link import Link
from lucid.runtime.workers.parcel import Region
from lucid.runtime.workers.processes import WorkerProcesses
from lucid.runtime.workers.settings import helpers
from lucid.runtime.workers.sharing import Sharing
from lucid.runtime.workers.vigil import Vigil

from .test_models import answer, helped, images, make_model

pytestmark = pytest.mark.skipif(not helpers(), reason="there are no processes to help here")

Array = np.ndarray[Any, Any]


def shared(workers: WorkerProcesses, shape: tuple[int, ...]) -> Array:
    found = workers.heap.take(8 * int(np.prod(shape)))
    assert found is not None
    return found.view(np.int64).reshape(shape)


def adds(sums: Array, number: int) -> Callable[[int], None]:
    def region(worker: int) -> None:
        sums[worker] += number

    return region


def waits(sums: Array, gate: Array, fails: int = -1) -> Callable[[int], None]:
    """A part of the caller's, and ones of workers that do not end before the gate is open; one may fail at its end."""

    def region(worker: int) -> None:
        sums[worker, 1] = 1  # it has begun
        if worker:
            while not gate[0]:
                sums[worker, 2] = 0
        else:
            while not sums[1, 1]:
                sums[worker, 2] = 0
        if worker == fails:
            sums[99] = 1
        sums[worker, 0] += 1

    return region


def sharing_of(regions: list[Region], count: int = 3) -> Sharing:
    sharing = Sharing(count)
    sharing.regions = regions
    run(sharing)  # they are told
    return sharing


def run(sharing: Sharing, *regions: int) -> None:
    with sharing:
        for region in regions:
            sharing.share(region)


@contextlib.contextmanager
def impatient(workers: WorkerProcesses) -> Iterator[None]:
    """As it is outside of tests, but that each worker is thought to have a core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerProcesses, "patient", False)
        patch.setattr(Link, "distrust", lambda self, now: None)
        for link in workers.links:
            link.trusted = 0.0
        yield


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.001)


def test_every_part_is_done_once_by_its_worker(workers: WorkerProcesses) -> None:
    sums = shared(workers, (3,))
    sharing = sharing_of([(adds(sums, 1), 3), (adds(sums, 10), 2), (adds(sums, 100), 3)])
    for _ in range(50):
        run(sharing, 0, 1, 2, 0)
    assert sums.tolist() == [50 * 112, 50 * 112, 50 * 102] and helped(workers) == [True, True]


def test_what_is_not_begun_is_done_by_the_caller(workers: WorkerProcesses) -> None:
    """Once each, whoever does it: here it is chance, on any machine."""
    sums = shared(workers, (3,))
    sharing = sharing_of([(adds(sums, 1), 3), (adds(sums, 10), 2)])
    with impatient(workers):
        for number in range(1, 400):
            run(sharing, 0, 1, 0, 1)
            assert sums.tolist() == [22 * number, 22 * number, 2 * number]


def test_memory_of_a_run_that_was_interrupted_is_kept_while_a_worker_writes_to_it(workers: WorkerProcesses) -> None:
    sums, gate = shared(workers, (3, 3)), shared(workers, (1,))
    sharing = sharing_of([(waits(sums, gate, fails=0), 2)])
    other = sharing_of([(adds(shared(workers, (3,)), 1), 3)])
    with impatient(workers):
        with pytest.raises(IndexError):
            run(sharing, 0)
        assert sums[:, 0].tolist() == [0, 0, 0]
        busy = workers.links[0]
        with other:
            assert other._turn is None or busy not in other._turn.links
        places = len(workers.heap._places)
        spare = shared(workers, (4,))
        del spare
        gc.collect()
        done: list[int] = []
        workers.clerk.ask(lambda: done.append(1))
        until(lambda: done)
        assert len(workers.heap._places) > places  # nothing is given back while it may write
        gate[0] = 1
        until(lambda: len(workers.heap._places) <= places)
        assert sums[1, 0] == 1


def test_a_worker_that_computes_is_waited_for(workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late it is, if that is less than what counts as hanging."""
    sums, gate = shared(workers, (3, 3)), shared(workers, (1,))
    sharing = sharing_of([(waits(sums, gate), 2)])
    looks, ended = list[int](), WorkerProcesses._ended

    def looked(self: WorkerProcesses, link: Link, pid: int) -> bool:
        looks.append(pid)
        gate[0] = len(looks) > 5
        return ended(self, link, pid)

    monkeypatch.setattr(WorkerProcesses, "_ended", looked)
    with impatient(workers):
        run(sharing, 0)
    assert sums[:, 0].tolist() == [1, 1, 0] and looks == 6 * [workers.pid(workers.links[0])]


@pytest.mark.parametrize("how", ["killed", "stopped", "hangs", "fails"])
def test_a_part_that_is_left_is_not_done_again(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What it has written is not known; when that is said no worker is at the region any more."""
    sums, gate = shared(workers, (3, 3)), shared(workers, (1,))
    sharing, links = sharing_of([(waits(sums, gate, fails=1 if how == "fails" else -1), 3)]), workers.links
    pids = list(map(workers.pid, links))
    monkeypatch.setattr(processes, "HANGS", 0.1 if how == "hangs" else 20.0)
    if how == "hangs":  # both
        monkeypatch.setattr(Vigil, "_look", lambda self: ("S", 0.0))

    def act() -> None:
        until(lambda: sums[1, 1])
        if how in ("killed", "stopped"):
            os.kill(pids[0], {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}[how])
            until(lambda: workers._ended(links[0], pids[0]))
        gate[0] = how != "hangs"

    thread, start = threading.Thread(target=act), time.monotonic()
    thread.start()
    with pytest.raises(Abandoned):
        run(sharing, 0)
    thread.join()
    assert time.monotonic() < start + 15
    assert sums[:, 0].tolist() == [1, 0, int(how != "hangs")]
    for link, pid in zip(links[:1] if how != "hangs" else links, pids, strict=False):
        assert how == "fails" or workers._ended(link, pid)
    workers.clerk.ask(workers._tend)
    assert workers.settle()


def test_where_a_worker_has_failed_it_does_not_try_again(workers: WorkerProcesses) -> None:
    sums = shared(workers, (3, 2))

    def fails_once(worker: int) -> None:
        sums[worker, 0] += 1
        sums[99 if worker == 1 and sums[1, 0] == 1 else worker, 1] += 1

    sharing = sharing_of([(fails_once, 3), (adds(sums[:, 0], 10), 3)])
    with pytest.raises(Abandoned):
        run(sharing, 0)
    run(sharing, 0)
    assert helped(workers) == [False, True]
    run(sharing, 1)
    assert helped(workers) == [True, True], "with the rest it helps"
    assert sums.tolist() == [[12, 2], [12, 1], [12, 2]]


def test_an_error_is_the_callers(workers: WorkerProcesses) -> None:
    sums = shared(workers, (3,))

    def fails(worker: int) -> None:
        sums[worker] += 1
        np.add(sums[:2], np.ones(worker + 4), out=None)

    def fails_there(worker: int) -> None:
        sums[worker + (sums[0] == 0) * 7] += 1  # an index too large where the caller's part is not done

    sharing = sharing_of([(fails, 2), (fails_there, 3)])
    with pytest.raises(ValueError, match="broadcast"):
        run(sharing, 0)
    run(sharing, 1)
    assert sums[2] >= 1
    run(sharing, 1)


def test_what_only_this_process_has_is_no_workers_business(workers: WorkerProcesses) -> None:
    sums, private = shared(workers, (3,)), np.zeros(3, np.int64)

    class Mine:
        value = 1

    mine = Mine()

    def reads(worker: int) -> None:
        sums[worker] += mine.value

    sharing = sharing_of([(adds(private, 1), 3), (reads, 3), (adds(sums, 1), 3)])
    assert sharing._job is not None and sharing._job.regions == {2}
    run(sharing, 0, 1, 2)
    assert private.tolist() == [1, 1, 1] and sums.tolist() == [2, 2, 2]


def test_one_run_has_the_workers_at_a_time(workers: WorkerProcesses) -> None:
    sums = shared(workers, (3,))
    a, b = (sharing_of([(adds(sums, 1), 3)]) for _ in range(2))
    with a:
        assert a._turn is not None
        with b:
            assert b._turn is None
            b.share(0)
        a.share(0)
    with b:
        assert b._turn is not None
        b.share(0)
    assert sums.tolist() == [3, 3, 3]


def test_who_has_the_workers_gives_them_back_by_going(workers: WorkerProcesses) -> None:
    """Without a line of ours that runs."""
    sums = shared(workers, (3,))
    a, b = (sharing_of([(adds(sums, 1), 3)]) for _ in range(2))
    a.__enter__()
    assert a._turn is not None
    a._turn = None
    with b:
        assert b._turn is not None


def test_many_threads_claim(workers: WorkerProcesses) -> None:
    sums = shared(workers, (3,))
    sharings = [sharing_of([(adds(sums, 0), 3)]) for _ in range(4)]
    having: list[int] = []
    wrong: list[int] = []
    end = time.monotonic() + 1

    def claim(sharing: Sharing) -> None:
        while time.monotonic() < end:
            with sharing:
                if sharing._turn is not None:
                    having.append(1)
                    wrong.extend([len(having)] if len(having) > 1 else [])
                    having.pop()

    threads = [threading.Thread(target=claim, args=(sharing,)) for sharing in sharings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(workers._claims) < 10


# ---------------------------------------------------------------- interrupts


@pytest.mark.parametrize("name", ["begin", "share", "end", "_wake", "_have"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_exception_anywhere_leaves_nothing_behind(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    compiled = lucid.compile(make_model(), threads=3)
    want = [answer(compiled, images(seed)) for seed in range(2)]
    own, turns = blas.hold._own, workers.board[TURN]
    for _ in range(3):
        with monkeypatch.context() as patch:
            function, done = getattr(WorkerProcesses, name), []

            def interrupted(self: WorkerProcesses, *args: Any, function: Any = function, done: list[int] = done) -> Any:
                try:
                    return function(self, *args)
                finally:  # nothing but the call itself has what it gave
                    if not done:
                        done.append(1)
                        raise error

            patch.setattr(WorkerProcesses, name, interrupted)
            with contextlib.suppress(KeyboardInterrupt, LucidError):
                for seed in range(2):
                    answer(compiled, images(seed))
        for seed in range(2):
            assert np.array_equal(answer(compiled, images(seed)), want[seed])
        assert workers.board[TURN] > turns and helped(workers) == [True, True]
        turns = workers.board[TURN]
    assert not blas.hold.held() and blas.hold._own == own


def test_a_traceback_that_is_kept_keeps_no_workers(workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an interactive session keeps the last."""
    compiled = lucid.compile(make_model(), threads=3)
    for seed in range(3):
        answer(compiled, images(seed))
    kept: list[BaseException] = []
    for name in ("_gather", "_have"):
        with monkeypatch.context() as patch:

            def interrupted(self: WorkerProcesses, *args: Any) -> Any:
                raise KeyboardInterrupt

            patch.setattr(WorkerProcesses, name, interrupted)
            try:
                answer(compiled, images())
            except KeyboardInterrupt as error:
                kept.append(error)
        turns = workers.board[TURN]
        answer(compiled, images()), answer(compiled, images())
        assert workers.board[TURN] > turns


def test_an_error_that_was_explained_goes_without_the_collector(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, seen = lucid.compile(make_model(), threads=3), []
    for seed in range(3):
        answer(compiled, images(seed))

    class GoingError(MemoryError):
        pass

    def noted(error: BaseException) -> BaseException:
        seen.append(weakref.ref(error))
        return error

    def failing(self: WorkerProcesses, *args: Any) -> None:
        raise noted(GoingError())

    monkeypatch.setattr(WorkerProcesses, "share", failing)
    gc.disable()
    try:
        with contextlib.suppress(LucidError):
            answer(compiled, images())
    finally:
        gc.enable()
    assert seen and seen[0]() is None


def test_a_part_that_was_left_is_not_noticed(workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = lucid.compile(make_model(), threads=3)
    want = [answer(compiled, images(seed)) for seed in range(2)]
    share, calls = WorkerProcesses.share, iter(range(1000))

    def left(self: WorkerProcesses, *args: Any) -> None:
        share(self, *args)
        if next(calls) % 3 == 1:
            raise Abandoned

    monkeypatch.setattr(WorkerProcesses, "share", left)
    for i in range(8):
        assert np.array_equal(answer(compiled, images(i % 2)), want[i % 2])


def test_a_part_that_was_left_changes_no_random_numbers(
    workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Dropout(0.5), make_model()).train()
    compiled = lucid.compile(model, threads=3)

    def draws() -> list[Array]:
        lucid.manual_seed(0)
        return [answer(compiled, images()) for _ in range(4)]

    draws()
    want, share, calls = draws(), WorkerProcesses.share, iter(range(1000))

    def left(self: WorkerProcesses, *args: Any) -> None:
        share(self, *args)
        if next(calls) % 3 == 1:
            raise Abandoned

    monkeypatch.setattr(WorkerProcesses, "share", left)
    assert all(map(np.array_equal, draws(), want))
    assert next(calls) > 3


def raises_timeout(*given: object) -> None:
    raise TimeoutError("from the handler")


def raises_value(number: int, frame: object) -> None:
    raise ValueError("from the handler")


@pytest.mark.parametrize("handler", [raises_timeout, raises_value])
def test_what_a_handler_raises_is_not_explained(handler: Callable[..., None]) -> None:
    def stop() -> None:
        if steps:
            steps.clear()
            signal.raise_signal(signal.SIGUSR1)

    compiled = lucid.compile(make_model(), threads=2)
    want = answer(compiled, images())
    graph, state, steps = compiled.graph, compiled.model.state_dict(), [1]
    run = Executable(graph, threads=2, marks=Marks(), clock=stop)  # type: ignore[arg-type]
    run.load([np.asarray(state[name]) for name in run.parameters], 0)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises((TimeoutError, ValueError), match="from the handler") as caught:
            run(images())
        assert not isinstance(caught.value, ExecutionError)
        np.testing.assert_array_equal(run(images())[0], want)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_load_that_is_interrupted_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    compiled = lucid.compile(model, threads=2)
    answer(compiled, images())
    finish = blas.Hold.finish
    for value in (0.5, 0.25):
        model[0].weight.copy_(model[0].weight.numpy() * value)

        def interrupted(self: blas.Hold) -> None:
            finish(self)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(blas.Hold, "finish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                answer(compiled, images())
        want = answer(lucid.compile(model, threads=2), images())
        np.testing.assert_array_equal(answer(compiled, images()), want)


def test_the_board_is_in_order(workers: WorkerProcesses) -> None:
    for link in workers.links:
        assert workers.board[link.by + START] <= workers.board[TURN]
        assert workers.board[link.by + DONE] >> 1 <= workers.board[TURN]
