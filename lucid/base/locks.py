"""Locks that a forked child does not inherit in a locked state."""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol, cast
from weakref import ref


class _Inside(Protocol):
    """Methods of locks that the standard library uses in conditions and after a fork."""

    def _is_owned(self) -> bool: ...

    def _at_fork_reinit(self) -> None: ...


_locks: set[ref[RLock]] = set()


def forkable() -> RLock:
    """A reentrant lock that is free in a forked child, unless the thread that forks holds it.

    If another thread holds it at the fork, what it was changing is left incomplete in the child. So such a lock may
    guard only objects that are complete before they are stored where others find them.
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
