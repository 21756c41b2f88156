"""Attention operators of ``com.microsoft``: packed products, several kinds of masks, caches of keys and values."""

from __future__ import annotations

from ....errors import GraphError
from ....graph.dims import Dim, exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops import attention_scores as at
from ....graph.ops import elementwise as ew
from ....graph.ops.attention import attend, rotary_embedding
from ....graph.ops.composite import lt, ne
from ....graph.ops.indexing import embedding, take_along_dim
from ....graph.ops.linalg import matmul
from ....graph.ops.promotion import cast
from ....graph.ops.put import counted
from ....graph.ops.shape import concat, expand, reshape, stack, transpose, unsqueeze
from ....graph.ops.slices import narrow, piece
from ....graph.ops.source import full
from ....graph.types import int64
from ..model import MICROSOFT
from ..registry import Call, Value, converter
from .attention import flat_heads, heads_of, in_heads, with_past
from .microsoft_quantised import scaled

Three = tuple[AbstractTensor, AbstractTensor, AbstractTensor]
"""Queries, keys and values."""


# ---------------------------------------------------------------- by one product


@converter("Attention", domain=MICROSOFT, names=("", "weight", "bias"))
def attention(
    call: Call, x: Value, weight: Value, bias: Value = None, mask: Value = None, past: Value = None, more: Value = None
) -> list[AbstractTensor]:  # fmt: skip
    """Attention whose queries, keys and values come from a single product; ``more`` is added to the scores."""
    return _projected(call, call.tensor(x), call.tensor(weight), bias, mask, past, more)


@converter("QAttention", domain=MICROSOFT, names=("", "", "bias"))
def quantised_attention(
    call: Call, x: Value, weight: Value, bias: Value, x_scale: Value, scale: Value, mask: Value = None,
    x_zero: Value = None, zero: Value = None, past: Value = None,
) -> list[AbstractTensor]:  # fmt: skip
    """The same for integers, with one scale for all, or one for each column of the weights."""
    return _projected(call, scaled(call, x, x_scale, x_zero), scaled(call, weight, scale, zero), bias, mask, past)


def _projected(
    call: Call, x: AbstractTensor, kernel: AbstractTensor, bias: Value, mask: Value, past: Value, more: Value = None
) -> list[AbstractTensor]:  # fmt: skip
    if call.attribute("do_rotary", 0):
        raise GraphError("attention that turns its keys itself is not supported")
    sizes = list(call.attribute("qkv_hidden_sizes") or [exact_quotient(kernel.type.shape[1], 3)] * 3)
    y = matmul(x, kernel)
    parts = _pieces(y if bias is None else y + call.tensor(bias), sizes)
    query, key, value = (heads_of(call, part, "num_heads") for part in parts)
    before: list[AbstractTensor | None] = [None, None]
    if past is not None:
        kept: AbstractTensor = call.tensor(past)
        before = [reshape(narrow(kept, 0, i, 1), kept.type.shape[1:]) for i in (0, 1)]
    key, value = (with_past(now, old) for now, old in zip((key, value), before, strict=True))
    y = _attended(call, (query, key, value), mask, more, before[0])
    return [flat_heads(y), stack([key, value])] if call.outputs > 1 else [flat_heads(y)]


def _pieces(x: AbstractTensor, sizes: list[Dim]) -> list[AbstractTensor]:
    """Parts that are adjacent along the last axis."""
    parts: list[AbstractTensor] = []
    start: Dim = 0
    for size in sizes:
        parts.append(piece(x, x.type.rank - 1, start, size))
        start += size
    return parts


# ---------------------------------------------------------------- of queries, keys and values


@converter("MultiHeadAttention", domain=MICROSOFT, names=("", "", "", "bias"))
def multi_head(
    call: Call, q: Value, k: Value = None, v: Value = None, bias: Value = None, mask: Value = None, more: Value = None,
    past_key: Value = None, past_value: Value = None, *shared: Value,
) -> list[AbstractTensor]:  # fmt: skip
    if any(one is not None for one in shared) or call.outputs > 3:
        raise GraphError("keys in a buffer that is filled step by step, and scores as a result, are not supported")
    query, own, values = _three(call, call.tensor(q), call.optional(k), call.optional(v), call.optional(bias))
    before, before_value = call.optional(past_key), call.optional(past_value)
    key, value = with_past(own, before), with_past(values, before_value)
    y = _attended(call, (query, key, value), mask, more, before)
    return [flat_heads(y), key, value][: call.outputs]


def _three(
    call: Call, q: AbstractTensor, k: AbstractTensor | None, v: AbstractTensor | None, bias: AbstractTensor | None
) -> Three:  # fmt: skip
    """Queries, keys and values in heads: from a packed tensor (5 axes), in heads already (4), or as features (3)."""
    packed = [x for x in (q, k, v) if x is not None and x.type.rank == 5]
    if bias is not None and not packed:
        keys, values = (x.type.shape[-1] if x is not None and x.type.rank == 3 else 0 for x in (k, v))
        shifts = _pieces(bias, [q.type.shape[-1], keys, values])
        q, (k, v) = q + shifts[0], (
            x + shift if x is not None and x.type.rank == 3 else x
            for x, shift in zip((k, v), shifts[1:], strict=True)
        )  # fmt: skip
    elif bias is not None:
        raise GraphError("what is packed head by head is not shifted")
    found: list[AbstractTensor] = []
    for x in (q, k, v):
        if x is not None and x.type.rank == 5:
            batch, times, heads, count, each = x.type.shape
            if not isinstance(count, int):
                raise GraphError(f"{x.type} is not packed head by head")
            parts = [reshape(narrow(x, 3, i, 1), (batch, times, heads, each)) for i in range(count)]
            found += [transpose(part, 1, 2) for part in parts]
        elif x is not None:
            found.append(heads_of(call, x, "num_heads"))
    if len(found) != 3:
        raise GraphError(f"needs queries, keys and values, got {len(found)} of the three")
    return found[0], found[1], found[2]


def _attended(call: Call, three: Three, mask: Value, more: Value, past: AbstractTensor | None) -> AbstractTensor:
    """Attention in which the scores of hidden keys are lowered by a constant."""
    query, key, value = three
    seen, added = _seen(call, mask, key), call.optional(more)
    if seen is not None:
        hidden = ew.where(seen, 0.0, float(call.attribute("mask_filter_value", -10000.0)))
        added = hidden if added is None else added + hidden
    window = (None, 0) if call.attribute("unidirectional", 0) else (None, None)
    scale, offset = call.attribute("scale", 0.0) or None, 0 if past is None else past.type.shape[2]
    return attend(call.node.op, query, key, value, added, scale=scale, window=window, offset=offset)


def _seen(call: Call, mask: Value, key: AbstractTensor) -> AbstractTensor | None:
    """The keys that each query sees, from a mask (batch, key) or (batch, query, key) of numbers, or from lengths."""
    given = call.optional(mask)
    if given is None:
        return None
    if given.type.rank == 1 and given.type.shape[0] == key.type.shape[0]:
        return lt(counted(key, key.type.shape[2]), reshape(cast(given, int64), (-1, 1, 1, 1)))
    if given.type.rank not in (2, 3):
        raise GraphError(f"a mask of {given.type} is not supported")
    given = unsqueeze(given, 1) if given.type.rank == 2 else given
    return ne(unsqueeze(given, 1), 0)


# ---------------------------------------------------------------- decoders


@converter("RotaryEmbedding", domain=MICROSOFT, host=(1,))
def rotary(call: Call, x: Value, places: Value, cos: Value, sin: Value) -> AbstractTensor:
    if call.attribute("scale", 1.0) != 1.0 or call.attribute("is_packed_batching", 0):
        raise GraphError("positions that are scaled, and sequences of several lengths in one, are not supported")
    data, at_places, cosine, sine = call.tensors(x, places, cos, sin)
    heads = data if data.type.rank == 4 else in_heads(data, _heads(call, data, cosine), "the number of heads")
    if at_places.type.rank == 1:  # the place of the first
        at_places = unsqueeze(counted(data, heads.type.shape[2]), 0) + at_places
    y = _rotated(call, heads, at_places, cosine, sine, "interleaved")
    return y if data.type.rank == 4 else flat_heads(y)


def _heads(call: Call, x: AbstractTensor, angles: AbstractTensor) -> int:
    """The number of heads of ``x``: that of the node, or the one that fits the angles."""
    half = angles.type.shape[-1]
    heads = call.attribute("num_heads", 0) or (exact_quotient(x.type.shape[-1], 2 * half) if half else None)
    if not isinstance(heads, int):
        raise GraphError(f"the angles {angles.type} do not say how many heads {x.type} has")
    return heads


def _rotated(
    call: Call, x: AbstractTensor, places: AbstractTensor, cos: AbstractTensor, sin: AbstractTensor, way: str
) -> AbstractTensor:  # fmt: skip
    cosine, sine = (unsqueeze(embedding(places, one), 1) for one in (cos, sin))
    return rotary_embedding(x, cosine, sine, bool(call.attribute(way, 0)))


@converter("GroupQueryAttention", domain=MICROSOFT)
def group_query(
    call: Call, q: Value, k: Value = None, v: Value = None, past_key: Value = None, past_value: Value = None,
    last: Value = None, total: Value = None, cos: Value = None, sin: Value = None, places: Value = None,
    more: Value = None, *rest: Value,
) -> list[AbstractTensor]:  # fmt: skip
    """Attention of a decoder with a cache, in which each sequence has its own length.

    ``last`` is the position of the last key of each sequence. New keys follow the cached ones.
    """
    if call.attribute("smooth_softmax", 0) or any(one is not None for one in rest) or call.outputs > 3:
        raise GraphError("shares that do not add up to one, and scores as a result, are not supported")
    query, own, values = _grouped(call, call.tensor(q), call.optional(k), call.optional(v))
    steps, before = query.type.shape[2], call.optional(past_key)
    known = reshape(cast(call.tensor(last), int64), (-1, 1)) + 1
    first = ew.maximum(known - full(known, steps, (), int64), 0)
    if call.attribute("do_rotary", 0):
        at_places = first + counted(query, steps) if places is None else call.tensor(places)
        cosine, sine = call.tensors(cos, sin)
        query, own = (_rotated(call, x, at_places, cosine, sine, "rotary_interleaved") for x in (query, own))
    key, value = (_behind(now, old, first) for now, old in ((own, before), (values, call.optional(past_value))))
    keys, width = key.type.shape[2], call.attribute("local_window_size", -1)
    at_first, at_last = (reshape(x, (-1, 1, 1, 1)) for x in (first, known))
    seen = at.window(query, steps, keys, at_first, width - 1 if width > 0 else None, 0)
    mask = at.both(at.both(seen, lt(counted(query, keys), at_last)), call.optional(more))
    y = attend(call.node.op, query, key, value, mask, scale=call.attribute("scale", 0.0) or None,
               cap=call.attribute("softcap", 0.0))  # fmt: skip
    return [flat_heads(y), key, value][: call.outputs]


def _grouped(call: Call, q: AbstractTensor, k: AbstractTensor | None, v: AbstractTensor | None) -> Three:
    """Queries, keys and values in heads; the input for queries may contain all three."""
    heads, groups = call.required("num_heads"), call.required("kv_num_heads")
    if k is None or v is None:
        each = exact_quotient(q.type.shape[-1], heads + 2 * groups) if heads > 0 and groups > 0 else None
        if each is None:
            raise GraphError(f"{q.type} does not hold {heads} heads and those of keys and values")
        q, k, v = _pieces(q, [heads * each, groups * each, groups * each])
    return heads_of(call, q, "num_heads"), heads_of(call, k, "kv_num_heads"), heads_of(call, v, "kv_num_heads")


def _behind(now: AbstractTensor, old: AbstractTensor | None, first: AbstractTensor) -> AbstractTensor:
    """New values, placed after the first ``first`` cached ones of each sequence."""
    if old is None:
        return now
    both = concat([old, now], 2)
    size, kept = (full(first, one.type.shape[2], (), int64) for one in (both, old))
    place = counted(first, both.type.shape[2])
    chosen = ew.where(lt(place, first), place, ew.minimum(place - first + kept, size - 1))
    shape = (*both.type.shape[:3], 1)
    return take_along_dim(both, expand(reshape(chosen, (-1, 1, both.type.shape[2], 1)), shape), 2)
