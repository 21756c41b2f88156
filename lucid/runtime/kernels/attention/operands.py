"""Operands in the form that attention kernels take: queries as rows of their head of keys, masks of full rank."""

from __future__ import annotations

from collections.abc import Sequence

from ....graph.ops.attention_op import AttentionAttrs
from ...program.emitter import Emitter, Operand
from .tiles import Sizes


def by_rows(k: Emitter[AttentionAttrs], s: Sizes, x: Operand, label: str) -> Operand:
    """Queries, or other arrays with a row for each, such that all rows served by one head of keys are consecutive."""
    if s.group == 1 or x.type.rank < 3:
        return x
    return k.reshaped(x, (*s.lead, s.rows, x.shape[-1]), label)


def target_by_rows(k: Emitter[AttentionAttrs], s: Sizes, y: Operand) -> Operand:
    """:func:`by_rows` for a row-major array that is written."""
    return k.target(y, (*s.lead, s.rows, y.shape[-1]), "rows")


def laid_by_rows(k: Emitter[AttentionAttrs], *outs: Operand | None) -> list[Operand | None]:
    """Row-major memory for the results: their own, or scratch for :func:`hand_over` to copy; None stays None."""
    return [
        y if y is None or (y.contiguous and y.type.order is None) else k.scratch(y.shape, y.dtype, "made") for y in outs
    ]


def hand_over(k: Emitter[AttentionAttrs], results: Sequence[Operand | None], outs: Sequence[Operand | None]) -> None:
    """Copy to the outputs those results that are in scratch memory."""
    for result, y in zip(results, outs, strict=True):
        if result is not y:
            k.line(f"{y}[...] = {result}")


def mask_shape(s: Sizes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask of full rank: the leading axes, the members of a group, queries and keys."""
    padded = (*(1,) * (max(1, len(s.lead)) + 2 - len(shape)), *shape)
    if not s.lead:
        return (1, *padded[-2:])
    *outer, heads, queries, keys = padded
    split = (1, 1) if heads == 1 else (s.lead[-1], s.group)
    return (*outer, *split, queries, keys)
