"""The work of running a node, as counts, and the one function that turns it into time.

Kernels count products, bytes, loops and calls; the machine model knows how long each of them takes.
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
    """Equal products of a (rows, depth) matrix with a (depth, columns) matrix, the weights.

    Attributes
    ----------
    rows, depth, columns
        Sizes of the matrices.
    itemsize
        Bytes of a number.
    packed
        Whether BLAS copies the weights before it multiplies.
    resident
        Whether the weights are in the second-level cache; otherwise they are read from beyond it.
    times
        The number of such products.
    narrow
        Whether the weights are in panels as wide as one vector: each multiply-add then reads a number of the rows.
    """

    rows: float
    depth: float
    columns: float
    itemsize: int
    packed: bool
    resident: bool
    times: float = 1.0
    narrow: bool = False


@struct(frozen=True)
class Work:
    """Work that one worker does. Works can be added, and multiplied by a number.

    The cost of one unit of a field is the attribute of :class:`~.machine.Machine` with that name, in the singular.

    Attributes
    ----------
    products
        Matrix products.
    near, far
        Bytes read and written within the second-level cache, and beyond it.
    smooth
        Bytes read and written in long contiguous runs within the second-level cache.
    tapwise
        Bytes read and written tap by tap, for small windows.
    numbers
        Numbers (of four bytes) in contiguous runs of a maximum or a copy, within the second-level cache.
    apart
        Numbers that are each the maximum of two numbers that are not contiguous.
    straight, turned, scattered
        Numbers copied one by one: from strided to contiguous memory, from contiguous to strided memory, and to places
        whose stride is a cache line or more.
    loops, far_loops
        Inner loops: on data in the second-level cache, and on data beyond it.
    pixels
        Inner loops over the channels of one pixel.
    runs, multiply_adds
        Inner loops of ``np.einsum``, and the numbers (of four bytes) that it multiplies and adds.
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
        """Multiplications and additions; a multiply-add counts as two."""
        products = sum(p.times * p.rows * p.depth * p.columns for p in self.products)
        return 2.0 * (products + self.multiply_adds)

    def shared(self, parts: int, workers: int) -> Work:
        """The work of the busiest worker, fork included, if ``workers`` share ``parts`` parts like this one."""
        busiest = self * -(-parts // workers)
        return busiest + FORK if min(parts, workers) > 1 else busiest

    @staticmethod
    def of_busiest(
        shares: Sequence[Sequence[P]], work_of: Callable[[P], Work], size: Callable[[P], int] = lambda part: 1
    ) -> Work:
        """The work of the busiest worker, fork included; ``shares`` are the parts of each, equal parts equal work."""
        if not shares:
            return NOTHING
        parts = Counter(max(shares, key=lambda share: sum(map(size, share))))
        busiest = Work.total(work_of(part) * times for part, times in parts.items())
        return busiest + FORK if len(shares) > 1 else busiest

    @staticmethod
    def total(works: Iterable[Work]) -> Work:
        """The sum of several works."""
        return sum(works, NOTHING)


def _of(values: Iterable[Any]) -> Work:
    """``Work(*values)`` without the checks, in a third of the time."""
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
"""Work is shared if it takes at least as long as this many forks."""


def shared_by(work: Work, threads: int, machine: Machine) -> tuple[Work, int]:
    """The work of the busiest worker, and the number of workers: one if more do not pay."""
    if threads == 1 or seconds(work, machine) < FORKS * seconds(FORK, machine):
        return work, 1
    return work * (1 / threads) + FORK, threads


def _multiplying(p: Product, machine: Machine) -> float:
    """Seconds of products: of their multiply-adds or of reading the weights, whichever takes longer."""
    numbers = p.depth * p.columns
    multiply = 2.0 * (p.rows + p.packed * machine.packing) * numbers * (p.itemsize / 4) / machine.flops
    multiply *= machine.narrow if p.narrow else 1.0
    read = numbers * p.itemsize / (machine.near if p.resident else machine.far)
    return p.times * max(multiply, read)
