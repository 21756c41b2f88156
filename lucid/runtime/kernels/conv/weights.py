"""Packing weights: once per change of the parameters or, if they change at each run, at each run, shared by workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.work import Product, Work, shared_by
from ...program.emitter import Emitter, Operand


def packing(w: Sequence[int]) -> Work:
    """The work of packing weights of this shape, by way of a buffer in the cache."""
    return Work(straight=math.prod(w), near=8 * math.prod(w), calls=3)


def transforming(w: Sequence[int], products: int, itemsize: int) -> Work:
    """The work of transforming each kernel to ``products`` numbers."""
    pairs, taps = math.prod(w[:2]), math.prod(w[2:])
    product = Product(products, taps, pairs, itemsize, False, True)
    return packing(w) + Work((product,), far=products * pairs * itemsize)


def make_weights(k: Emitter, made: Operand, work: Work, make: Callable[..., None], *arguments: object) -> None:
    """Let each worker compute a part of the packed weights by ``make(*arguments, worker, workers)``."""
    workers = 1 if made.phase is Phase.STATE else shared_by(work, k.threads, this_machine())[1]
    line = f"{k.use(make)}({', '.join(map(str, arguments))}, {{}}, {workers})".format
    if workers == 1:
        k.line(line(0))
    else:
        k.shared(k.names.fresh(f"{made}_parts"), workers, [line("worker")])
