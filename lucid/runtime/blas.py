"""NumPy's BLAS: how many threads it takes, and for what processor it was made.

``threadpoolctl`` finds the library. OpenBLAS is then asked directly: its two functions take half a microsecond, and
each run of a program that shares its work calls them twice.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import product
from threading import Lock
from typing import Any, NamedTuple

from ..lazy import threadpoolctl

WIDE = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""OpenBLAS's names of processors whose vectors are 512 bits wide: there it has kernels for small products."""
SMALL = 1_000_000
"""Multiply-adds of a product for which it takes them."""


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
    """Keeps BLAS to one thread while at least one ``with`` block is in it; afterwards it gets its own back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._holders = 0
        self._restore: list[tuple[Callable[[int], object], int]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._restore = [(library.set_threads, library.get_threads()) for library in libraries()]
                for set_threads, _ in self._restore:
                    set_threads(1)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for set_threads, number in self._restore:
                    set_threads(number)
