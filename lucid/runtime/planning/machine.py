"""The machine model: cores and cache sizes as detected, rates as assumed.

Rates are not measured when a model is compiled: the same model on the same machine must always get the
same program.

This is the one place that says what the machine is. Another one can be described, and what is planned from then on is
planned for that::

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
        Bytes a second that one core moves within its second-level cache, and to and from beyond it.
    smooth
        Bytes a second that pass through operations along long runs within the second-level cache.
    tapwise
        Bytes a second that one core moves tap by tap of small windows.
    packing
        Rows of a product in whose time BLAS packs its weights.
    number, apart
        Seconds of a number (of four bytes) in a long run of a maximum or a copy, within the second-level cache, and of
        a maximum of two numbers that lie apart.
    straight, turned, scattered
        Seconds to copy a number that lies apart to where they lie side by side, or the other way round; and to where
        each lies in a cache line of its own.
    loop, far_loop, pixel
        Seconds before the first number of an inner loop: on what lies in the second-level cache, on what lies beyond
        it, and over the channels of one pixel.
    run, multiply_add
        Seconds before the first number of a run of ``np.einsum``, and to multiply and add one (of four bytes) in it.
    call
        Seconds of a NumPy call that does nothing.
    fork, handover
        Seconds to hand blocks to other workers and wait for them; seconds that a NumPy call then takes longer.
    wake
        Seconds until a worker that sleeps is awake.
    unpacked
        Multiply-adds of a single-precision product up to which BLAS reads both matrices where they lie.
    helpers
        Whether programs can have processes to help them.
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
        """How many (of four bytes) take as long as a call."""
        return self.call / self.multiply_add


_described: Machine | None = None
_forget: list[Callable[[], None]] = []


def this_machine() -> Machine:
    """The machine that is planned for: as last described, otherwise the one this process runs on."""
    return _described or _found()


def describe(machine: Machine | None) -> None:
    """Plan for this machine from now on; for the one this process runs on where it is None.

    It holds for the whole process. What was planned before stays as it is. How many threads share the work is said
    elsewhere: by :func:`lucid.set_num_threads`, or as the ``threads`` of what is compiled.
    """
    global _described  # the process has one: compiling threads of a pool must agree with who started them
    _described = machine
    for forget in _forget:
        forget()


@contextmanager
def described(machine: Machine) -> Iterator[Machine]:
    """Within it, plan for this machine (see :func:`describe`)."""
    before = _described
    describe(machine)
    try:
        yield machine
    finally:
        describe(before)


def kept_for_machine(maxsize: int) -> Callable[[Callable[..., T]], _lru_cache_wrapper[T]]:
    """Keep so many of the decorated function's answers, which depend on the machine, until another one is described."""

    def decorate(function: Callable[..., T]) -> _lru_cache_wrapper[T]:
        keeping = lru_cache(maxsize)(function)
        _forget.append(keeping.cache_clear)
        return keeping

    return decorate


@cache
def _found() -> Machine:
    """The machine this process runs on; usual cache sizes where it does not tell its own."""
    caches = _cache(1, 1 << 15), _cache(2, 1 << 20), _cache(3, 1 << 24)
    # threads of one interpreter wait for each other, processes do not
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
