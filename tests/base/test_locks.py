"""Locks after a fork: free of threads that the child has not, and held on by the one that it has."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable

import pytest

import lucid
from lucid import Tensor, nn
from lucid.base import locks
from lucid.base.locks import forkable

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


def in_child(function: Callable[[], bool]) -> bool:
    """Whether a forked child finds it true, within ten seconds."""
    child = os.fork()
    if not child:
        try:
            signal.alarm(10)
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_a_child_has_a_lock_free_that_another_thread_held() -> None:
    lock, held, over = forkable(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    assert not lock.acquire(blocking=False)
    assert in_child(lambda: lock.acquire(blocking=False))
    assert not lock.acquire(blocking=False)
    over.set()
    thread.join()


def test_a_child_holds_on_what_its_thread_held() -> None:
    lock = forkable()

    def released() -> bool:
        other = threading.Thread(target=lambda: seen.append(lock.acquire(blocking=False)))
        other.start()
        other.join()
        lock.release()
        return seen == [False]

    seen: list[bool] = []
    with lock:
        assert in_child(released)


def test_a_lock_that_is_gone_is_forgotten() -> None:
    gc.collect()  # what others have left goes before, not meanwhile
    before, kept = len(locks._locks), [forkable() for _ in range(3)]
    assert len(locks._locks) == before + 3
    del kept
    gc.collect()
    assert len(locks._locks) == before


def test_a_child_calls_a_model_that_another_thread_traces() -> None:
    tracing, over = threading.Event(), threading.Event()
    parent = os.getpid()

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tracing.set()
            if os.getpid() == parent:
                over.wait()
            return x + 1

    compiled, x = lucid.compile(Slow()), lucid.ones(2)
    thread = threading.Thread(target=compiled, args=(x,), daemon=True)
    thread.start()
    tracing.wait()
    assert in_child(lambda: bool(compiled(x).tolist() == [2.0, 2.0]))
    over.set()
    thread.join()
    assert compiled(x).tolist() == [2.0, 2.0]
