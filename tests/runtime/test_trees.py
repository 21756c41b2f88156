"""Decision trees of a compiled program, a block of rows after the other."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.graph.ops.trees import TreeAttrs
from lucid.reference.trees import tree_leaves
from lucid.runtime.kernels import tree_calls

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
@pytest.mark.parametrize("nan", [0.0, 0.3])
def test_blocks_of_rows_are_as_the_whole(rows: int, nan: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_calls, "PLACES", 8)
    monkeypatch.setattr(tree_calls, "ROWS", 2)
    nodes, leaves = 40, -1 - np.arange(41, dtype=np.int32)
    children = np.empty((nodes, 2), np.int32)
    for node in range(nodes):  # a child is a later node, or a leaf
        later = RNG.integers(node + 1, nodes + 1, 2)
        children[node] = np.where(later < nodes, later, leaves[RNG.integers(0, 41, 2)])
    x = RNG.standard_normal((rows, 3)).astype(np.float32)
    x[RNG.random(x.shape) < nan] = np.nan
    tables = (
        np.array([0, 5, -3, 2, 39], np.int32), RNG.integers(0, 3, nodes).astype(np.int32),
        RNG.standard_normal(nodes).astype(np.float32), children, RNG.random(nodes) < 0.5,
    )  # fmt: skip
    out = np.empty((rows, 5), np.int64)
    tree_calls.leaves_of_trees(x, *tables, nodes, out)
    np.testing.assert_array_equal(out, tree_leaves(TreeAttrs(nodes), x, *tables))
