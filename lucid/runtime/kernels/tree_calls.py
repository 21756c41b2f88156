"""Functions that programs call to evaluate decision trees."""

from __future__ import annotations

import numpy as np

from ...base.arrays import Array
from ...errors import ExecutionError

PLACES = 1 << 15
"""Pairs of a row and a tree that are evaluated together, so that their data stay in the cache."""
ROWS = 8
"""The least rows that are evaluated together: they visit many of the same nodes."""


def check_trees(roots: Array, feature: Array, children: Array, features: int) -> None:
    """Raise if a table refers to a node or feature that does not exist."""
    count = len(feature)
    nodes = max(int(one.max(initial=-1)) for one in (roots, children))
    if nodes >= count or (count and not 0 <= int(feature.min()) <= int(feature.max()) < features):
        raise ExecutionError(f"a tree leads to a node or a feature that there is not, of {count} and {features}")


def leaves_of_trees(
    x: Array, roots: Array, feature: Array, threshold: Array, children: Array, missing: Array, depth: int, out: Array
) -> None:  # fmt: skip
    """For each row and tree, the leaf; all descend together, one level at a time.

    The rows of a tree are adjacent. If nodes are numbered level by level and tree by tree, as by the importer, the
    tables are read from front to back.
    """
    rows = max(ROWS, PLACES // max(len(roots), 1))
    flat, tables = np.ascontiguousarray(x).reshape(-1), (feature, threshold, children.reshape(-1))
    for first in range(0, len(x), rows):
        block = out[first : first + rows]
        starts = np.arange(first, first + len(block)) * x.shape[1]
        nan = bool(np.isnan(x[first : first + rows]).any())
        nodes = np.repeat(roots.astype(np.intp), len(block))
        _down(flat, np.tile(starts, len(roots)), nodes, tables, missing if nan else None, depth)
        np.subtract(-1, nodes.reshape(block.shape[::-1]).T, out=block)


def _down(
    x: Array, starts: Array, nodes: Array, tables: tuple[Array, Array, Array], missing: Array | None, depth: int
) -> None:
    """Replace each node by the leaf that its row reaches; pairs at a leaf drop out of later levels."""
    feature, threshold, pairs = tables
    places, here = np.arange(len(nodes)), nodes
    for _ in range(depth):
        going = (here >= 0).nonzero()[0]
        if len(going) < len(here):
            if not len(going):
                break
            places, starts, here = places.take(going), starts.take(going), here.take(going)
        value = x.take(starts + feature.take(here))
        second = value > threshold.take(here)
        if missing is not None:
            second |= np.isnan(value) & ~missing.take(here)
        here = pairs.take(2 * here + second).astype(np.intp, copy=False)
        nodes[places] = here
