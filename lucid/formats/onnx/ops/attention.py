"""Attention, and positions as rotations."""

from __future__ import annotations

import math

from ....errors import GraphError
from ....graph.assume import is_at_least
from ....graph.dims import Dim, exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops import attention as at
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


def _heads(call: Call, x: AbstractTensor, name: str) -> AbstractTensor:
    """(N, T, H E) as (N, H, T, E); what has four axes is so already."""
    if x.type.rank == 4:
        return x
    if x.type.rank != 3:
        raise GraphError(f"is for tensors of three or four axes, got {x.type}")
    batch, times, features = x.type.shape
    heads = call.required(name)
    each = exact_quotient(features, heads) if heads > 0 else None
    if each is None:
        raise GraphError(f"{name} is {heads}, which does not divide the features of {x.type}")
    return transpose(reshape(x, (batch, times, heads, each)), 1, 2)


def _flat(x: AbstractTensor) -> AbstractTensor:
    """The opposite."""
    batch, heads, times, features = x.type.shape
    return reshape(transpose(x, 1, 2), (batch, times, heads * features))


def _with_past(now: AbstractTensor, past: AbstractTensor | None) -> AbstractTensor:
    return now if past is None else concat([past, now], 2)


def _filled(mask: AbstractTensor, keys: Dim) -> AbstractTensor:
    """A mask for fewer keys than there are: it hides the others."""
    *before, known = mask.type.shape
    missing = keys - known
    if isinstance(missing, int) and missing == 0:
        return mask
    if not is_at_least(missing, 0, likely=True):
        raise GraphError(f"the mask {mask.type} is for more than the {keys} keys")
    rest = full(mask, False if mask.type.dtype == bool_ else -math.inf, (*before, missing))
    return concat([mask, rest], -1)


def _mask(
    call: Call, query: AbstractTensor, keys: Dim, past: Dim, given: AbstractTensor | None,
    lengths: AbstractTensor | None,
) -> AbstractTensor | None:  # fmt: skip
    """All that hides keys from queries as one mask, of truth values or of numbers to add."""
    mask = None if given is None else _filled(given, keys)
    if mask is not None and mask.type.dtype != bool_:
        mask = cast(mask, query.type.dtype)
    queries, offset = query.type.shape[2], past
    known = None if lengths is None else reshape(cast(lengths, int64), (-1, 1, 1, 1))
    before, after = (call.attribute(f"{side}_window_size", -1) for side in ("left", "right"))
    if min(before, after) < -1:
        raise GraphError(f"a window of {before} keys before and {after} after a query is none")
    if call.attribute("is_causal", 0):
        after = 0
    if max(before, after) >= 0:
        first: Dim | AbstractTensor = offset if known is None else sub(known, full(known, queries, ()))
        ends = (None if end < 0 else end for end in (before, after))
        mask = at.both(at.window(query, queries, keys, first, *ends), mask)
    if known is not None:
        mask = at.both(lt(counted(query, keys), known), mask)
    return mask


def _precision(call: Call, dtype: DType) -> DType:
    """In what type shares are computed: never in one that is less precise than the inputs'."""
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
    """Scores, bent by a cap, masked, and made shares of the values; each may be asked for."""
    flat = call.tensor(q).type.rank == 3
    query = _heads(call, call.tensor(q), "q_num_heads")
    own, values = (_heads(call, call.tensor(x), "kv_num_heads") for x in (k, v))
    mask, before, before_value, count = call.tensors(given, past_key, past_value, lengths)
    if (before is None) != (before_value is None) or (before is not None and count is not None):
        raise GraphError("past_key and past_value come together, and without nonpad_kv_seqlen")
    key, value = _with_past(own, before), _with_past(values, before_value)
    at.check_operands("Attention", query, key, value)
    past = 0 if before is None else before.type.shape[2]
    mask = _mask(call, query, key.type.shape[2], past, mask, count)
    known, dtype = at.Masked(mask), query.type.dtype
    products = at.scores("Attention", query, key, call.attribute("scale"))
    bent = at.capped(products, call.attribute("softcap", 0.0))
    shares = cast(softmax(cast(at.masked(bent, known.mask), _precision(call, dtype)), -1), dtype)
    y = known.rows(at.per_head("Attention", shares, value))
    results = [_flat(y) if flat else y, key, value]
    if call.outputs > 3:
        results.append(_step(call.attribute("qk_matmul_output_mode", 0), products, bent, shares, mask))
    return results[: call.outputs]


def _step(
    mode: int, products: AbstractTensor, bent: AbstractTensor, shares: AbstractTensor, mask: AbstractTensor | None
) -> AbstractTensor:
    """What there is of each query and each key after one of the steps."""
    if mode == 2:
        return at.masked(bent, mask)
    if mode == 3:
        return at.Masked(mask).rows(shares)
    if mode not in (0, 1):
        raise GraphError(f"there is no qk_matmul_output_mode {mode}")
    return bent if mode else products


@converter("RotaryEmbedding", since=23)
def rotary(call: Call, x: Value, cos: Value, sin: Value, places: Value = None) -> AbstractTensor:
    data, cosine, sine, at_places = call.tensors(x, cos, sin, places)
    turned = _heads(call, data, "num_heads")
    if at_places is not None:
        cosine, sine = (embedding(at_places, one) for one in (cosine, sine))
    width = call.attribute("rotary_embedding_dim", 0) or turned.type.shape[3]
    if 2 * cosine.type.shape[-1] != width:
        raise GraphError(f"the angles {cosine.type} are not for {width} features")
    cosine, sine = (unsqueeze(one, 1) for one in (cosine, sine))
    y = at.rotary_embedding(turned, cosine, sine, bool(call.attribute("interleaved", 0)))
    return y if data.type.rank == 4 else _flat(y)
