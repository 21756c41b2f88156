"""What programs call to go down decision trees."""

from __future__ import annotations

import numpy as np

from ...base.arrays import Array
from ...errors import ExecutionError

PLACES = 1 << 15
"""Rows and trees that go down together: what is known of each stays in the cache."""
WORTH = 0.75
"""Where so few of them are still on their way, the others are left out."""


def check_trees(roots: Array, feature: Array, children: Array, features: int) -> None:
    """Raise where a table leads to a node or a feature that there is not."""
    count = len(feature)
    nodes = max(int(one.max(initial=-1)) for one in (roots, children))
    if nodes >= count or (count and not 0 <= int(feature.min()) <= int(feature.max()) < features):
        raise ExecutionError(f"a tree leads to a node or a feature that there is not, of {count} and {features}")


def leaves_of_trees(
    x: Array, roots: Array, feature: Array, threshold: Array, children: Array, missing: Array, depth: int, out: Array
) -> None:  # fmt: skip
    """For each row and tree the leaf, all going down together, a level at a time."""
    trees = max(len(roots), 1)
    rows = max(1, PLACES // trees)
    flat, pairs = np.ascontiguousarray(x).reshape(-1), children.reshape(-1)
    for first in range(0, len(x), rows):
        block = out[first : first + rows]
        starts = np.arange(first, first + len(block)) * x.shape[1]
        nan = bool(np.isnan(x[first : first + rows]).any())
        found = _down(
            flat, np.repeat(starts, len(roots)), np.tile(roots, len(block)), (feature, threshold, pairs),
            missing if nan else None, depth,
        )  # fmt: skip
        block[...] = found.reshape(block.shape)


def _down(
    x: Array, starts: Array, nodes: Array, tables: tuple[Array, Array, Array], missing: Array | None, depth: int
) -> Array:
    feature, threshold, pairs = tables
    found = np.array(nodes, np.intp)
    places: Array | None = None
    here = found
    for _ in range(depth):
        going = here >= 0
        left = np.count_nonzero(going)
        if not left:
            break
        if left < WORTH * len(here):
            places = np.flatnonzero(going) if places is None else places[going]
            here, starts, going = here[going], starts[going], np.ones(left, bool)
        bound = threshold.take(here, mode="clip")  # what is at a leaf goes down from node 0, and stays
        value = x.take(starts + feature.take(here, mode="clip"))
        first = value <= bound
        if missing is not None:
            first |= np.isnan(value) & missing.take(here, mode="clip")
        here = np.where(going, pairs.take(2 * here + ~first, mode="clip"), here)
        if places is None:
            found = here
        else:
            found[places] = here
    return -1 - found
