"""Holding off Python's cyclic garbage collector while a great many objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Within it, or in a function decorated with it, Python does not collect garbage unasked.

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
