"""Weights as products read them: made once for each change of the parameters, or at each run where that changes them.

Then workers share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...planning.machine import this_machine
from ...planning.phase import Phase
from ...planning.work import Product, Work, shared_by
from ...program.emitter import Emitter, Operand


def packing(w: Sequence[int]) -> Work:
    """To copy weights of this shape to where products read them, by way of memory in the cache."""
    return Work(straight=math.prod(w), near=8 * math.prod(w), calls=3)


def transforming(w: Sequence[int], products: int, itemsize: int) -> Work:
    """To make so many numbers of each kernel."""
    pairs, taps = math.prod(w[:2]), math.prod(w[2:])
    product = Product(products, taps, pairs, itemsize, False, True)
    return packing(w) + Work((product,), far=products * pairs * itemsize)


def make_weights(k: Emitter, made: Operand, work: Work, make: Callable[..., None], *arguments: object) -> None:
    """Let ``make(*arguments, worker, workers)`` make them, for each worker a part."""
    workers = 1 if made.phase is Phase.STATE else shared_by(work, k.threads, this_machine())[1]
    line = f"{k.use(make)}({', '.join(map(str, arguments))}, {{}}, {workers})".format
    if workers == 1:
        k.line(line(0))
    else:
        k.shared(k.names.fresh(f"{made}_parts"), workers, [line("worker")])
