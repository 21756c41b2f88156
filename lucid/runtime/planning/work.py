"""The work that a way to run a node does, as data, and the one function that turns it into time.

Kernels count products, bytes, loops and calls. How long each of them takes is up to the machine model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import add
from typing import Any, NamedTuple, TypeVar

from ...base.structs import struct
from .machine import Machine

P = TypeVar("P")


class Product(NamedTuple):
    """Products of a (rows, depth) with a (depth, columns) matrix, the weights.

    Attributes
    ----------
    rows, depth, columns
        Of each.
    itemsize
        Bytes of a number.
    packed
        Whether BLAS copies the weights before it multiplies.
    resident
        Whether the weights lie in the second-level cache; otherwise they come from beyond it.
    times
        How many there are.
    """

    rows: float
    depth: float
    columns: float
    itemsize: int
    packed: bool
    resident: bool
    times: float = 1.0


@struct(frozen=True)
class Work:
    """Work that is done sequentially. Works can be added, and multiplied by a number.

    Each unit of a field takes the machine's rate of the same name, in the singular.

    Attributes
    ----------
    products
        Matrix products.
    near, far
        Bytes read and written within the second-level cache, and beyond it.
    smooth
        Bytes read and written in long runs within the second-level cache.
    tapwise
        Bytes read and written tap by tap, for small windows.
    numbers
        Numbers (of four bytes) that a maximum or a copy goes over in a run, within the second-level cache.
    apart
        Numbers, each of which is a maximum of two that lie apart in memory.
    straight, turned, scattered
        Numbers that are copied one by one to where they lie side by side, to where they lie apart, and to where each
        lies in a cache line of its own.
    loops, far_loops
        Inner loops that begin, on what lies in the second-level cache, and on what lies beyond it.
    pixels
        Inner loops that begin over the channels of one pixel.
    runs, multiply_adds
        Runs of ``np.einsum`` that begin, and the numbers (of four bytes) that it multiplies and adds.
    calls, handovers
        NumPy calls, and those among them that run while other threads of this process make calls too.
    forks
        How often work is handed to other workers and awaited.
    """

    products: tuple[Product, ...] = ()
    near: float = 0.0
    far: float = 0.0
    smooth: float = 0.0
    tapwise: float = 0.0
    numbers: float = 0.0
    apart: float = 0.0
    straight: float = 0.0
    turned: float = 0.0
    scattered: float = 0.0
    loops: float = 0.0
    far_loops: float = 0.0
    pixels: float = 0.0
    runs: float = 0.0
    multiply_adds: float = 0.0
    calls: float = 0.0
    handovers: float = 0.0
    forks: float = 0.0

    def __add__(self, other: Work) -> Work:
        return _of(map(add, vars(self).values(), vars(other).values()))

    def __mul__(self, number: float) -> Work:
        products, *counts = vars(self).values()
        return _of([tuple(p._replace(times=p.times * number) for p in products), *(n * number for n in counts)])

    @property
    def flops(self) -> float:
        """Multiplications and additions, counted apart."""
        products = sum(p.times * p.rows * p.depth * p.columns for p in self.products)
        return 2.0 * (products + self.multiply_adds)

    def shared(self, parts: int, workers: int) -> Work:
        """What the busiest of so many workers does, where this is one of ``parts`` that are alike, and the fork."""
        mine = self * -(-parts // workers)
        return mine + FORK if min(parts, workers) > 1 else mine

    @staticmethod
    def of_busiest(
        work: Sequence[Sequence[P]], one: Callable[[P], Work], size: Callable[[P], int] = lambda part: 1
    ) -> Work:
        """What the worker does that has most of these parts, and the fork; equal ones are alike."""
        if not work:
            return NOTHING
        alike = Counter(max(work, key=lambda mine: sum(map(size, mine))))
        done = Work.total(one(part) * times for part, times in alike.items())
        return done + FORK if len(work) > 1 else done

    @staticmethod
    def total(works: Iterable[Work]) -> Work:
        """All of it, one after another."""
        return sum(works, NOTHING)


def _of(values: Iterable[Any]) -> Work:
    """Work of these fields, which were checked before: it takes a third of the time of ``Work(*values)``."""
    work = object.__new__(Work)
    vars(work).update(zip(NAMES, values, strict=True))
    return work


NAMES = tuple(field.name for field in fields(Work))
NOTHING, FORK = Work(), Work(forks=1)


def seconds(work: Work, machine: Machine) -> float:
    """Predicted time of the work on one core of the machine."""
    return (
        sum(_multiplying(product, machine) for product in work.products)
        + work.near / machine.near
        + work.far / machine.far
        + work.smooth / machine.smooth
        + work.tapwise / machine.tapwise
        + work.numbers * machine.number
        + work.apart * machine.apart
        + work.straight * machine.straight
        + work.turned * machine.turned
        + work.scattered * machine.scattered
        + work.loops * machine.loop
        + work.far_loops * machine.far_loop
        + work.pixels * machine.pixel
        + work.runs * machine.run
        + work.multiply_adds * machine.multiply_add
        + work.calls * machine.call
        + work.handovers * machine.handover
        + work.forks * machine.fork
    )


FORKS = 8
"""Work is shared that takes as long as so many forks."""


def shared_by(work: Work, threads: int, machine: Machine) -> tuple[Work, int]:
    """What the busiest worker does, and how many there are: one where more do not pay."""
    if threads == 1 or seconds(work, machine) < FORKS * seconds(FORK, machine):
        return work, 1
    return work * (1 / threads) + FORK, threads


def _multiplying(p: Product, machine: Machine) -> float:
    """As long as its multiply-adds take, or to read the weights, if that is longer."""
    numbers = p.depth * p.columns
    multiply = 2.0 * (p.rows + p.packed * machine.packing) * numbers * (p.itemsize / 4) / machine.flops
    read = numbers * p.itemsize / (machine.near if p.resident else machine.far)
    return p.times * max(multiply, read)
