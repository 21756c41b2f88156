"""How many workers a run may have, and whether they may be processes: what ``lucid.set_num_threads`` sets."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from ...base import changes, checks
from ...base.arrays import Array
from ...base.lazy import LazyModule
from . import blas
from .threads import pool, replace_pool

if TYPE_CHECKING:
    from .heap import Lasting
    from .processes import WorkerProcesses

started = LazyModule("lucid.runtime.workers.processes")  # not imported before there is work to share

POSSIBLE = sys.platform == "linux" and os.uname().machine == "x86_64" and hasattr(os, "memfd_create")
"""Whether this system supports worker processes."""


def _can_start_again() -> bool:
    """Whether the executable is a Python interpreter: a frozen or embedding program would start itself."""
    program = os.path.basename(sys.executable or "").lower()
    return program.startswith("python") and not getattr(sys, "frozen", False)


ALIGNMENT = 64
"""Bytes of a cache line, to which arrays are aligned."""

MOST_THREADS = 1024
"""The most threads that may be set; more must be a mistake."""

_made: list[WorkerProcesses] = []
"""The process's workers, preceded by those it had as another user, since arrays may still be in their memory."""
_allowed = [POSSIBLE and _can_start_again()]
_asked = [True]


def helpers() -> bool:
    """Whether programs can use worker processes."""
    return _allowed[0]


def worker_processes() -> WorkerProcesses | None:
    """The workers of this process, if they are wanted and possible."""
    if not (_allowed[0] and _asked[0]) or pool().threads < 2:
        return None
    if _made and _made[-1].identity == started.identity():
        return _made[-1]
    try:
        made: WorkerProcesses = started.WorkerProcesses()
    except (OSError, ValueError, AttributeError):
        _allowed[0] = False
        return None
    for old in _made:
        old.retire()
    _made.append(made)
    made.want(pool().threads - 1)
    return made


MAPPED = 1 << 20 if sys.platform == "linux" else 1 << 63
"""Bytes from which memory is mapped, and so returned to the system when freed; ``malloc`` would keep much of it."""


def shared_bytes(count: int) -> Array:
    """Memory of ``count`` bytes, shared with the workers if there are any, otherwise private."""
    workers = worker_processes()
    found = None if workers is None else workers.heap.take(count)
    return private_bytes(count) if found is None else found


def lasting_copy(array: Array) -> Array | None:
    """A copy of an array in shared memory; None if there is none, or the array is there already.

    A forked child has its content at that time, and does not see later writes.
    """
    workers = worker_processes()
    if workers is None or workers.heap.reaches(array):
        return None
    found = workers.heap.take(array.nbytes, lasting=True)
    if found is None:
        return None
    made: Array = found.view(array.dtype).reshape(array.shape)
    np.copyto(made, array)
    return made


def reached(array: Array) -> bool:
    """Whether an array is in shared memory."""
    workers = worker_processes()
    return workers is not None and workers.heap.reaches(array)


def private_bytes(count: int) -> Array:
    """Private memory of ``count`` bytes, aligned to 64; large blocks are put on large pages."""
    if count >= MAPPED:
        with contextlib.suppress(OSError, ValueError, OverflowError):  # NumPy then raises MemoryError
            pages = mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with contextlib.suppress(OSError):  # a system without large pages uses normal ones
                pages.madvise(mmap.MADV_HUGEPAGE)  # the system merges adjacent mappings, which may share such pages
            return np.frombuffer(pages, np.uint8)
    memory = np.empty(count + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + count]


def get_num_threads() -> int:
    """How many threads a compiled model may use."""
    return pool().threads


def set_num_threads(threads: int, *, processes: bool = True) -> None:
    """Set how many threads models compiled from now on may use.

    Parameters
    ----------
    threads
        The number, including the caller's thread. 1 means a single thread: BLAS keeps to it too, also in eager
        operations. By default, as many as the process has cores (by its affinity and the quotas of its control groups),
        and no more than ``OMP_NUM_THREADS``, ``OPENBLAS_NUM_THREADS`` or ``MKL_NUM_THREADS`` allow.
    processes
        Whether worker processes may take the place of the other threads (on Linux and x86-64), as they need not wait
        for the interpreter lock. They belong to the whole process, are started in the background, serve all models, and
        share nothing with it but the memory that they work in.
    """
    threads = checks.integer("set_num_threads", "threads", threads, 1, MOST_THREADS)
    checks.flag("set_num_threads", "processes", processes)
    if threads == 1 or pool().threads == 1:
        blas.hold.limit(threads == 1)
    replace_pool(threads)
    _asked[0] = processes
    if _made:
        _made[-1].want(threads - 1 if processes else 0)


_lasting: list[Lasting] = []
"""While this process is being forked: the content of shared memory that both parent and child are to have."""


def _note_lasting() -> None:
    _lasting[:] = [each.heap.lasting() for each in _made]


def _leave() -> None:
    """In a forked child: drop the parent's workers and their memory."""
    for old, lasting in zip_longest(_made, _lasting):
        old.leave(lasting)
    _made.clear()
    _lasting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_lasting, after_in_parent=_lasting.clear, after_in_child=_leave)
    # the lock on writes ensures that the child gets parameters as a whole step has left them. It is acquired before the
    # above and released after it, by functions written in C, which no raising signal handler can keep from running
    end = changes.writing.release
    os.register_at_fork(before=changes.writing.acquire, after_in_parent=end, after_in_child=end)
