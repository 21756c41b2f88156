"""Scaled dot-product attention (Vaswani et al., 2017), and embeddings of positions as rotations (Su et al., 2021).

Attention is a composite of products, a softmax and what masks it. The scores of all queries for all keys are there at
once: memory grows with the product of the two lengths, as no kernel goes over blocks of them yet.
"""

from __future__ import annotations

import math

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..dims import Dim, exact_quotient
from ..opdef import AbstractTensor
from ..types import bool_, int64, is_float
from .composite import any_, ge, le, logical_and, logical_not, logical_or, ne
from .elementwise import mul, sub, tanh, where
from .linalg import matmul
from .norm import softmax
from .put import counted
from .random import dropout
from .shape import concat, reshape, stack, transpose, unsqueeze
from .slices import narrow
from .source import full


def check_operands(op: str, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor) -> None:
    """Raise where queries, keys and values do not go together."""
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
            f"{key.type} and {value.type}"
        )


def per_head(op: str, x: AbstractTensor, matrices: AbstractTensor) -> AbstractTensor:
    """``x @ matrices``, where each of fewer heads serves several of ``x`` in a row.

    These lie below one another as rows of one product, so that no head is repeated.
    """
    if x.type.rank < 3 or x.type.shape[-3] in (1, matrices.type.shape[-3]):
        return matmul(x, matrices)
    *batch, heads, rows, depth = x.type.shape
    own = matrices.type.shape[-3]
    group = exact_quotient(heads, own)
    if group is None:
        raise ShapeError(f"{op}: {own} heads of keys and values do not divide the {heads} of the queries")
    y = matmul(reshape(x, (*batch, own, group * rows, depth)), matrices)
    return reshape(y, (*batch, heads, rows, y.type.shape[-1]))


def scores(op: str, query: AbstractTensor, key: AbstractTensor, scale: float | None = None) -> AbstractTensor:
    """Of each query and each key their product, times ``scale``, which is one by the root of their features."""
    features = query.type.shape[-1]
    if scale is None:
        if not isinstance(features, int):
            raise ShapeError(f"{op}: how many features there are must be known, not symbolic: {query.type}")
        scale = 1 / math.sqrt(features) if features else 1.0
    return per_head(op, query if scale == 1 else mul(query, scale), transpose(key, -1, -2))


def capped(x: AbstractTensor, cap: float) -> AbstractTensor:
    """``x`` bent to lie between ``-cap`` and ``cap``; 0 is no cap."""
    return mul(tanh(mul(x, 1 / cap)), cap) if cap else x


def masked(x: AbstractTensor, mask: AbstractTensor | None) -> AbstractTensor:
    """Scores where the mask is true, else minus infinity; or with the mask, which is numbers, added."""
    if mask is None:
        return x
    return where(mask, x, -math.inf) if mask.type.dtype == bool_ else x + mask


def window(
    world: AbstractTensor,
    queries: Dim,
    keys: Dim,
    offset: Dim | AbstractTensor = 0,
    before: int | None = None,
    after: int | None = 0,
) -> AbstractTensor:
    """Whether a query (row) sees a key (column): at most so many before its own place, and so many after it.

    Queries have the places from ``offset`` on; that may be a tensor, which the matrix broadcasts with.
    """
    first = offset if isinstance(offset, AbstractTensor) else full(world, offset, (), int64)
    apart = sub(counted(world, keys), unsqueeze(counted(world, queries), 1) + first)
    seen = None if after is None else le(apart, after)
    if before is not None:
        behind = ge(apart, -before)
        seen = behind if seen is None else logical_and(seen, behind)
    return full(apart, True, apart.type.shape, bool_) if seen is None else seen


def both(allowed: AbstractTensor | None, mask: AbstractTensor | None) -> AbstractTensor | None:
    """A mask of truth values, and one of either kind, as one."""
    if allowed is None or mask is None:
        return allowed if mask is None else mask
    return logical_and(allowed, mask) if mask.type.dtype == bool_ else where(allowed, mask, -math.inf)


class Masked:
    """A mask under which a query that sees no key has the result 0, and passes no gradient.

    Such a row is taken to see all keys, so that no infinities meet, and what comes of it is put aside.

    Attributes
    ----------
    mask
        With these rows open.
    seen
        Whether each row has a key at all; None where all have.
    """

    def __init__(self, mask: AbstractTensor | None) -> None:
        self.mask, self.seen = mask, None
        if mask is not None:
            self.seen = any_(mask if mask.type.dtype == bool_ else ne(mask, -math.inf), -1, True)
            none = logical_not(self.seen)
            self.mask = logical_or(mask, none) if mask.type.dtype == bool_ else where(none, 0.0, mask)

    def rows(self, x: AbstractTensor) -> AbstractTensor:
        """``x`` with zeros in the rows that see nothing."""
        return x if self.seen is None else where(self.seen, x, 0.0)


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

    The matrix of scores is held whole: nothing goes over blocks of a long sequence yet.

    Parameters
    ----------
    query, key, value
        Shapes (…, H, L, E), (…, H, S, E) and (…, H, S, V); there need be no heads H.
    attn_mask
        Broadcasts to (…, H, L, S): bools that say which keys a query sees, or numbers added to the scores. A query that
        sees none gives 0.
    dropout_p
        With what probability a share is zeroed, whatever the mode of a module is.
    is_causal
        Query i sees the keys up to i; there may be no other mask then.
    scale
        1 / sqrt(E) where left out.
    enable_gqa
        Whether keys and values may have fewer heads, each for as many queries' heads in a row.

    Returns
    -------
    Shape (…, H, L, V).
    """
    name = "scaled_dot_product_attention"
    check_operands(name, query, key, value)
    _check_heads(name, query, key, value, enable_gqa)
    _check_mask(name, query, attn_mask, is_causal)
    known = Masked(attn_mask)
    mask = window(query, query.type.shape[-2], key.type.shape[-2]) if is_causal else known.mask
    shares = softmax(masked(scores(name, query, key, scale), mask), -1)
    return known.rows(per_head(name, dropout(shares, dropout_p), value))


def _check_heads(
    op: str, query: AbstractTensor, key: AbstractTensor, value: AbstractTensor, fewer: bool
) -> None:  # fmt: skip
    """Raise where there are fewer heads of keys and values than of queries, unless there may be."""
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
    """Each pair of features turned by an angle.

    Parameters
    ----------
    x
        Shape (…, T, E).
    cos, sin
        Of the angles, which broadcast to (…, T, R / 2), where R is at most E. The features from R on stay as they are.
    interleaved
        Whether a pair is two neighbours, or feature i and i + R / 2.
    """
    name = "rotary_embedding"
    for what, angles in (("cos", cos), ("sin", sin)):
        if angles.type.rank == 0 or angles.type.shape != cos.type.shape or angles.type.dtype != x.type.dtype:
            raise ShapeError(f"{name}: {what} {angles.type} does not go with cos {cos.type} and x {x.type}")
    features, half = x.type.shape[-1:], cos.type.shape[-1]
    if not features or not isinstance(half, int) or not isinstance(features[0], int) or 2 * half > features[0]:
        raise ShapeError(f"{name}: the angles {cos.type} are for {shown(2 * half)} features, and x is {x.type}")
    turned = narrow(x, -1, 0, 2 * half)
    if interleaved:
        pairs = reshape(turned, (*turned.type.shape[:-1], half, 2))
        a, b = (reshape(narrow(pairs, -1, i, 1), pairs.type.shape[:-1]) for i in (0, 1))
    else:
        a, b = narrow(turned, -1, 0, half), narrow(turned, -1, half, half)
    made = cos * a - sin * b, sin * a + cos * b
    y = reshape(stack(made, -1), turned.type.shape) if interleaved else concat(made, -1)
    rest = features[0] - 2 * half
    return concat([y, narrow(x, -1, 2 * half, rest)], -1) if rest else y
