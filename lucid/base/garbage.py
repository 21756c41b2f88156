"""Pausing the garbage collector while many objects are made, and returning freed memory to the system."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Within it, or in a function decorated with it, Python does not collect garbage unasked.

    Graphs, plans and modules are large and not garbage; the collector would walk through all of them again and
    again while they grow, which takes half of the time on graphs of 10,000 nodes and more.
    """
    if not gc.isenabled():
        yield
        return
    try:
        gc.disable()
        yield
    finally:
        gc.enable()


def give_back_freed() -> None:
    """Let the system have what was freed and the C library keeps, as glibc does: it takes a few milliseconds."""
    if sys.platform == "linux":
        import ctypes  # it takes milliseconds too

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
