"""The machine model: cores and cache sizes are detected, rates are constants.

Rates are not measured when a model is compiled: the same model on the same machine must always get the
same program.

This is the only place that knows the machine. To plan for another one, describe it::

    with described(Machine(cores=8, l1=3 << 14, l2=1 << 21, l3=1 << 25)):
        print(lucid.compile(model, lucid.spec(1, 3, 224, 224), threads=8).plan)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import _lru_cache_wrapper, cache, lru_cache
from typing import TypeVar

from ...base.lazy import pathlib
from ...base.structs import struct
from ..workers import blas
from ..workers.cores import available_cores
from ..workers.settings import helpers

T = TypeVar("T")


@struct(frozen=True)
class Machine:
    """One machine.

    Attributes
    ----------
    cores
        Cores this process may use.
    l1, l2, l3
        Bytes of a core's data cache, of its second-level cache, and of the cache the cores share.
    flops
        Multiply-adds (counted as two) a second, of a large single-precision product on one core.
    near, far
        Bytes a second that one core moves within its second-level cache, and to and from memory beyond it.
    smooth
        Bytes a second of operations on long contiguous runs within the second-level cache.
    tapwise
        Bytes a second that one core moves when it copies small windows tap by tap.
    packing
        Time in which BLAS packs the weights of a product, in rows of that product.
    narrow
        The time of a product with panels of weights as wide as one vector, in that of one with wider panels.
    number, apart
        Seconds per (four-byte) number of a maximum or a copy in a long contiguous run within the second-level cache,
        and of a maximum of two numbers that are not contiguous.
    straight, turned, scattered
        Seconds to copy one strided number to contiguous memory; from contiguous memory to a strided place; and to a
        place whose stride is a cache line or more.
    loop, far_loop, pixel
        Seconds to start an inner loop: on data in the second-level cache, on data beyond it, and over the channels of
        one pixel.
    run, multiply_add
        Seconds to start an inner loop of ``np.einsum``, and to multiply and add one (four-byte) number in it.
    call
        Seconds of a NumPy call that does nothing.
    fork, handover
        Seconds to hand blocks to other workers and wait for them; seconds that each NumPy call then takes longer.
    wake
        Seconds to wake a sleeping worker.
    unpacked
        Multiply-adds of a single-precision product up to which BLAS reads both matrices in place, without packing.
    helpers
        Whether worker processes are available.
    """

    cores: int
    l1: int
    l2: int
    l3: int
    flops: float = 1.05e11
    near: float = 3.0e10
    far: float = 1.0e10
    smooth: float = 1.0e11
    tapwise: float = 8.0e9
    packing: int = 16
    narrow: float = 1.15
    number: float = 1.4e-10
    apart: float = 7.0e-10
    straight: float = 3.0e-10
    turned: float = 1.0e-9
    scattered: float = 3.6e-9
    loop: float = 5.0e-9
    far_loop: float = 4.0e-8
    pixel: float = 1.0e-8
    run: float = 1.5e-8
    multiply_add: float = 9.5e-11
    call: float = 1.0e-6
    fork: float = 1.0e-5
    handover: float = 0.0
    wake: float = 1.5e-4
    unpacked: int = 0
    helpers: bool = False

    @property
    def multiply_adds_of_call(self) -> float:
        """How many multiply-adds (of four bytes) take as long as a call."""
        return self.call / self.multiply_add


_described: Machine | None = None
_forget: list[Callable[[], None]] = []


def this_machine() -> Machine:
    """The machine that is planned for: the one last described, or else the one this process runs on."""
    return _described or _found()


def describe(machine: Machine | None) -> None:
    """Plan for this machine from now on, in the whole process; None means the machine it runs on.

    Existing plans stay as they are. The number of threads is not part of a machine: it is set by
    :func:`lucid.set_num_threads` or the ``threads`` option of :func:`lucid.compile`.
    """
    global _described  # not a context variable: threads that a caller starts must plan for the same machine
    _described = machine
    for forget in _forget:
        forget()


@contextmanager
def described(machine: Machine) -> Iterator[Machine]:
    """A context in which plans are made for this machine (see :func:`describe`)."""
    before = _described
    describe(machine)
    try:
        yield machine
    finally:
        describe(before)


def kept_for_machine(maxsize: int) -> Callable[[Callable[..., T]], _lru_cache_wrapper[T]]:
    """``lru_cache(maxsize)`` for a function whose results depend on the machine: cleared when one is described."""

    def decorate(function: Callable[..., T]) -> _lru_cache_wrapper[T]:
        cached = lru_cache(maxsize)(function)
        _forget.append(cached.cache_clear)
        return cached

    return decorate


@cache
def _found() -> Machine:
    """The machine this process runs on; typical cache sizes if the system does not report them."""
    caches = _cache(1, 1 << 15), _cache(2, 1 << 20), _cache(3, 1 << 24)
    # threads of one interpreter wait for its lock, processes do not
    fork, handover = (4.0e-6, 0.0) if helpers() else (1.0e-4, 5.0e-6)
    unpacked = blas.unpacked()
    return Machine(available_cores(), *caches, fork=fork, handover=handover, unpacked=unpacked, helpers=helpers())


def _cache(level: int, default: int) -> int:
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            if int((index / "level").read_text()) == level and kind != "Instruction":
                size = (index / "size").read_text().strip()
                return int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return default
