"""Attention and its gradient."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lucid.graph.opdef import OpDef
from lucid.graph.ops.attention_op import ATTENTION, ATTENTION_GRAD, AttentionAttrs
from lucid.reference.evaluator import run_reference

from .arrays import Array, Drawn, Strategy


def attention(seed: int) -> Drawn:
    """An attention of any kind: with groups of heads, windows, masks, dropout, a batch of none."""
    rng = np.random.default_rng(seed)
    heads, group, queries, keys, features, values = (int(n) for n in rng.integers(1, 7, 6))
    group = 1 if rng.random() < 0.5 else group
    batch = tuple(map(int, rng.integers(0 if seed % 11 == 0 else 1, 4, int(rng.integers(0, 3)))))
    dtype = ("float32", "float64")[seed % 2]
    shapes = [(heads * group, queries, features), (heads, keys, features), (heads, keys, values)]
    if seed % 7 == 0:
        batch, group, shapes = (), 1, [shape[1:] for shape in shapes]
    arrays: list[Array] = [rng.standard_normal((*batch, *shape)).astype(dtype) for shape in shapes]
    before, after = (None if rng.random() < 0.6 else int(rng.integers(0, 4)) for _ in range(2))
    whole = (*arrays[0].shape[:-1], keys)
    kind, rate = ("none", "bools", "numbers")[int(rng.integers(0, 3))], float(rng.choice([0.0, 0.0, 0.3, 1.0]))
    if kind != "none":
        first = int(rng.integers(0, len(whole)))
        shape = tuple(1 if rng.random() < 0.3 else n for n in whole[first:])
        seen = rng.random(shape) > 0.3
        arrays.append(seen if kind == "bools" else np.where(seen, rng.standard_normal(shape), -np.inf).astype(dtype))
    if rate:
        arrays.append(np.array(rng.integers(0, 1 << 60), np.uint64))
    attrs = AttentionAttrs(
        float(rng.choice([1.0, 0.4])), before, after, int(rng.integers(-2, 5)), float(rng.choice([0.0, 1.5])), rate,
        kind != "none",
    )  # fmt: skip
    return Drawn(attrs, tuple(arrays))


def gradient(seed: int) -> Drawn:
    """Its operands, what it gave, and a gradient of that."""
    drawn = attention(seed)
    y, total = run_reference(ATTENTION, drawn.attrs, drawn.arrays)
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)
    return Drawn(drawn.attrs, (*drawn.arrays, y, total, dy))


_SEEDS = st.integers(0, 2**32 - 1)

DRAWS: dict[OpDef, Strategy] = {ATTENTION: _SEEDS.map(attention), ATTENTION_GRAD: _SEEDS.map(gradient)}
