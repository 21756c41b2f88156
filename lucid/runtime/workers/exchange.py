"""The interface to other processes of a group: functions that a program calls to add up arrays over all of them.

The caller of the program sets the exchange, thread by thread. Without one, a program is a group of one process, whose
sums are the arrays themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from ...base.arrays import Array


class Exchange(Protocol):
    """Computes the sums of one run."""

    def begin(self, number: int, array: Array) -> None:
        """Begin to add up an array over all processes; it must not be touched until :meth:`end`."""

    def end(self, number: int) -> None:
        """Wait until a sum is complete; it replaces the array's content."""

    def go_on(self) -> None:
        """Advance the sums that have begun, without waiting."""

    def again(self) -> None:
        """Prepare for a repetition of the run in the same memory: save the sums that have begun elsewhere."""


_here = threading.local()  # has an attribute ``exchange`` in threads that run a program for a group


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """A context in which the programs that this thread runs add up arrays by ``exchange``."""
    _here.exchange = exchange
    try:
        yield
    finally:
        _here.exchange = None


def current() -> Exchange | None:
    """The exchange that this thread's programs use, if any."""
    found: Exchange | None = getattr(_here, "exchange", None)
    return found


def put(place: Array, x: Array) -> None:
    """Copy an array to the place where it is to be added up, unless it is there already."""
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
