"""Scaled dot-product attention (Vaswani et al., 2017), and embeddings of positions as rotations (Su et al., 2021)."""

from __future__ import annotations

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim, exact_quotient
from ..opdef import AbstractTensor, apply_all
from ..types import Shape, bool_, broadcast_shapes, is_float
from .attention_op import ATTENTION, AttentionAttrs
from .attention_scores import scale_for
from .random import probability, random_key
from .shape import concat, expand, reshape, stack, unsqueeze
from .slices import narrow


def check_operands(op: str, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor) -> None:
    """Raise if the types of queries, keys and values do not match."""
    for x in (query, key, value):
        if x.type.rank < 2 or x.type.rank != query.type.rank:
            raise ShapeError(
                f"{op}: queries (…, L, E), keys (…, S, E) and values (…, S, V) have as many axes; got {query.type}, "
                f"{key.type} and {value.type}"
            )
        if not is_float(x.type.dtype) or x.type.dtype != query.type.dtype:
            raise DTypeError(
                f"{op}: needs floating-point tensors of one type, got {query.type}, {key.type} and {value.type}"
            )
    if query.type.shape[-1] != key.type.shape[-1] or key.type.shape[-2] != value.type.shape[-2]:
        raise ShapeError(
            f"{op}: queries and keys have as many features, and there is a value for each key; got {query.type}, "
            f"{key.type} and {value.type}",
            unequal=((query.type.shape[-1], key.type.shape[-2]), (key.type.shape[-1], value.type.shape[-2])),
        )


def _spread(x: AbstractTensor, batch: Shape, heads: Dim) -> AbstractTensor:
    """Broadcast to these leading axes; fewer heads are each repeated several times in a row."""
    own, rest = x.type.shape[-3], x.type.shape[-2:]
    if x.type.shape[:-3] != batch:
        x = expand(x, (*batch, own, *rest))
    times = exact_quotient(heads, own)
    if own == heads or times is None:
        return x
    return reshape(expand(unsqueeze(x, -3), (*batch, own, times, *rest)), (*batch, heads, *rest))


def _aligned(op: str, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor) -> list[AbstractTensor]:
    """Queries, keys and values with the same leading axes, and the same number of heads for keys and values."""
    if query.type.rank == 2:
        return [query, key, value]
    operands = (query, key, value)
    batch = broadcast_shapes(op, *(x.type.shape[:-3] for x in operands))
    heads, keys, values = (x.type.shape[-3] for x in operands)
    heads = keys if heads == 1 else heads
    served = (keys, keys) if keys == values else (heads, heads)
    return [_spread(x, batch, count) for x, count in zip(operands, (heads, *served), strict=True)]


def attend(
    op: str, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor, mask: AbstractTensor | None = None,
    *, scale: float | None = None, cap: float = 0.0, window: tuple[int | None, int | None] = (None, None),
    offset: Dim = 0, dropout: float = 0.0,
) -> AbstractTensor:  # fmt: skip
    """Attention: for each query, the mean of the values, weighted by the softmax of its scores.

    Parameters
    ----------
    op
        The name of the caller, for errors.
    query, key, value
        Shapes (…, H, L, E), (…, K, S, E) and (…, K, S, V), where K divides H; the other axes broadcast.
    mask
        Broadcasts to (…, H, L, S): bools, true where a query sees a key, or numbers to add to the scores. The result
        of a query that sees no key is 0.
    scale
        The factor of the scores; 1 / sqrt(E) by default.
    cap
        If not 0, a soft cap: scores are squashed to between ``-cap`` and ``cap``.
    window, offset
        How many keys before and after its position a query sees, None for all; query i has position ``offset + i``.
    dropout
        The probability of zeroing each attention weight.
    """
    check_operands(op, query, key, value)
    query, key, value = _aligned(op, query, key, value)
    if mask is not None:
        whole = (*query.type.shape[:-1], key.type.shape[-2])
        lead = broadcast_shapes(op, mask.type.shape, whole)[:-2]
        if lead != query.type.shape[:-2]:
            key, value = (reshape(x, (*(1,) * (len(lead) + 2 - x.type.rank), *x.type.shape)) for x in (key, value))
            query, key, value = _aligned(op, expand(query, (*lead, *query.type.shape[-2:])), key, value)
    attrs = AttentionAttrs(scale_for(op, query, scale), *window, offset, cap, dropout, mask is not None)
    more = [] if mask is None else [mask]
    return apply_all(ATTENTION, attrs, query, key, value, *more, *([random_key(query)] if dropout else []))[0]


def scaled_dot_product_attention(
    query: AbstractTensor,
    key: AbstractTensor,
    value: AbstractTensor,
    attn_mask: AbstractTensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AbstractTensor:
    """``softmax(query @ key.mT * scale + mask) @ value``, as ``torch.nn.functional`` has it.

    The matrix of scores is never stored whole: for a long sequence, it is computed and used block by block.

    Parameters
    ----------
    query, key, value
        Shapes (…, H, L, E), (…, H, S, E) and (…, H, S, V); there need be no heads H.
    attn_mask
        Broadcasts to (…, H, L, S): bools, true where a query sees a key, or numbers to add to the scores. The result
        of a query that sees no key is 0.
    dropout_p
        The probability of zeroing each attention weight, regardless of any module's mode.
    is_causal
        Query i sees the keys up to i; then no other mask may be given.
    scale
        The factor of the scores; 1 / sqrt(E) by default.
    enable_gqa
        Whether keys and values may have fewer heads, each of which serves several heads of queries in a row.

    Returns
    -------
    Shape (…, H, L, V).
    """
    name = "scaled_dot_product_attention"
    check_operands(name, query, key, value)
    _check_heads(name, query, key, value, enable_gqa)
    _check_mask(name, query, attn_mask, is_causal)
    rate, window = probability(name, dropout_p, "dropout_p"), (None, 0 if is_causal else None)
    return attend(name, query, key, value, attn_mask, scale=scale, window=window, dropout=rate)


def _check_heads(
    op: str, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor, fewer: bool
) -> None:  # fmt: skip
    """Raise if keys and values have fewer heads than queries, unless that is enabled."""
    heads = {x.type.shape[-3:-2] for x in (query, key, value)} - {(1,)}
    if not fewer and len(heads) > 1:
        raise ShapeError(
            f"{op}: fewer heads of keys and values than of queries need enable_gqa=True; got {query.type}, "
            f"{key.type} and {value.type}"
        )


def _check_mask(op: str, query: AbstractTensor, mask: AbstractTensor | None, causal: bool) -> None:
    if mask is None:
        return
    if causal:
        raise OptionError(f"{op}: give attn_mask or is_causal, not both")
    if mask.type.dtype not in (bool_, query.type.dtype):
        raise DTypeError(f"{op}: attn_mask is of bools, or of {query.type.dtype.name}; got {mask.type}")


def rotary_embedding(
    x: AbstractTensor, cos: AbstractTensor, sin: AbstractTensor, interleaved: bool = False
) -> AbstractTensor:
    """Rotate each pair of features by an angle.

    Parameters
    ----------
    x
        Shape (…, T, E).
    cos, sin
        Of the angles; broadcast to (…, T, R / 2), where R is at most E. The features from R on stay unchanged.
    interleaved
        Whether pairs are neighbours, rather than features i and i + R / 2.
    """
    name = "rotary_embedding"
    for what, angles in (("cos", cos), ("sin", sin)):
        if angles.type.rank == 0 or angles.type.shape != cos.type.shape or angles.type.dtype != x.type.dtype:
            raise ShapeError(f"{name}: {what} {angles.type} does not go with cos {cos.type} and x {x.type}")
    features, half = x.type.shape[-1:], cos.type.shape[-1]
    if not features or not isinstance(half, int) or not isinstance(features[0], int) or 2 * half > features[0]:
        raise ShapeError(f"{name}: the angles {cos.type} are for {shown(2 * half)} features, and x is {x.type}")
    rotated = narrow(x, -1, 0, 2 * half)
    if interleaved:
        pairs = reshape(rotated, (*rotated.type.shape[:-1], half, 2))
        a, b = (reshape(narrow(pairs, -1, i, 1), pairs.type.shape[:-1]) for i in (0, 1))
    else:
        a, b = narrow(rotated, -1, 0, half), narrow(rotated, -1, half, half)
    made = cos * a - sin * b, sin * a + cos * b
    y = reshape(stack(made, -1), rotated.type.shape) if interleaved else concat(made, -1)
    rest = features[0] - 2 * half
    return concat([y, narrow(x, -1, 2 * half, rest)], -1) if rest else y
