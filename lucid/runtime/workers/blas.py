"""NumPy's BLAS: the number of its threads, and the processor that its kernels are for.

``threadpoolctl`` finds the library. OpenBLAS's two functions for the number of threads are then called directly, in
half a microsecond, as each run of a program that shares its work calls them twice.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from itertools import product
from threading import get_ident
from time import monotonic
from typing import Any, NamedTuple

from ...base.lazy import threadpoolctl

WIDE = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""OpenBLAS's names of processors with 512-bit vectors, for which it has kernels for small products."""
SMALL = 1_000_000
"""The most multiply-adds of a product for which it uses them."""
ALONE = 4096
"""Elements of an array up to which BLAS uses one thread anyway: a product of matrices of at most 4,096 numbers has at
most 2**18 multiply-adds, the limit of OpenBLAS for using several; for a product with a vector it is 9,216 numbers."""
LONG = 5.0
"""Seconds after which it is checked whether a thread that holds BLAS still exists."""


class Library(NamedTuple):
    """One BLAS library: its functions, and its name of the processor that its kernels are for."""

    get_threads: Callable[[], int]
    set_threads: Callable[[int], object]
    architecture: str


@cache
def libraries() -> tuple[Library, ...]:
    """The BLAS library that came with NumPy or, if that is unknown, all that are loaded."""
    found = [c for c in threadpoolctl.ThreadpoolController().lib_controllers if c.user_api == "blas"]
    own = [c for c in found if "numpy" in c.filepath]
    return tuple(map(_library, own or found))


def _library(controller: Any) -> Library:
    architecture = getattr(controller, "architecture", None) or ""
    if controller.internal_api == "openblas" and getattr(controller, "threading_layer", "") != "openmp":
        functions = ctypes.PyDLL(controller.filepath)  # already loaded; keeping the interpreter lock makes calls faster
        for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
            get = getattr(functions, f"{prefix}openblas_get_num_threads{suffix}", None)
            set_ = getattr(functions, f"{prefix}openblas_set_num_threads{suffix}", None)
            if get is not None and set_ is not None:
                return Library(get, set_, architecture)
    return Library(controller.get_num_threads, controller.set_num_threads, architecture)


def unpacked() -> int:
    """Multiply-adds of a product up to which BLAS does not pack its matrices; 0 if it always does."""
    return SMALL if any(library.architecture in WIDE for library in libraries()) else 0


class Hold:
    """Limits BLAS to one thread while runs are in progress, and restores its number of threads afterwards.

    There is no lock, since an exception raised by a signal handler could leave it locked. A thread that was interrupted
    between :meth:`begin` and :meth:`finish` still counts as a holder, until its next run finishes.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # the threads that hold BLAS, and since when
        self._own: tuple[tuple[Callable[[int], object], int], ...] = ()
        self._limited = False
        self._latest = 0.0

    def begin(self) -> None:
        """Limit BLAS to one thread, on behalf of the calling thread."""
        since = self._since
        if not since and not self._limited:
            self._look()
        self._latest = since[get_ident()] = monotonic()
        for set_threads, number in self._own:
            if number != 1:
                set_threads(1)

    def finish(self) -> None:
        """Restore BLAS's number of threads, unless another thread holds it."""
        since, me, own = self._since, get_ident(), self._own
        since[me] = 0.0
        while True:
            # no other thread or signal handler runs between two lines without a call, so none can see the state between
            # them: no holder, but a single thread; nor can another thread finish after this one has checked
            if me in since:  # false if a signal handler has run a model in between, and finished
                del since[me]
            if since:
                break
            since[me] = 0.0
            latest = self._latest
            for set_threads, number in own:
                if number != 1:
                    set_threads(1 if self._limited else number)
            if latest is self._latest:
                del since[me]
                return
        self._forget_dead()

    def limit(self, one: bool) -> None:
        """Set whether BLAS is limited to one thread between runs too."""
        if one and not self._since and not self._limited:
            self._look()
        self._limited = one
        if not self._since:
            self._set(one)

    def held(self) -> bool:
        """Whether the calling thread holds BLAS."""
        return get_ident() in self._since

    def _look(self) -> None:
        """Record BLAS's own number of threads."""
        own = tuple([(library.set_threads, library.get_threads()) for library in libraries()])
        if not self._since and not self._limited:  # nobody held BLAS when the number was read
            self._own = own

    def _set(self, one: bool) -> None:
        for set_threads, number in self._own:
            set_threads(1 if one else number)

    def _forget_dead(self) -> None:
        """Remove threads that ended within a run: by an asynchronous exception, or because this process was forked."""
        now = monotonic()
        if any(now - at > LONG for at in tuple(self._since.values())):
            alive = sys._current_frames()
            gone = [thread for thread in tuple(self._since) if thread not in alive]
            if gone:
                self.begin()
                for thread in gone:
                    self._since.pop(thread, None)
                self.finish()


hold = Hold()
"""The process's only instance."""
