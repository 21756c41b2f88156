"""Attention from its definition, query by query."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array
from ..graph.ops.attention_op import ATTENTION, AttentionAttrs
from ..graph.rng import generator
from .evaluator import reference


@reference(ATTENTION)
def attention(attrs: AttentionAttrs, query: Array, key: Array, value: Array, *more: Array) -> tuple[Array, Array]:
    rows, keys = query.shape[:-1], key.shape[-2]
    group = query.shape[-3] // max(1, key.shape[-3]) if query.ndim > 2 else 1
    mask = np.broadcast_to(more[0] if attrs.masked else np.array(True), (*rows, keys))
    kept = np.ones((*rows, keys), bool)
    if attrs.dropout:
        kept = generator(more[-1]).random((*rows, keys), np.float32) >= np.float32(attrs.dropout)
    y, totals = np.zeros((*rows, value.shape[-1])), np.full((*rows, 1), np.finfo(query.dtype).min)
    for at in np.ndindex(*rows):
        *outer, head, place = at if query.ndim > 2 else (0, *at)
        own = (*outer, head // group) if query.ndim > 2 else ()
        scores = key[own].astype(np.float64) @ query[at].astype(np.float64) * attrs.scale
        scores = attrs.cap * np.tanh(scores / attrs.cap) if attrs.cap else scores
        scores = np.where(mask[at], scores, -np.inf) if mask.dtype == bool else scores + mask[at]
        scores = np.where(_seen(attrs, place, keys), scores, -np.inf)
        if (scores == -np.inf).all():
            continue
        most = scores.max()
        shares = np.exp(scores - most)
        totals[at] = most + np.log(shares.sum())
        if attrs.dropout < 1:
            y[at] = np.where(kept[at], shares / shares.sum() / (1 - attrs.dropout), 0) @ value[own].astype(np.float64)
    return y, totals


def _seen(attrs: AttentionAttrs, query: int, keys: int) -> Array:
    """A mask of the keys in a query's window."""
    assert isinstance(attrs.offset, int)
    apart = np.arange(keys) - (query + attrs.offset)
    seen = np.ones(keys, bool)
    if attrs.before is not None:
        seen &= apart >= -attrs.before
    if attrs.after is not None:
        seen &= apart <= attrs.after
    return seen
