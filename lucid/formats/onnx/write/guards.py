"""Checks of a trace's assumptions about sizes: for other sizes the file fails rather than compute something else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ....errors import ShapeError
from ....graph.assume import Assumption
from ....graph.ir import Graph
from ....graph.types import bool_, int64
from .draft import Draft, Item
from .sizes import Sizes

SAMPLES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 33, 64, 101, 1024, 10_007, 1_000_003)
"""Sizes by which to tell whether an assumption restricts sizes."""
MOST = 3
"""The most symbols for which all combinations of samples are tried; for more, all have the same size."""
SCOPE = "/sizes"
"""Prefix of the names of these nodes, as a runtime names the one that ends the run."""


def restricts(taken: Assumption) -> bool:
    """Whether an assumption is violated by some positive sizes, judging by samples."""
    names = sorted(taken.dim.symbols)
    each = product(SAMPLES, repeat=len(names)) if len(names) <= MOST else ((size,) * len(names) for size in SAMPLES)
    for sizes in each:
        try:
            if not taken.holds(dict(zip(names, sizes, strict=True))):
                return True
        except ShapeError:  # larger than any array
            continue
    return False


def guarded(
    draft: Draft, sizes: Sizes, graph: Graph, results: Sequence[Item | None], taken: Sequence[Assumption]
) -> Sequence[Item | None]:
    """The results, available only if all assumptions hold: otherwise a reshape to a larger size fails."""
    if not taken or any(item is None for item in results):
        return results
    true, one = _all(draft, sizes, taken), sizes.size(1)
    found: list[Item | None] = []
    for item, type_ in zip(results, graph.output_types, strict=True):
        assert item is not None
        if type_.rank:
            (shape,) = draft.emit("Shape", [item], [int64], {}, SCOPE)
        else:  # which has no size to ask for: its one element, in a row
            shape = one
        (wrong,) = draft.emit("Add", [shape, one], [int64], {}, SCOPE)
        (asked,) = draft.emit("Where", [true, shape, wrong], [int64], {}, SCOPE)
        (made,) = draft.emit("Reshape", [item, asked], [item.dtype], {"allowzero": 1}, SCOPE)
        if not type_.rank:
            none = draft.constant(np.zeros(0, np.int64), "/shape")
            (made,) = draft.emit("Reshape", [made, none], [item.dtype], {}, SCOPE)
        found.append(made)
    return found


OPERATORS = {">=": "GreaterOrEqual", "<": "Less", "==": "Equal", "!=": "Equal"}


def _all(draft: Draft, sizes: Sizes, taken: Sequence[Assumption]) -> Item:
    """Whether all assumptions hold."""
    true: Item | None = None
    for one in taken:
        (holds,) = draft.emit(OPERATORS[one.relation], [sizes.size(one.dim), sizes.size(one.bound)], [bool_], {}, SCOPE)
        if one.relation == "!=":
            (holds,) = draft.emit("Not", [holds], [bool_], {}, SCOPE)
        true = holds if true is None else draft.emit("And", [true, holds], [bool_], {}, SCOPE)[0]
    assert true is not None
    return true
