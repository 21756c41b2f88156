"""Attention, and rotary position embeddings."""

from __future__ import annotations

import math

from ....errors import GraphError
from ....graph.assume import is_at_least
from ....graph.dims import Dim, exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops import attention_scores as at
from ....graph.ops.attention import attend, check_operands, rotary_embedding
from ....graph.ops.composite import lt
from ....graph.ops.elementwise import sub
from ....graph.ops.indexing import embedding
from ....graph.ops.norm import softmax
from ....graph.ops.promotion import cast
from ....graph.ops.put import counted
from ....graph.ops.shape import concat, reshape, transpose, unsqueeze
from ....graph.ops.source import full
from ....graph.types import DType, as_dtype, bool_, int64, is_float
from ..host import ELEMENT_TYPES
from ..registry import Call, Value, converter


def heads_of(call: Call, x: AbstractTensor, name: str) -> AbstractTensor:
    """``x`` split into heads; the number of heads is an attribute if ``x`` has three axes."""
    return x if x.type.rank == 4 else in_heads(x, call.required(name), name)


def in_heads(x: AbstractTensor, heads: int, name: str) -> AbstractTensor:
    """(N, T, H E) as (N, H, T, E), with ``heads`` heads; a tensor of four axes is returned as it is."""
    if x.type.rank == 4:
        return x
    if x.type.rank != 3:
        raise GraphError(f"is for tensors of three or four axes, got {x.type}")
    batch, times, features = x.type.shape
    each = exact_quotient(features, heads) if heads > 0 else None
    if each is None:
        raise GraphError(f"{name} is {heads}, which does not divide the features of {x.type}")
    return transpose(reshape(x, (batch, times, heads, each)), 1, 2)


def flat_heads(x: AbstractTensor) -> AbstractTensor:
    """(N, H, T, E) as (N, T, H E)."""
    batch, heads, times, features = x.type.shape
    return reshape(transpose(x, 1, 2), (batch, times, heads * features))


def with_past(now: AbstractTensor, past: AbstractTensor | None) -> AbstractTensor:
    return now if past is None else concat([past, now], 2)


def _filled(mask: AbstractTensor, keys: Dim) -> AbstractTensor:
    """A mask for fewer keys than there are, extended to hide the others."""
    *before, known = mask.type.shape
    missing = keys - known
    if isinstance(missing, int) and missing == 0:
        return mask
    if not is_at_least(missing, 0, likely=True):
        raise GraphError(f"the mask {mask.type} is for more than the {keys} keys")
    rest = full(mask, False if mask.type.dtype == bool_ else -math.inf, (*before, missing))
    return concat([mask, rest], -1)


Window = tuple[int | None, int | None]


def _window(call: Call) -> Window:
    """How many keys before and after its own position a query sees; None for all."""
    before, after = (call.attribute(f"{side}_window_size", -1) for side in ("left", "right"))
    if min(before, after) < -1:
        raise GraphError(f"a window of {before} keys before and {after} after a query is none")
    if call.attribute("is_causal", 0):
        after = 0
    return None if before < 0 else before, None if after < 0 else after


def _given(query: AbstractTensor, keys: Dim, given: AbstractTensor | None) -> AbstractTensor | None:
    """The mask of the model, for all keys: booleans, or numbers to add."""
    mask = None if given is None else _filled(given, keys)
    return mask if mask is None or mask.type.dtype == bool_ else cast(mask, query.type.dtype)


def _of_lengths(
    query: AbstractTensor, keys: Dim, window: Window, lengths: AbstractTensor, mask: AbstractTensor | None
) -> AbstractTensor | None:
    """A mask that also hides the keys beyond the length of each sequence; queries are at the end of the sequence."""
    known, queries = reshape(cast(lengths, int64), (-1, 1, 1, 1)), query.type.shape[2]
    if window != (None, None):
        mask = at.both(at.window(query, queries, keys, sub(known, full(known, queries, ())), *window), mask)
    return at.both(lt(counted(query, keys), known), mask)


def precision_of(call: Call, dtype: DType) -> DType:
    """The type in which shares are computed: never less precise than that of the inputs."""
    asked = call.attribute("softmax_precision")
    if asked in (None, 10, 16):  # of 16 bits
        return dtype
    if asked not in ELEMENT_TYPES or not is_float(as_dtype(ELEMENT_TYPES[asked])):
        raise GraphError(f"softmax_precision {asked} is no floating-point type that is supported")
    wide = as_dtype(ELEMENT_TYPES[asked])
    return wide if wide.itemsize > dtype.itemsize else dtype


@converter("Attention", since=23)
def attention(
    call: Call, q: Value, k: Value, v: Value, given: Value = None, past_key: Value = None, past_value: Value = None,
    lengths: Value = None,
) -> list[AbstractTensor]:  # fmt: skip
    """Scores, optionally capped and masked, whose softmax weights the values; each step may be a result."""
    flat = call.tensor(q).type.rank == 3
    query = heads_of(call, call.tensor(q), "q_num_heads")
    own, values = (heads_of(call, call.tensor(x), "kv_num_heads") for x in (k, v))
    given_mask, before, before_value, count = map(call.optional, (given, past_key, past_value, lengths))
    if (before is None) != (before_value is None) or (before is not None and count is not None):
        raise GraphError("past_key and past_value come together, and without nonpad_kv_seqlen")
    key, value = with_past(own, before), with_past(values, before_value)
    check_operands("Attention", query, key, value)
    keys, past = key.type.shape[2], 0 if before is None else before.type.shape[2]
    window, mask = _window(call), _given(query, keys, given_mask)
    if count is not None:
        window, mask = (None, None), _of_lengths(query, keys, window, count, mask)
    scale, cap = call.attribute("scale"), call.attribute("softcap", 0.0)
    step: list[AbstractTensor] = []
    if call.outputs > 3 or precision_of(call, query.type.dtype) != query.type.dtype:
        if window != (None, None):
            mask = at.both(at.window(query, query.type.shape[2], keys, past, *window), mask)
        y, step = _whole(call, query, key, value, mask, scale, cap)
    else:
        y = attend("Attention", query, key, value, mask, scale=scale, cap=cap, window=window, offset=past)
    return [flat_heads(y) if flat else y, key, value, *step][: call.outputs]


def _whole(
    call: Call, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor, mask: AbstractTensor | None,
    scale: float | None, cap: float,
) -> tuple[AbstractTensor, list[AbstractTensor]]:  # fmt: skip
    """Attention that holds the scores of all queries and keys, one step of which may be a result."""
    known, dtype = at.Masked(mask), query.type.dtype
    products = at.scores("Attention", query, key, scale)
    bent = at.capped(products, cap)
    shares = cast(softmax(cast(at.masked(bent, known.mask), precision_of(call, dtype)), -1), dtype)
    y = known.rows(at.per_head("Attention", shares, value))
    if call.outputs <= 3:
        return y, []
    return y, [_step(call.attribute("qk_matmul_output_mode", 0), products, bent, shares, mask)]


def _step(
    mode: int, products: AbstractTensor, bent: AbstractTensor, shares: AbstractTensor, mask: AbstractTensor | None
) -> AbstractTensor:
    """The matrix of queries and keys after the step that is asked for."""
    if mode == 2:
        return at.masked(bent, mask)
    if mode == 3:
        return at.Masked(mask).rows(shares)
    if mode not in (0, 1):
        raise GraphError(f"unknown qk_matmul_output_mode {mode}")
    return bent if mode else products


@converter("RotaryEmbedding", since=23)
def rotary(call: Call, x: Value, cos: Value, sin: Value, places: Value = None) -> AbstractTensor:
    (data, cosine, sine), at_places = call.tensors(x, cos, sin), call.optional(places)
    heads = heads_of(call, data, "num_heads")
    if at_places is not None:
        cosine, sine = (embedding(at_places, one) for one in (cosine, sine))
    width = call.attribute("rotary_embedding_dim", 0) or heads.type.shape[3]
    if 2 * cosine.type.shape[-1] != width:
        raise GraphError(f"the angles {cosine.type} are not for {width} features")
    cosine, sine = (unsqueeze(one, 1) for one in (cosine, sine))
    y = rotary_embedding(heads, cosine, sine, bool(call.attribute("interleaved", 0)))
    return y if data.type.rank == 4 else flat_heads(y)
