"""Attention, and the positions that go into it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ....errors import GraphError
from ....graph.dims import Dim, exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops.composite import eq, ge, le, lt
from ....graph.ops.elementwise import tanh, where
from ....graph.ops.linalg import matmul
from ....graph.ops.norm import softmax
from ....graph.ops.pad import pad
from ....graph.ops.promotion import cast
from ....graph.ops.reduce import amax, cumsum
from ....graph.ops.shape import concat, permute, reshape, stack, unsqueeze
from ....graph.ops.source import full
from ....graph.types import bool_, float64, int64, product
from ..registry import Call, Value, converter


class Heads(NamedTuple):
    """Queries, keys and values of shape (batch, heads, length, size), and the keys and values of before."""

    query: AbstractTensor
    key: AbstractTensor
    value: AbstractTensor
    past: Dim


@converter("Attention", since=23)
def attention(
    call: Call, q: Value, k: Value, v: Value, mask: Value = None, past_key: Value = None, past_value: Value = None,
    lengths: Value = None,
) -> list[AbstractTensor]:  # fmt: skip
    """Scaled dot products (Vaswani et al., 2017); heads of queries may share those of keys."""
    query, key, value, given, before_key, before_value, known = call.tensors(
        q, k, v, mask, past_key, past_value, lengths
    )
    flat = query.type.rank == 3
    if flat:
        heads = call.required("q_num_heads"), call.required("kv_num_heads")
        query, key, value = _split(query, heads[0]), _split(key, heads[1]), _split(value, heads[1])
    past: Dim = 0
    if before_key is not None and before_value is not None:
        past = before_key.type.shape[2]
        key, value = concat([before_key, key], 2), concat([before_value, value], 2)
    all_of = Heads(query, key, value, past)
    scores, stages = _scores(call, all_of, given, known)
    shares = _shares(call, scores)
    stages.append(shares)
    y = _by_group(shares, value)
    if flat:
        turned = permute(y, (0, 2, 1, 3))
        y = reshape(turned, (*turned.type.shape[:2], product(turned.type.shape[2:])))
    return [y, key, value, stages[call.attribute("qk_matmul_output_mode", 0)]]


def _split(x: AbstractTensor, heads: int) -> AbstractTensor:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    batch, length, width = x.type.shape
    size = exact_quotient(width, heads)
    if size is None:
        raise GraphError(f"{heads} heads do not divide {x.type}")
    return permute(reshape(x, (batch, length, heads, size)), (0, 2, 1, 3))


def _by_group(left: AbstractTensor, right: AbstractTensor) -> AbstractTensor:
    """Products of matrices, where several heads on the left share one on the right."""
    batch, heads, rows, depth = left.type.shape
    shared = right.type.shape[1]
    if heads == shared:
        return matmul(left, right)
    groups = exact_quotient(heads, shared)
    if groups is None:
        raise GraphError(f"{heads} heads of queries do not share {shared} of keys evenly")
    y = matmul(reshape(left, (batch, shared, groups, rows, depth)), unsqueeze(right, 2))
    return reshape(y, (batch, heads, rows, y.type.shape[-1]))


def _scores(
    call: Call, heads: Heads, mask: AbstractTensor | None, lengths: AbstractTensor | None
) -> tuple[AbstractTensor, list[AbstractTensor]]:
    """What goes into the softmax, and what it was at each stage before."""
    size = heads.query.type.shape[-1]
    if not isinstance(size, int):
        raise GraphError(f"heads of a symbolic size: {heads.query.type}")
    root = math.sqrt(call.attribute("scale", 0.0) or 1 / math.sqrt(size))
    raw = _by_group(heads.query * root, permute(heads.key * root, (0, 1, 3, 2)))
    cap = call.attribute("softcap", 0.0)
    capped = tanh(raw / cap) * cap if cap else raw
    scores = capped
    if mask is not None:
        scores = _masked(scores, mask)
    for allowed in _allowed(call, heads, lengths):
        scores = where(allowed, scores, -math.inf)
    return scores, [raw, capped, scores]


def _masked(scores: AbstractTensor, mask: AbstractTensor) -> AbstractTensor:
    """Scores with a mask; what the mask is too short for is left out."""
    allows = mask.type.dtype == bool_
    missing = scores.type.shape[-1] - mask.type.shape[-1]
    if missing != 0 and mask.type.shape[-1] != 1:
        if not isinstance(missing, int):
            raise GraphError(f"a mask {mask.type} for scores {scores.type}: give the model fixed shapes")
        mask = pad(mask, (0, missing), value=False if allows else -math.inf)
    return where(mask, scores, -math.inf) if allows else scores + cast(mask, scores.type.dtype)


def _allowed(call: Call, heads: Heads, lengths: AbstractTensor | None) -> list[AbstractTensor]:
    """Which keys each query may look at, where that depends on their places."""
    rows, columns = heads.query.type.shape[2], heads.key.type.shape[2]
    key = _places(heads.query, columns)
    query = unsqueeze(_places(heads.query, rows), 1)
    found = []
    if lengths is None:
        query = query + heads.past
    else:
        count = reshape(cast(lengths, "int64"), (-1, 1, 1, 1))
        found.append(lt(key, count))
        query = query + (count if heads.past else count - rows)
    left, right = call.attribute("left_window_size", -1), call.attribute("right_window_size", -1)
    if call.attribute("is_causal", 0):
        found.append(le(key, query))
    if left >= 0:
        found.append(ge(key, query - left))
    if right >= 0:
        found.append(le(key, query + right))
    return found


def _places(like: AbstractTensor, count: Dim) -> AbstractTensor:
    """The numbers from 0 to ``count``."""
    if isinstance(count, int):
        return like.constant(np.arange(count, dtype=np.int64))
    return cumsum(full(like, 1, (count,), int64), 0) - 1


def _shares(call: Call, scores: AbstractTensor) -> AbstractTensor:
    """The softmax of the scores, zeros where a query may look at nothing."""
    precise = cast(scores, float64) if call.attribute("softmax_precision", 1) == 11 else scores
    nothing = eq(amax(precise, -1, keepdim=True), -math.inf)
    shares = where(nothing, 0.0, softmax(where(nothing, 0.0, precise), -1))
    return cast(shares, scores.type.dtype)


@converter("RotaryEmbedding", since=23)
def rotary_embedding(call: Call, x: Value, cos: Value, sin: Value, positions: Value = None) -> AbstractTensor:
    """Pairs of numbers turned by angles that say where they stand (Su et al., 2021)."""
    values, cosine, sine, place = call.tensors(x, cos, sin, positions)
    flat = values.type.rank == 3
    if flat:
        values = _split(values, call.required("num_heads"))
    if place is not None:
        cosine, sine = (one[place] for one in (cosine, sine))
    cosine, sine = (unsqueeze(one, 1) for one in (cosine, sine))
    turned_size = call.attribute("rotary_embedding_dim", 0) or values.type.shape[-1]
    turned, rest = values[..., :turned_size], values[..., turned_size:]
    if call.attribute("interleaved", 0):
        a, b = turned[..., 0::2], turned[..., 1::2]
        pairs = stack([a * cosine - b * sine, a * sine + b * cosine], -1)
        made = reshape(pairs, turned.type.shape)
    else:
        half = turned_size // 2
        a, b = turned[..., :half], turned[..., half:]
        made = concat([a * cosine - b * sine, a * sine + b * cosine], -1)
    y: AbstractTensor = made if turned_size == values.type.shape[-1] else concat([made, rest], -1)
    if flat:
        y = permute(y, (0, 2, 1, 3))
        y = reshape(y, (*y.type.shape[:2], product(y.type.shape[2:])))
    return y
