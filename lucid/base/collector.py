"""Holding off Python's cyclic garbage collector while a great many objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Within (or in a function so decorated), no automatic collections.

    Graphs and plans are large and not garbage; the collector would walk through all of them again and
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
