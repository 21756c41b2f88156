"""Attention, written as scores, softmax and products."""

from __future__ import annotations

from .....graph.opdef import AbstractTensor
from .....graph.ops import attention_scores as at
from .....graph.ops.attention_op import ATTENTION, AttentionAttrs, shares
from ..draft import UnwritableError
from ..registry import Use, Written, writer


@writer(ATTENTION)
def attention(use: Use[AttentionAttrs]) -> Written:
    a = use.attrs
    if a.dropout:
        raise UnwritableError("it draws random numbers, and those of another runtime are others")

    def definition(
        query: AbstractTensor, key: AbstractTensor, value: AbstractTensor, *mask: AbstractTensor
    ) -> AbstractTensor:
        return at.per_head("Attention", shares(a, query, key, mask[0] if mask else None)[1], value)

    return use.inline(definition)
