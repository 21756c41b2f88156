"""Decision trees."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import OpDef
from lucid.graph.ops.trees import TREE_LEAVES, TreeAttrs

from .arrays import GENERATORS, LARGE, Draw, Drawn, Strategy, dtypes, values


@st.composite
def _leaves(draw: Draw) -> Drawn:
    """A child is a later node or a leaf, so that ways down end; some roots are leaves."""
    rng = draw(GENERATORS)
    nodes, rows, trees = draw(st.integers(0, 8)), draw(st.sampled_from((1, 4, 6, 0))), draw(st.integers(0, 4))
    features, dtype, kind = draw(st.integers(1, 4)), draw(dtypes()), draw(st.sampled_from(("int32", "int64")))
    children, depths = np.zeros((nodes, 2), kind), [0] * nodes
    for node in reversed(range(nodes)):
        later = rng.integers(node + 1, nodes, 2) if node + 1 < nodes else np.full(2, -1)
        children[node] = np.where(rng.random(2) < 0.6, later, -1 - rng.integers(0, 9, 2))
        depths[node] = 1 + max(depths[child] if child >= 0 else 0 for child in children[node])
    roots = np.asarray(rng.integers(-3, nodes, trees), kind)
    tables = (
        roots, np.asarray(rng.integers(0, features, nodes), kind), draw(values((nodes,), dtype, LARGE)), children,
        rng.random(nodes) < 0.5,
    )  # fmt: skip
    return Drawn(TreeAttrs(max(depths, default=0)), (draw(values((rows, features), dtype, LARGE)), *tables))


DRAWS: dict[OpDef, Strategy] = {TREE_LEAVES: _leaves()}
