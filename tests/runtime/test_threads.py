"""The thread pool, and compiled models called from many threads."""

from __future__ import annotations

import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

from lucid.errors import OptionError
from lucid.runtime.workers import cores
from lucid.runtime.workers.settings import get_num_threads, set_num_threads
from lucid.runtime.workers.threads import ThreadPool


def blas_threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [c.num_threads for c in threadpoolctl.ThreadpoolController().lib_controllers if c.user_api == "blas"]


def test_every_block_runs_once() -> None:
    pool = ThreadPool(3)
    for count in (0, 1, 2, 3, 17):
        seen: list[int] = []
        pool.run(seen.append, count)
        assert sorted(seen) == list(range(count))
    pool.close()


def test_blocks_run_in_several_threads() -> None:
    pool = ThreadPool(2)
    barrier = threading.Barrier(2, timeout=120)
    pool.run(lambda i: barrier.wait(), 2)  # would break if one thread ran both
    pool.close()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be told where to run here")
def test_workers_keep_off_the_callers_core() -> None:
    """Where there is one more: the system would wake them on it, and leave them there."""
    pool, cores = ThreadPool(2), os.sched_getaffinity(0)
    found: dict[int, set[int]] = {}
    barrier = threading.Barrier(2, timeout=120)

    def look(i: int) -> None:
        barrier.wait()
        found[threading.get_native_id()] = os.sched_getaffinity(0)

    pool.run(look, 2)  # starts the worker
    pool.run(look, 2)
    assert found.pop(threading.get_native_id()) == cores
    (allowed,) = found.values()
    assert allowed <= cores and len(allowed) == max(1, len(cores) - 1)
    pool.close()


def test_an_error_in_any_block_is_raised_and_the_pool_lives_on() -> None:
    pool = ThreadPool(2)
    for bad in (0, 1, 7):

        def work(i: int, bad: int = bad) -> None:
            if i == bad:
                raise ValueError(f"block {i}")

        with pytest.raises(ValueError, match=f"block {bad}"):
            pool.run(work, 8)
    seen: list[int] = []
    pool.run(seen.append, 4)
    assert sorted(seen) == [0, 1, 2, 3]
    pool.close()


def test_blas_is_held_to_one_thread_and_given_back() -> None:
    pool = ThreadPool(2)
    before = blas_threads()
    during: list[list[int]] = []
    pool.run(lambda i: during.append(blas_threads()), 2)
    assert all(set(counts) <= {1} for counts in during)
    assert blas_threads() == before
    with pytest.raises(ValueError, match="x"):
        pool.run(lambda i: (_ for _ in ()).throw(ValueError("x")), 2)
    assert blas_threads() == before
    pool.close()


def test_nested_and_concurrent_runs_do_not_deadlock_or_oversubscribe() -> None:
    pool = ThreadPool(2)
    active, most, lock = 0, 0, threading.Lock()

    def leaf(i: int) -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.001)
        with lock:
            active -= 1

    def outer(i: int) -> None:
        pool.run(leaf, 4)

    with ThreadPoolExecutor(3) as callers:
        list(callers.map(lambda i: pool.run(outer, 3), range(6)))
    assert most <= 3 + 1  # three callers, one worker
    pool.close()


def test_set_num_threads() -> None:
    before = get_num_threads()
    try:
        set_num_threads(1)
        assert get_num_threads() == 1
    finally:
        set_num_threads(before)
    for bad in (0, -1, True, 1.5, "2"):
        with pytest.raises(OptionError, match="set_num_threads"):
            set_num_threads(bad)  # type: ignore[arg-type]


def test_what_is_over_is_not_held_by_threads_that_have_not_looked() -> None:
    pool, gate, begun = ThreadPool(2), threading.Event(), threading.Event()

    def waits(block: int) -> None:
        if threading.current_thread() is not caller:
            begun.set()
            gate.wait(600)
        else:
            begun.wait(600)
            raise ArithmeticError  # so that nobody waits for the other

    caller = threading.current_thread()
    with pytest.raises(ArithmeticError):
        pool.run(waits, 2)
    functions = []
    for _ in range(3):
        done: list[int] = []

        def function(block: int, done: list[int] = done) -> None:
            done.append(block)

        pool.run(function, 4)
        assert sorted(done) == [0, 1, 2, 3]
        functions.append(weakref.ref(function))
        del function
    assert [ref() for ref in functions] == [None] * 3
    gate.set()
    pool.close()


def test_threads_may_begin_while_others_are_kept_off(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPool(2)
    pool.run(lambda i: None, 2)
    pool._workers.append(0)

    def begin(task: int, where: object) -> None:
        if len(pool._workers) < 9:
            pool._workers.append(0)

    monkeypatch.setattr(cores, "others", lambda: {0})
    monkeypatch.setattr(os, "sched_setaffinity", begin)
    done: list[int] = []
    pool.run(done.append, 2)
    assert sorted(done) == [0, 1]
    pool.close()
