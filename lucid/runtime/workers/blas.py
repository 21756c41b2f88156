"""NumPy's BLAS: how many threads it takes, and for what processor it was made.

``threadpoolctl`` finds the library. OpenBLAS is then asked directly: its two functions take half a microsecond, and
each run of a program that shares its work calls them twice.
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
"""OpenBLAS's names of processors whose vectors are 512 bits wide: there it has kernels for small products."""
SMALL = 1_000_000
"""Multiply-adds of a product for which it takes them."""
ALONE = 4096
"""Numbers in an array up to which BLAS shares no work on arrays of that size: matrices of at most 4,096 numbers make
at most 2**18 multiply-adds, from which OpenBLAS shares a product; one with a vector it shares from 9,216 on."""
LONG = 5.0
"""Seconds after which a thread that holds BLAS is looked for."""


class Library(NamedTuple):
    """One BLAS library: its functions, and the processor it was made for as it calls it."""

    get_threads: Callable[[], int]
    set_threads: Callable[[int], object]
    architecture: str


@cache
def libraries() -> tuple[Library, ...]:
    """The library that NumPy came with; all that are loaded where that cannot be told."""
    found = [c for c in threadpoolctl.ThreadpoolController().lib_controllers if c.user_api == "blas"]
    own = [c for c in found if "numpy" in c.filepath]
    return tuple(map(_library, own or found))


def _library(controller: Any) -> Library:
    architecture = getattr(controller, "architecture", None) or ""
    if controller.internal_api == "openblas" and getattr(controller, "threading_layer", "") != "openmp":
        functions = ctypes.PyDLL(controller.filepath)  # as loaded; holding the interpreter lock, which is quicker
        for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
            get = getattr(functions, f"{prefix}openblas_get_num_threads{suffix}", None)
            set_ = getattr(functions, f"{prefix}openblas_set_num_threads{suffix}", None)
            if get is not None and set_ is not None:
                return Library(get, set_, architecture)
    return Library(controller.get_num_threads, controller.set_num_threads, architecture)


def unpacked() -> int:
    """Multiply-adds of a product up to which BLAS does not pack its matrices; 0 where it always does."""
    return SMALL if any(library.architecture in WIDE for library in libraries()) else 0


class Hold:
    """Keeps BLAS to one thread while runs go on; afterwards it gets its own back.

    There is no lock, as an exception out of a signal's handler could leave it taken. A thread that was interrupted
    between :meth:`begin` and :meth:`finish` still counts; its next run ends that too.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # which threads hold it
        self._own: tuple[tuple[Callable[[int], object], int], ...] = ()
        self._limited = False
        self._latest = 0.0

    def begin(self) -> None:
        """One thread from now on."""
        since = self._since
        if not since and not self._limited:
            self._look()
        self._latest = since[get_ident()] = monotonic()
        for set_threads, number in self._own:
            if number != 1:
                set_threads(1)

    def finish(self) -> None:
        """Its own number again, if nobody else holds it."""
        since, me, own = self._since, get_ident(), self._own
        since[me] = 0.0
        while True:
            # between two lines without a call no other thread and no signal handler has its turn, so nobody sees that
            # it is held by nobody while it has one thread, and nobody leaves it to this thread when this one has looked
            if me in since:  # a handler that ran a model in between has ended that
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
        """Keep BLAS to one thread between runs too, or no longer."""
        if one and not self._since and not self._limited:
            self._look()
        self._limited = one
        if not self._since:
            self._set(one)

    def held(self) -> bool:
        """Whether the calling thread holds it."""
        return get_ident() in self._since

    def _look(self) -> None:
        """Note the number that is its own."""
        own = tuple([(library.set_threads, library.get_threads()) for library in libraries()])
        if not self._since and not self._limited:  # so nobody held it when the number was read
            self._own = own

    def _set(self, one: bool) -> None:
        for set_threads, number in self._own:
            set_threads(1 if one else number)

    def _forget_dead(self) -> None:
        """Threads that ended within a run, by an exception out of nowhere, or as this process was forked."""
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
"""The process's."""
