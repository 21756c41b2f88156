"""Helper processes: that they work, end, never answer from stale weights, and leave everyone else alone."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.errors import ExecutionError, LucidError
from lucid.runtime import crew as crews
from lucid.runtime import team as teams
from lucid.runtime.crew import ALERT, ASLEEP, LINE, Crew, Region, shared_memory
from lucid.runtime.team import Epoch, Team
from lucid.runtime.threads import others_asleep, pool, set_num_threads

from .test_threads import blas_threads

pytestmark = pytest.mark.skipif(not crews.POSSIBLE, reason="programs have no processes here")

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def processes_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes from the first run on, three cores (as it were), and an error in place of waiting for ever.

    No thread of the test runner's is within BLAS.
    """

    def alarm(number: int, frame: object) -> None:
        raise TimeoutError("waited for ever")

    monkeypatch.setattr(teams, "WORTH", 0.0)
    monkeypatch.setattr(teams, "others_asleep", lambda: True)
    count, before = pool().threads, signal.signal(signal.SIGALRM, alarm)
    set_num_threads(3)
    signal.setitimer(signal.ITIMER_REAL, 30)
    yield
    set_num_threads(count)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- what the tests look at


class Sums:
    """Regions in which each worker adds to a number of its own and says who it is."""

    def __init__(self, workers: int = 3) -> None:
        self.sums, self.pids = shared_memory(64 * workers).view(np.int64).reshape(2, workers, -1)[..., 0]
        self.regions: list[Region] = [(self.add(1), workers), (self.add(10), workers), (self.add(100), 2)]

    def add(self, number: int) -> Callable[[int], None]:
        def region(worker: int) -> None:
            self.sums[worker] += number
            self.pids[worker] = os.getpid()

        return region


@contextlib.contextmanager
def crew_of(regions: Sequence[Region], helpers: int = 1) -> Iterator[Crew]:
    crew = Crew(regions, helpers)
    try:
        yield crew
    finally:
        crew.close()


def alone(function: Callable[[], object]) -> Callable[[int], None]:
    """A region that does something in helpers only."""
    caller = os.getpid()
    return lambda worker: None if os.getpid() == caller else void(function())


def void(_: object) -> None:
    return


def children() -> set[int]:
    """This process's, the ones included that have ended and that nobody asked about."""
    found = (task / "children" for task in Path("/proc/self/task").iterdir())
    return {int(pid) for path in found for pid in path.read_text().split()}


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


def asleep(crew: Crew) -> bool:
    return all(crew._board[place + ASLEEP] for place in crew._places)


def run(team: Team, region: int = 0) -> None:
    with team:
        team.share(region)


def team_of(regions: Sequence[Region], workers: int = 3) -> Team:
    team = Team(workers, Epoch())
    team.regions = regions
    return team


def nothing_held(blas: list[int]) -> bool:
    """The cores can be had, and BLAS has its threads."""
    if not pool().claim():
        return False
    pool().unclaim()
    return blas_threads() == blas


# ---------------------------------------------------------------- a crew


def test_every_worker_is_a_process_and_does_each_region_once() -> None:
    work = Sums()
    with crew_of(work.regions, 2) as crew:
        for _ in range(20):
            assert crew.begin()
            for region in (0, 1, 2, 0):
                crew.share(region)
            crew.end()
        assert work.pids.tolist() == [os.getpid(), *crew._pids]
    assert work.sums.tolist() == [20 * 112, 20 * 112, 20 * 12]  # there is work for two in the third region


def test_helpers_that_sleep_are_woken() -> None:
    """Also where a run begins just as they fall asleep."""
    work = Sums(2)
    with crew_of(work.regions) as crew:
        crew._board[LINE + ASLEEP] = 0
        for i in range(150):
            assert crew.begin()
            crew.share(0)
            crew.end()
            if i < 5:
                until(lambda: asleep(crew))
            else:  # about as long as it takes
                end = time.perf_counter() + ALERT * 120e-9 * (i % 50) / 50
                while time.perf_counter() < end:
                    pass
    assert work.sums.tolist() == [150, 150]


def test_a_helper_uses_one_thread_and_none_of_the_callers_files() -> None:
    read, write = os.pipe()
    matrix = np.ones((200, 200))
    team = team_of([(lambda worker: void(matrix @ matrix), 2)], 2)
    run(team)
    assert team._crew is not None
    (pid,) = team._crew._pids
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    assert len(os.listdir(f"/proc/{pid}/fd")) == 1
    os.close(write)
    assert os.read(read, 1) == b""  # the end, as nobody else could write
    os.close(read)
    team.dismiss()


def test_signals_are_the_callers() -> None:
    heard = shared_memory(8)
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
    before = [signal.signal(number, lambda number, frame: heard.__setitem__(0, 1)) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    work = Sums()
    try:
        with crew_of(work.regions, 2) as crew:
            for number in numbers:
                assert crew.begin()
                crew.share(0)
                crew.end()
                for pid in crew._pids:
                    os.kill(pid, number)
            assert crew.begin()
            crew.share(0)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert work.sums.tolist() == [4, 4, 4] and not heard[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


@pytest.mark.parametrize("pause", [0, 0.02])
def test_an_error_in_a_helper_is_raised_in_the_caller(pause: float) -> None:
    """Whether the caller waits for the helper or comes later."""

    def region(worker: int) -> None:
        if worker:
            raise ValueError("a bad block")
        time.sleep(pause)

    with crew_of([(region, 2)]) as crew:
        assert crew.begin()
        with pytest.raises(ValueError, match="a bad block"):
            crew.share(0)
        assert not crew.begin() and not children() & set(crew._pids)


def test_an_error_that_only_a_helper_has_is_told() -> None:
    def fail() -> None:
        raise MemoryError("no 8 GB – here")

    with crew_of([(alone(fail), 2)]) as crew:
        assert crew.begin()
        with pytest.raises(ExecutionError, match=r"a helper process failed .*MemoryError\('no 8 GB"):
            crew.share(0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_in_the_caller_no_helper_goes_on(error: type[BaseException]) -> None:
    ticks = shared_memory(8)

    def region(worker: int) -> None:
        if not worker:
            until(lambda: ticks[0] > 0)
            raise error
        while True:
            ticks[0] = ticks[0] % 100 + 1

    with crew_of([(region, 2)]) as crew:
        assert crew.begin()
        with pytest.raises(error):
            crew.share(0)
        seen = ticks[0]
        time.sleep(0.01)
        assert ticks[0] == seen and not children() & set(crew._pids)


def test_a_helper_that_is_killed_in_a_run_is_noticed() -> None:
    with crew_of([(alone(lambda: os.kill(os.getpid(), signal.SIGKILL)), 2)]) as crew:
        assert crew.begin()
        with pytest.raises(ExecutionError, match=r"ended in the middle of a run \(status -9\)"):
            crew.share(0)
        assert not crew.begin()


def test_helpers_that_were_killed_asleep_are_replaced() -> None:
    work = Sums()
    team = team_of(work.regions)
    run(team)
    first = team._crew
    assert first is not None
    until(lambda: asleep(first))
    os.kill(first._pids[0], signal.SIGKILL)
    until(lambda: os.waitid(os.P_PID, first._pids[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
    run(team)
    assert team._crew is not None and team._crew is not first
    assert work.sums.tolist() == [2, 2, 2] and not children() & set(first._pids)
    assert work.pids.tolist() == [os.getpid(), *team._crew._pids]
    team.dismiss()


def test_closing_leaves_no_process_no_zombie_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(), children()
    crew = Crew(Sums().regions, 2)
    pids = crew._pids
    assert set(pids) <= children()
    os.kill(pids[0], signal.SIGKILL)
    os.waitpid(pids[0], 0)  # someone else asks: the number may be another process's from now on
    killed: list[int] = []
    kill = os.kill

    def note(pid: int, number: int) -> None:
        killed.append(pid)
        kill(pid, number)

    monkeypatch.setattr(os, "kill", note)
    crew.close()
    crew.close()
    assert killed == pids[1:]
    assert (files(), children()) == before


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("call", ["fork", "eventfd"])
def test_half_a_crew_is_none(monkeypatch: pytest.MonkeyPatch, call: str, error: type[BaseException]) -> None:
    work, blas, before = Sums(), blas_threads(), (files(), children())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    team = team_of(work.regions)
    function, calls = getattr(os, call), iter(range(9))

    def second_fails(*args: object) -> object:
        if next(calls) == 1:
            raise error
        return function(*args)

    monkeypatch.setattr(os, call, second_fails)
    with contextlib.nullcontext() if error is OSError else pytest.raises(error) as caught:
        run(team)
    assert (caught is None) == (error is OSError)  # it keeps all frames alive, as a debugger would
    assert (files(), children()) == before and nothing_held(blas)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    run(team)  # on threads where the system has no more to give, with processes otherwise
    assert set(work.pids.tolist()) == {os.getpid(), *(team._crew._pids if team._crew else ())}
    assert (team._crew is None) == (error is OSError)
    assert set(work.sums.tolist()) == {2 if error is OSError else 1}
    team.dismiss()


# ---------------------------------------------------------------- a team


@pytest.mark.parametrize("method", ["begin", "share", "end"])
@pytest.mark.parametrize("run_before", [False, True])
def test_an_interrupt_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch, method: str, run_before: bool) -> None:
    work, blas = Sums(), blas_threads()
    team = team_of(work.regions)
    if run_before:
        run(team)
    done: list[str] = []
    function = getattr(Crew, method)

    def interrupted(self: Crew, *args: int) -> object:
        result = function(self, *args)
        if not done:
            done.append(method)
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Crew, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(team)
    assert done and nothing_held(blas)
    assert team._crew is None or not team._crew._board[crews.DUTY]
    before = work.sums[0]
    run(team)
    assert team._crew is not None and work.pids.tolist() == [os.getpid(), *team._crew._pids]
    assert work.sums.tolist() == [before + 1] * 3
    team.dismiss()


def test_an_error_within_a_run_leaves_nothing_held() -> None:
    work, blas = Sums(), blas_threads()
    team = team_of(work.regions)
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), team:
            team.share(0)
            assert not pool().claim() and set(blas_threads()) <= {1}
            1 / 0  # noqa: B018
        assert nothing_held(blas)
    assert work.sums.tolist() == [2, 2, 2]
    team.dismiss()


def test_only_so_many_teams_have_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ran last keeps its own; who lost them has to be worth it again."""
    monkeypatch.setattr(teams, "MOST", 2)
    a, b, c = (team_of(Sums(2).regions, 2) for _ in range(3))
    for team in (a, b, a):
        run(team)
    b._spent = 99.0
    run(c)
    assert [team._crew is not None for team in (a, b, c)] == [True, False, True]
    monkeypatch.setattr(teams, "WORTH", 60.0)
    run(b)
    assert b._crew is None
    monkeypatch.setattr(teams, "WORTH", 0.0)
    run(b)
    assert [team._crew is not None for team in (a, b, c)] == [False, True, True]
    for team in (b, c):
        team.dismiss()


def test_processes_have_to_be_worth_it_and_end_with_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "WORTH", 0.02)
    epoch = Epoch()
    team = Team(2, epoch)
    work = Sums(2)
    team.regions = work.regions
    for _ in range(2):
        run(team)
        assert team._crew is None
        with team:
            time.sleep(0.02)
        run(team)
        assert team._crew is not None and work.pids[1] == team._crew._pids[0]
        epoch.number += 1
    run(team)
    assert team._crew is None and work.pids.tolist() == [os.getpid()] * 2
    assert work.sums.tolist() == [5, 5]


def test_a_brief_run_waits_for_nobody() -> None:
    work = Sums(2)
    team = Team(2, Epoch(), brief=True)
    team.regions = work.regions
    team._seen, team._spent = 0, -1.0
    run(team)  # not worth processes: no threads either
    assert work.pids.tolist() == [os.getpid()] * 2 and team._crew is None
    team._spent = 0.0
    run(team)
    crew = team._crew
    assert crew is not None and work.pids[1] == crew._pids[0]
    until(lambda: asleep(crew))
    team._last = -1.0
    run(team)  # asleep, and not called, as the last run was long ago
    time.sleep(0.01)
    assert work.pids[1] == os.getpid() and asleep(crew)
    team._last = time.perf_counter()
    run(team)  # alone, but it is called: it is awake a while
    assert work.pids[1] == os.getpid() and work.sums.tolist() == [4, 4]

    def helped() -> bool:
        for _ in range(100):
            run(team)
        return bool(work.pids[1] == crew._pids[0])

    until(helped)
    assert team._crew is crew and work.sums[0] == work.sums[1]
    team.dismiss()


def test_a_brief_run_that_meets_a_helper_lying_down_wakes_it() -> None:
    work = Sums(2)
    team = Team(2, Epoch(), brief=True)
    team.regions = work.regions
    for pause in np.linspace(0, 4e-4, 400):  # helpers lie down some 0.2 ms after a run
        run(team)
        end = time.perf_counter() + pause
        while time.perf_counter() < end:
            pass
    assert work.sums.tolist() == [400, 400]
    team.dismiss()


def test_a_brief_run_replaces_a_helper_that_ended() -> None:
    work = Sums(2)
    team = Team(2, Epoch(), brief=True)
    team.regions = work.regions
    run(team)
    crew = team._crew
    assert crew is not None
    until(lambda: asleep(crew))
    os.kill(crew._pids[0], signal.SIGKILL)
    team._last = time.perf_counter()
    until(lambda: crews._ended(crew._pids[0]) is not None or not crew.usable)
    for _ in range(3):
        team._last = time.perf_counter()
        run(team)
    assert team._crew is not None and team._crew is not crew and not crew.usable
    assert work.sums.tolist() == [4, 4]
    team.dismiss()


def test_who_may_not_have_processes_asks_again_before_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "WORTH", 1.0)
    monkeypatch.setattr(teams, "AGAIN", 0.5)
    monkeypatch.setattr(teams, "others_asleep", lambda: False)
    work = Sums(2)
    team = Team(2, Epoch())
    team.regions = work.regions
    team._seen, team._spent = 0, 1.0
    run(team)
    assert team._crew is None and 0.5 < team._spent < 0.9


def test_the_threads_that_were_set_are_the_limit() -> None:
    work = Sums()
    team = team_of(work.regions)
    try:
        for count, processes in [(3, True), (2, True), (1, True), (3, True), (3, False), (4, True)]:
            set_num_threads(count, processes=processes)
            run(team)
            assert (team._crew is not None) == (count >= 3 and processes)
    finally:
        set_num_threads(3)
        team.dismiss()
    assert work.sums.tolist() == [6, 6, 6]


def test_no_process_is_forked_while_another_thread_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be one of BLAS's, which would be waited for forever; one that sleeps is no obstacle."""

    def run_beside(target: Callable[[], object] | None, end: threading.Event) -> bool:
        """Whether the run had processes."""
        end.clear()
        work, team = Sums(), None
        thread = None if target is None else threading.Thread(target=target)
        team = team_of(work.regions)
        for _ in range(100):  # BLAS's own threads stay awake for a while after a product, and after a fork
            if not others_asleep():
                time.sleep(0.02)
        if thread is not None:
            thread.start()
            time.sleep(0.02)
        run(team)
        end.set()
        if thread is not None:
            thread.join()
        assert work.sums.tolist() == [1, 1, 1]
        return team._crew is not None

    monkeypatch.setattr(teams, "others_asleep", others_asleep)
    end, big = threading.Event(), np.ones(1 << 22)

    def busy() -> None:
        while not end.is_set():
            big.sum()

    # the test runner's own threads may wake at any moment, so once in a few tries
    assert any(run_beside(None, end) for _ in range(5))
    assert any(run_beside(end.wait, end) for _ in range(5))
    assert not any(run_beside(busy, end) for _ in range(3))


def test_a_helper_that_does_not_begin_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "BIRTH", 0.2)
    monkeypatch.setattr(crews, "_serve", lambda *given: (time.sleep(5), os._exit(0)))
    work = Sums()
    team = team_of(work.regions)
    run(team)
    assert work.sums.tolist() == [1, 1, 1]
    assert team._crew is None
    assert not team._possible


def test_while_another_has_the_cores_a_run_takes_none() -> None:
    work = Sums()
    team = team_of(work.regions)
    run(team)
    assert pool().claim()
    run(team)
    assert work.pids.tolist() == [os.getpid()] * 3
    pool().unclaim()
    run(team)
    assert team._crew is not None and work.pids.tolist() == [os.getpid(), *team._crew._pids]
    assert work.sums.tolist() == [3, 3, 3]
    team.dismiss()


# ---------------------------------------------------------------- models


def make_model() -> nn.Sequential:
    lucid.manual_seed(3)
    return nn.Sequential(nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))


def images(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((2, 16, 40, 40), np.float32)


def crews_of(compiled: Any) -> list[Crew]:
    """Those of the programs in memory; there may be several where several threads have called."""
    wanted = {id(e._epoch) for e in compiled._current()._executables.values()}
    found = (seat() for seat in teams._seated)
    return [team._crew for team in found if team is not None and id(team._epoch) in wanted and team._crew is not None]


def answer(model: Any, x: Array) -> Array:
    with lucid.no_grad():
        return np.array(model(Tensor(x)))


def ask(compiled: Any, seed: int, y: Array, times: int) -> None:
    assert all(np.array_equal(answer(compiled, images(seed)), y) for _ in range(times))


@pytest.fixture(scope="module")
def expected() -> list[Array]:
    """What a program of one thread answers."""
    compiled = lucid.compile(make_model(), threads=1)
    return [answer(compiled, images(seed)) for seed in range(4)]


@pytest.mark.parametrize("workers", [2, 3])
def test_a_model_answers_as_with_threads(workers: int) -> None:
    compiled = lucid.compile(make_model(), threads=workers)
    set_num_threads(3, processes=False)
    on_threads = [answer(compiled, images(seed)) for seed in range(3)]
    assert compiled.plan.names.regions and not crews_of(compiled)
    set_num_threads(3)
    for seed in (0, 1, 2, 0):
        np.testing.assert_array_equal(answer(compiled, images(seed)), on_threads[seed])
    (crew,) = crews_of(compiled)
    assert len(crew._pids) == workers - 1
    assert crew._board[crews.TURN] == 4 * len(compiled.plan.names.regions)


def test_weights_are_never_stale() -> None:
    model = make_model()
    compiled = lucid.compile(model, threads=2)
    first, last = model[0], model[2]
    sgd = optim.SGD(model.parameters(), lr=1e-4)
    other = {name: np.array(value) + 0.1 for name, value in model.state_dict().items()}

    def step() -> None:
        model(Tensor(images())).sum().backward()
        sgd.step()

    def replace() -> None:
        last.weight = nn.Parameter(Tensor(np.array(last.weight.numpy()[::-1])))

    seen: list[Array] = []
    changes: list[Callable[[], object]] = [
        lambda: first.weight.copy_(first.weight.numpy() * 0.5 + 0.02),
        lambda: model.load_state_dict(other),
        step,
        replace,
        lambda: nn.init.constant_(last.bias, 7.0),
    ]
    for change in changes:
        answer(compiled, images(0))
        found = answer(compiled, images(1))
        # the eager model sums directly, the compiled one by Winograd, right to some 1e-5; a stale weight shows
        np.testing.assert_allclose(found, answer(model, images(1)), rtol=1e-3, atol=1e-3 * np.abs(found).max())
        assert len(crews_of(compiled)) == 1
        assert all(np.abs(found - before).max() > 1e-2 * np.abs(found).max() for before in seen)
        seen.append(found)
        change()
    np.testing.assert_array_equal(answer(compiled, images()), answer(lucid.compile(model, threads=1), images()))


def test_a_model_takes_its_helpers_along() -> None:
    compiled = lucid.compile(make_model(), threads=3)
    answer(compiled, images())
    pids = {pid for crew in crews_of(compiled) for pid in crew._pids}
    assert len(pids & children()) == 2
    gc.collect()
    before = files()
    del compiled
    gc.collect()
    assert not pids & children() and files() == before - 2


def test_several_threads_and_several_models(expected: list[Array]) -> None:
    models = [lucid.compile(make_model(), threads=2) for _ in range(2)]
    for compiled in models:
        ask(compiled, 0, expected[0], 1)
    boards = [crews_of(compiled)[0]._board for compiled in models]
    turns = [board[crews.TURN] for board in boards]

    def calls(number: int) -> list[Array]:
        return [answer(models[(number + i) % 2], images((number + i) % 4)) for i in range(12)]

    with ThreadPoolExecutor(3) as callers:
        for number, found in enumerate(callers.map(calls, range(3))):
            for i, y in enumerate(found):
                np.testing.assert_array_equal(y, expected[(number + i) % 4])
    assert any(
        board[crews.TURN] > turn for board, turn in zip(boards, turns, strict=True)
    )  # who had the cores is chance


def test_a_failure_of_a_helper_names_the_node(expected: list[Array]) -> None:
    compiled = lucid.compile(make_model(), threads=2)
    answer(compiled, images())
    (crew,) = crews_of(compiled)
    until(lambda: asleep(crew))
    crew._board[LINE + ASLEEP] = 0  # as if it were killed only after the run has begun
    os.kill(crew._pids[0], signal.SIGKILL)
    with pytest.raises(LucidError, match=r"0.conv2d: .*helper process \d+ ended in the middle of a run"):
        answer(compiled, images())
    np.testing.assert_array_equal(answer(compiled, images()), expected[0])


# ---------------------------------------------------------------- other processes


def test_a_child_of_the_users_shares_neither_helpers_nor_memory(expected: list[Array]) -> None:
    compiled = lucid.compile(make_model(), threads=2)
    ask(compiled, 0, expected[0], 2)
    (crew,) = crews_of(compiled)
    child = multiprocessing.get_context("fork").Process(target=ask, args=(compiled, 1, expected[1], 25))
    child.start()
    while child.is_alive():
        ask(compiled, 0, expected[0], 1)
    child.join()
    assert child.exitcode == 0
    turn = crew._board[crews.TURN]
    ask(compiled, 0, expected[0], 1)
    assert crews_of(compiled) == [crew] and crew._board[crews.TURN] > turn


def ask_anew(y: Array) -> int:
    teams.WORTH = 0.0
    teams.others_asleep = lambda: True  # no thread of this process is within BLAS
    set_num_threads(3)
    compiled = lucid.compile(make_model(), threads=2)
    ask(compiled, 2, y, 3)
    return len(crews_of(compiled))


def test_a_spawned_child_has_helpers_of_its_own(expected: list[Array]) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        assert processes.apply(ask_anew, (expected[2],)) == 1


SCRIPT = """
import os, signal, sys, time
from lucid.runtime import team as teams
from lucid.runtime.crew import shared_memory
teams.WORTH = 0.0
teams.others_asleep = lambda: True
teams.pool().threads = 2
team = teams.Team(2, teams.Epoch())
pids = shared_memory(16).view("q")
team.regions = [(lambda worker: pids.__setitem__(worker, os.getpid()), 2)]
def run():
    with team:
        team.share(0)
    return int(pids[1])
helper = run()
assert helper != os.getpid()
def say():
    print(helper, flush=True)
"""
"""A process with one helper."""

ENDS = {
    "error": "say(); raise SystemError",
    "os._exit": "say(); os._exit(3)",
    "killed at rest": "say(); time.sleep(60)",
    "killed in a run": "with team: say(); time.sleep(60)",
}
OWN_FORK = """
child = os.fork()
if not child:
    team._crew.close()
    sys.exit(run() == helper)  # another program would have an arena of its own as well
assert os.waitpid(child, 0)[1] == 0
assert run() == helper
with team:  # the helper is awake
    child = os.fork()
    if not child:
        os._exit(run() == helper)
    assert os.waitpid(child, 0)[1] == 0
assert run() == helper
print("good")
"""


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Processes whose parent ends are given to this one."""
    PR_SET_CHILD_SUBREAPER = 36  # noqa: N806
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0)


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + script], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended_well(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) == (pid, 0)


def test_helpers_end_with_their_parent(subreaper: None) -> None:
    started = {end: start(script) for end, script in ENDS.items()}
    helpers = {}
    for end, process in started.items():
        assert process.stdout is not None
        helpers[end] = int(process.stdout.readline())
        if end.startswith("killed"):
            process.kill()
    for process in started.values():
        process.communicate(timeout=20)
    for end, helper in helpers.items():
        if end == "error":  # which waited for it
            assert not Path(f"/proc/{helper}").exists()
        else:
            until(partial(ended_well, helper), seconds=2)


def test_a_plain_fork_of_the_users_does_not_touch_the_helpers() -> None:
    out, err = start(OWN_FORK).communicate(timeout=20)
    assert out.split() == ["good"], err


def test_helpers_keep_off_the_callers_core() -> None:
    """Where there is one more: the system would wake them on it, and leave them there."""
    cores = os.sched_getaffinity(0)
    crew = Crew(Sums().regions, 1)
    try:
        allowed = os.sched_getaffinity(crew._pids[0])
        assert allowed <= cores and allowed
        assert len(allowed) == max(1, len(cores) - 1)
    finally:
        crew.close()
