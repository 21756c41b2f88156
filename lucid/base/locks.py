"""Locks that a forked child does not inherit in a locked state."""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol, cast
from weakref import ref


class _Inside(Protocol):
    """What the standard library asks of a lock, in conditions and after a fork."""

    def _is_owned(self) -> bool: ...

    def _at_fork_reinit(self) -> None: ...


_locks: set[ref[RLock]] = set()


def forkable() -> RLock:
    """A lock, reentrant, that a forked child has free, unless the thread that forks holds it.

    What was being made under it when another thread held it is not there, or is there in part: it may guard only what
    is made in full before it is put where others find it.
    """
    lock = RLock()
    _locks.add(ref(lock, _locks.discard))
    return lock


def _free() -> None:
    for each in tuple(_locks):
        lock = cast("_Inside | None", each())
        if lock is not None and not lock._is_owned():
            lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free)
