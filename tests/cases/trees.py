"""Rows of decision trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import trees

from .case import Case


def _row(label: str, rows: int, depths: tuple[int, ...], nan: bool = False) -> Case:
    """Trees that go on at the second child alone, but for the last node; a tree without nodes is a leaf."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        x = np.asarray(rng.standard_normal((rows, 3)), dtype)
        if nan:
            x[::2, 1] = np.nan
        children, roots, leaf = [], [], 0
        for depth in depths:
            roots.append(len(children) if depth else -1 - leaf)
            for level in range(depth):
                children.append([-1 - leaf, len(children) + 1 if level + 1 < depth else -2 - leaf])
                leaf += 1
            leaf += 1
        nodes = len(children)
        feature, threshold = rng.integers(0, 3, nodes), np.asarray(rng.standard_normal(nodes) - 0.5, dtype)
        pairs = np.array(children, np.int32).reshape(nodes, 2)
        return x, np.array(roots, np.int32), feature.astype(np.int32), threshold, pairs, rng.random(nodes) < 0.5

    return Case(f"tree_leaves-{label}", lambda *given: trees.tree_leaves(max(depths), *given), make, gradient=False,
                ops=("TreeLeaves",), tags=frozenset({"static"}))  # fmt: skip


def _round(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    """A node that leads to itself: it is left after as many steps as the depth says."""
    tables = np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, dtype), np.array([[-1, 0]], np.int32)
    return np.asarray(rng.standard_normal((6, 2)), dtype), *tables, np.ones(1, bool)


CASES = [
    _row("one", 5, (1,)),
    _row("some", 7, (3, 0, 9, 1)),
    _row("missing", 6, (4, 2, 5), nan=True),
    _row("no-rows", 0, (2, 1)),
    _row("leaves", 3, (0, 0)),
    Case(
        "tree_leaves-round",
        lambda *given: trees.tree_leaves(3, *given),
        _round,
        gradient=False,
        ops=("TreeLeaves",),
        tags=frozenset({"static"}),
    ),
]
