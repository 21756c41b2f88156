"""``Attention`` and ``AttentionGrad``, whose kernels never store the whole matrix of scores.

The first operands of both are

=========  ====================================================================================================
``query``  (…, H, L, E)
``key``    (…, K, S, E), where each of the K heads serves H / K heads of the queries in a row
``value``  (…, K, S, V)
``mask``   broadcasts to (…, H, L, S): what a query sees, or numbers to add; where the attributes say so
``draw``   the key of the random numbers of a dropout, if there is one (:mod:`.random`)
=========  ====================================================================================================

``Attention`` also gives, for its gradient, the logarithm of what each query's exponentials add up to: of a query that
sees nothing the least number there is, which is still more than the scores.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import DTypeError, ShapeError
from ..batching import Batch, Outputs
from ..dims import Dim, exact_quotient
from ..opdef import (
    AbstractTensor,
    Attrs,
    GradContext,
    Gradients,
    OpDef,
    apply_all,
    attributes,
    register,
)
from ..types import TensorType, bool_, broadcast_shapes, format_shape, is_float
from . import attention_scores as at
from .composite import square
from .elementwise import mul, sub
from .linalg import matmul, matrix_transpose
from .norm import softmax
from .random import DROPOUT, KEY, DropoutAttrs
from .shape import reshape


@attributes
class AttentionAttrs(Attrs):
    """How queries see keys.

    Query i has position ``offset + i``, and sees at most the keys from ``before`` positions before that to ``after``
    positions after it; None is no limit. ``cap`` squashes scores to between ``-cap`` and ``cap``; 0 is no cap.
    ``dropout`` is the probability of zeroing an attention weight. ``masked`` says whether there is a mask.
    """

    scale: float
    before: int | None = None
    after: int | None = None
    offset: Dim = 0
    cap: float = 0.0
    dropout: float = 0.0
    masked: bool = False

    @property
    def windowed(self) -> bool:
        """Whether positions limit which keys are seen."""
        return self.before is not None or self.after is not None


def _check(op: str, attrs: AttentionAttrs, query: TensorType, key: TensorType, value: TensorType) -> None:
    operands = (query, key, value)
    listed = ", ".join(map(str, operands))
    if any(not is_float(x.dtype) or x.dtype != query.dtype for x in operands):
        raise DTypeError(f"{op}: needs floating-point tensors of one type, got {listed}")
    if any(x.rank < 2 or x.rank != query.rank or x.shape[:-3] != query.shape[:-3] for x in operands):
        raise ShapeError(f"{op}: queries, keys and values are alike but for their last three axes; got {listed}")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"{op}: queries and keys have as many features, and each key has a value; got {listed}")
    if query.rank > 2 and (key.shape[-3] != value.shape[-3] or exact_quotient(query.shape[-3], key.shape[-3]) is None):
        raise ShapeError(
            f"{op}: {key.shape[-3]} heads of keys and values do not divide the {query.shape[-3]} of the queries"
        )


def _infer(attrs: AttentionAttrs, query: TensorType, key: TensorType, value: TensorType, *more: TensorType) -> tuple[
    TensorType, TensorType
]:  # fmt: skip
    op = "Attention"
    _check(op, attrs, query, key, value)
    if len(more) != attrs.masked + (attrs.dropout > 0) or not 0 <= attrs.dropout <= 1:
        raise ShapeError(f"{op}: {attrs} does not say what the {len(more)} operands beside these three are")
    if attrs.masked:
        mask, whole = more[0], (*query.shape[:-1], key.shape[-2])
        if mask.dtype not in (bool_, query.dtype):
            raise DTypeError(f"{op}: a mask is of bools or {query.dtype.name}, got {mask}")
        if broadcast_shapes(op, mask.shape, whole) != whole:
            raise ShapeError(f"{op}: a mask broadcasts to {format_shape(whole)}, got {mask}")
    if attrs.dropout and more[-1] != KEY:
        raise DTypeError(f"{op}: the key must be {KEY}, got {more[-1]}")
    return query.with_shape((*query.shape[:-1], value.shape[-1])), query.with_shape((*query.shape[:-1], 1))


def _grad_infer(attrs: AttentionAttrs, *given: TensorType) -> tuple[TensorType, ...]:
    """Operands are those of the forward op, its two results, and the cotangent of the first."""
    if len(given) < 6:
        raise ShapeError(f"AttentionGrad: takes the operands, the results and a cotangent, got {len(given)}")
    operands = given[:-3]
    y, total = _infer(attrs, *operands)
    for wanted, one in zip((y, total, y), given[-3:], strict=True):
        if not wanted.same_value(one):
            raise ShapeError(f"AttentionGrad: needs a {wanted.dtype.name} of {format_shape(wanted.shape)}, got {one}")
    return tuple(x.with_shape(x.shape) for x in operands[: 3 + adds(attrs, operands)])


def adds(attrs: AttentionAttrs, operands: Sequence[AbstractTensor] | Sequence[TensorType]) -> bool:
    """Whether there is a mask of numbers, which gets a gradient."""
    if not attrs.masked:
        return False
    mask = operands[3]
    return (mask.type if isinstance(mask, AbstractTensor) else mask).dtype != bool_


def _gradient(c: GradContext[AttentionAttrs]) -> Gradients:
    found = apply_all(ATTENTION_GRAD, c.attrs, *c.inputs, *c.outputs, c.dy)
    return [*found, *[None] * (len(c.inputs) - len(found))]


def shares(attrs: AttentionAttrs, query: AbstractTensor, key: AbstractTensor, mask: AbstractTensor | None) -> tuple[
    AbstractTensor, AbstractTensor
]:  # fmt: skip
    """The scores, capped but not masked, and the attention weights."""
    op = "Attention"
    bent = at.capped(at.scores(op, query, key, attrs.scale), attrs.cap)
    if attrs.windowed:
        sizes = query.type.shape[-2], key.type.shape[-2]
        mask = at.both(at.window(query, *sizes, attrs.offset, attrs.before, attrs.after), mask)
    known = at.Masked(mask)
    return bent, known.rows(softmax(at.masked(bent, known.mask), -1))


def _gradients(attrs: AttentionAttrs, *given: AbstractTensor) -> tuple[AbstractTensor, ...]:
    """The gradients of the operands, computed from these alone, so that they are differentiable themselves."""
    (query, key, value, *more), dy = given[:-3], given[-1]
    draw = more[-1:] if attrs.dropout else []

    def dropped(x: AbstractTensor) -> AbstractTensor:
        return apply_all(DROPOUT, DropoutAttrs(attrs.dropout), x, *draw)[0] if draw else x

    bent, parts = shares(attrs, query, key, more[0] if attrs.masked else None)
    dshares = dropped(at.per_head("AttentionGrad", dy, matrix_transpose(value)))
    masked = mul(parts, sub(dshares, (parts * dshares).sum(-1, keepdim=True)))
    slope = mul(masked, sub(1.0, square(bent / attrs.cap))) if attrs.cap else masked
    found = [
        mul(at.per_head("AttentionGrad", slope, key), attrs.scale),
        mul(_of_keys(slope, query, key), attrs.scale),
        _of_keys(dropped(parts), dy, value),
    ]
    if adds(attrs, given):
        found.append(masked.sum_to(more[0].type.shape))
    return tuple(found)


def _of_keys(by: AbstractTensor, rows: AbstractTensor, like: AbstractTensor) -> AbstractTensor:
    """For each key, the sum of ``rows`` over all queries of its head, weighted with ``by``."""
    if by.type.rank > 2:
        shape = like.type.shape[:-2]
        group = exact_quotient(by.type.shape[-3] * by.type.shape[-2], shape[-1])
        assert group is not None
        by, rows = (reshape(x, (*shape, group, x.type.shape[-1])) for x in (by, rows))
    return matmul(matrix_transpose(by), rows)


def _batch(batch: Batch[AttentionAttrs]) -> Outputs | None:
    """Heads of a larger batch. A mask of numbers has no gradient of that form."""
    key = 3 + batch.attrs.masked
    known = key + (batch.attrs.dropout > 0)
    if (batch.op is not ATTENTION and adds(batch.attrs, batch.inputs)) or not all(batch.batched[key:known]):
        return None
    mask = [batch.aligned(3, len(batch.row(0)))] if batch.attrs.masked else []
    wholes = [batch.whole(i) for i in range(len(batch.inputs)) if i < 3 or i >= known]
    return batch.apply(batch.attrs, *wholes[:3], *mask, *batch.inputs[key:known], *wholes[3:])


ATTENTION = register(
    OpDef(
        "Attention", _infer, _gradient, attrs=AttentionAttrs, inputs=("query", "key", "value", "*more"),
        outputs=("y", "total"), batch=_batch, kept=1, family="linear",
    )
)  # fmt: skip
#: The gradients of queries, keys and values, and of a mask of numbers; defined with the whole matrix of weights.
ATTENTION_GRAD = register(
    OpDef(
        "AttentionGrad", _grad_infer, None, _gradients, attrs=AttentionAttrs, inputs=("query", "key", "value", "*more"),
        outputs=None, batch=_batch, family="gradient",
    )
)  # fmt: skip
