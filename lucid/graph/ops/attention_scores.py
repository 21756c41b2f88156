"""The scores of queries for keys, and the masks that apply to them.

They serve the definition of attention (:mod:`.attention_op`), and callers that need the scores themselves.
"""

from __future__ import annotations

import math

from ...errors import ShapeError
from ..dims import Dim, exact_quotient
from ..opdef import AbstractTensor
from ..types import bool_, int64
from .composite import any_, ge, le, logical_and, logical_not, logical_or, ne
from .elementwise import mul, sub, tanh, where
from .linalg import matmul, matrix_transpose
from .put import counted
from .shape import reshape, unsqueeze
from .source import full


def per_head(op: str, x: AbstractTensor, matrices: AbstractTensor) -> AbstractTensor:
    """``x @ matrices``, where ``matrices`` may have fewer heads, each of which serves several of ``x`` in a row.

    The rows of these heads of ``x`` are joined in one product, so that no matrix is repeated.
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


def scale_for(op: str, query: AbstractTensor, scale: float | None = None) -> float:
    """The factor of the scores: ``scale``, by default 1 / sqrt(number of features)."""
    features = query.type.shape[-1]
    if scale is None:
        if not isinstance(features, int):
            raise ShapeError(f"{op}: how many features there are must be known, not symbolic: {query.type}")
        scale = 1 / math.sqrt(features) if features else 1.0
    return scale


def scores(op: str, query: AbstractTensor, key: AbstractTensor, scale: float | None = None) -> AbstractTensor:
    """The inner products of all queries and keys, times ``scale`` (see :func:`scale_for`)."""
    scale = scale_for(op, query, scale)
    return per_head(op, query if scale == 1 else mul(query, scale), matrix_transpose(key))


def capped(x: AbstractTensor, cap: float) -> AbstractTensor:
    """``x`` squashed to between ``-cap`` and ``cap``; 0 is no cap."""
    return mul(tanh(mul(x, 1 / cap)), cap) if cap else x


def masked(x: AbstractTensor, mask: AbstractTensor | None) -> AbstractTensor:
    """Scores plus a mask of numbers; or minus infinity where a mask of bools is false."""
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
    """Whether a query (row) sees a key (column), by limits of how many keys before and after its position.

    Queries have positions from ``offset`` on, which may be a tensor that broadcasts with the matrix.
    """
    first = offset if isinstance(offset, AbstractTensor) else full(world, offset, (), int64)
    apart = sub(counted(world, keys), unsqueeze(counted(world, queries), 1) + first)
    seen = None if after is None else le(apart, after)
    if before is not None:
        behind = ge(apart, -before)
        seen = behind if seen is None else logical_and(seen, behind)
    return full(apart, True, apart.type.shape, bool_) if seen is None else seen


def both(allowed: AbstractTensor | None, mask: AbstractTensor | None) -> AbstractTensor | None:
    """Combine a mask of bools with one of either kind."""
    if allowed is None or mask is None:
        return allowed if mask is None else mask
    return logical_and(allowed, mask) if mask.type.dtype == bool_ else where(allowed, mask, -math.inf)


class Masked:
    """A mask under which the result of a query that sees no key is 0, without a gradient.

    To avoid NaNs, such a row sees all keys instead, and its result is discarded.

    Attributes
    ----------
    mask
        The mask, with all keys visible in these rows.
    seen
        Whether each row sees a key; None if all do.
    """

    def __init__(self, mask: AbstractTensor | None) -> None:
        self.mask, self.seen = mask, None
        if mask is not None:
            self.seen = any_(mask if mask.type.dtype == bool_ else ne(mask, -math.inf), -1, True)
            none = logical_not(self.seen)
            self.mask = logical_or(mask, none) if mask.type.dtype == bool_ else where(none, 0.0, mask)

    def rows(self, x: AbstractTensor) -> AbstractTensor:
        """``x`` with zeros in the rows that see no key."""
        return x if self.seen is None else where(self.seen, x, 0.0)
