"""Kernels of decision trees."""

from __future__ import annotations

from ...graph.ops.trees import TREE_LEAVES, TreeAttrs
from ..planning.registry import kernel
from ..program.emitter import Emitter
from .tree_calls import check_trees, leaves_of_trees


@kernel(TREE_LEAVES)
def tree_leaves(k: Emitter[TreeAttrs]) -> None:
    x, roots, feature, threshold, children, missing = k.ins
    with k.once(roots, feature, children):
        k.line(f"{k.use(check_trees)}({roots}, {feature}, {children}, {x.shape[1]})")
    tables = f"{roots}, {feature}, {threshold}, {children}, {missing}"
    k.line(f"{k.use(leaves_of_trees)}({x}, {tables}, {k.attrs.depth}, {k.outs[0]})")
