"""How the operands of attention lie for its kernels: queries as rows of the head that serves them, full masks."""

from __future__ import annotations

from collections.abc import Sequence

from ....graph.ops.attention_op import AttentionAttrs
from ...program.emitter import Emitter, Operand
from .tiles import Sizes


def by_rows(k: Emitter[AttentionAttrs], s: Sizes, x: Operand, label: str) -> Operand:
    """Queries, or what there is for each, with those below one another that one head of keys serves."""
    if s.group == 1 or x.type.rank < 3:
        return x
    return k.reshaped(x, (*s.lead, s.rows, x.shape[-1]), label)


def target_by_rows(k: Emitter[AttentionAttrs], s: Sizes, y: Operand) -> Operand:
    """The same for an array that is written, and lies row by row."""
    return k.target(y, (*s.lead, s.rows, y.shape[-1]), "rows")


def laid_by_rows(k: Emitter[AttentionAttrs], *outs: Operand | None) -> list[Operand | None]:
    """Results row by row: themselves, or memory to be handed over at the end; None for what nobody reads."""
    return [
        y if y is None or (y.contiguous and y.type.order is None) else k.scratch(y.shape, y.dtype, "made") for y in outs
    ]


def hand_over(k: Emitter[AttentionAttrs], made: Sequence[Operand | None], outs: Sequence[Operand | None]) -> None:
    """Copy the results that lie otherwise."""
    for one, y in zip(made, outs, strict=True):
        if one is not y:
            k.line(f"{y}[...] = {one}")


def mask_shape(s: Sizes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask with an axis for each of the leading ones, the members of a group, queries and keys."""
    padded = (*(1,) * (max(1, len(s.lead)) + 2 - len(shape)), *shape)
    if not s.lead:
        return (1, *padded[-2:])
    *outer, heads, queries, keys = padded
    split = (1, 1) if heads == 1 else (s.lead[-1], s.group)
    return (*outer, *split, queries, keys)
