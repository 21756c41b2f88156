"""Decision trees, one row and one tree after another."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.ops.trees import TREE_LEAVES, TreeAttrs
from .evaluator import reference


@reference(TREE_LEAVES)
def tree_leaves(
    attrs: TreeAttrs, x: Array, roots: Array, feature: Array, threshold: Array, children: Array, missing: Array
) -> Array:  # fmt: skip
    leaves = np.empty((len(x), len(roots)), np.int64)
    for row, tree in np.ndindex(leaves.shape):
        node = int(roots[tree])
        for _ in range(attrs.depth):
            if node < 0:
                break
            value = x[row, feature[node]]
            first = missing[node] if np.isnan(value) else value <= threshold[node]
            node = int(children[node, 0 if first else 1])
        leaves[row, tree] = -1 - node
    return leaves
