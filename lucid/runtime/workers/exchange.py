"""The seam to other processes of a group: what a program calls where it adds up arrays over all of them.

Which processes those are is for the caller of the program to say, thread by thread. Where nothing is said, a program
runs for itself: it is a group of one, whose sums are there already.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from ...base.arrays import Array


class Exchange(Protocol):
    """The sums of one run."""

    def begin(self, number: int, array: Array) -> None:
        """Begin to add up an array over all processes; it is not to be touched until :meth:`end`."""

    def end(self, number: int) -> None:
        """Wait until a sum is there, in the place of the array."""

    def go_on(self) -> None:
        """Do what there is to be done for the sums that have begun, and do not wait."""

    def again(self) -> None:
        """The run is made once more, in the same memory: sums that have begun are kept for it elsewhere."""


_here = threading.local()  # has ``exchange`` in a thread that runs a program for a group


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """What this thread runs within adds up its arrays by ``exchange``."""
    _here.exchange = exchange
    try:
        yield
    finally:
        _here.exchange = None


def current() -> Exchange | None:
    """What this thread's programs add up by."""
    found: Exchange | None = getattr(_here, "exchange", None)
    return found


def put(place: Array, x: Array) -> None:
    """Copy to where it is to be added up, if it does not lie there already."""
    if x.ctypes.data != place.ctypes.data:
        np.copyto(place, x)


def begin_sum(number: int, array: Array) -> None:
    exchange = current()
    if exchange is not None:
        exchange.begin(number, array)


def end_sum(number: int) -> None:
    exchange = current()
    if exchange is not None:
        exchange.end(number)


def go_on() -> None:
    exchange = current()
    if exchange is not None:
        exchange.go_on()
