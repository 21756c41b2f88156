"""Recognises attention written out as products, mask and softmax, and replaces it by an ``Attention`` node."""

from __future__ import annotations

import math
from dataclasses import field

from ...base.structs import struct
from ...graph.ir import Graph
from ...graph.opdef import apply_all
from ...graph.ops import elementwise as ew
from ...graph.ops.attention_op import ATTENTION, AttentionAttrs
from ...graph.ops.linalg import MATMUL
from ...graph.ops.norm import SOFTMAX
from ...graph.ops.shape import RESHAPE, TRANSPOSE, transpose
from ...graph.trace import Symbol
from ...graph.types import is_float
from ..rewrite import Declined, Site, View, rebuild
from ..simplify import fill_value

SCALED = {ew.MUL: (0, 1), ew.DIV: (0,)}
"""Which operands may be a tensor scaled by the other operand, a number."""


def fuse_attention(graph: Graph) -> Graph:
    """Fuse ``softmax(scale * (query @ key.T) + mask) @ value`` into ``Attention``, which never holds all scores.

    The scale may be on the product, the queries or the keys, as a factor or a divisor; the mask may be added, or select
    minus infinity. Values in between must have no other reader. NaN among the shares may be replaced by 0. A row that
    the mask hides entirely becomes 0, where a softmax gives NaN.
    """

    def rule(site: Site) -> Symbol | Declined | None:
        found = _match(site)
        if not isinstance(found, _Found):
            return found
        site.absorb(*reversed(found.parts))
        more = [] if found.mask is None else [found.mask]
        attrs = AttentionAttrs(found.scale, masked=found.mask is not None)
        y = apply_all(ATTENTION, attrs, found.query, found.key, site.inputs[1], *more)[0]
        site.call(y, site.name)
        return y

    return rebuild(graph, rule, "fuse_attention", at={MATMUL})


@struct
class _Found:
    """The parts found above the product with the values."""

    query: Symbol
    key: Symbol
    mask: Symbol | None = None
    scale: float = 1.0
    parts: list[View] = field(default_factory=list)


def _match(site: Site) -> _Found | Declined | None:
    """Climb from a product with values to the product of queries and keys."""
    if not is_float(site.type.dtype):
        return None
    parts: list[View] = []
    shares = _shares(site, parts)
    if not isinstance(shares, View):
        return shares
    mask, scale, view = None, 1.0, shares.producer(0)
    while view.op is not MATMUL:
        if not view.single_use:
            return view.shared()
        parts.append(view)
        factor = _factor(site, view)
        if factor is not None:
            scale, view = scale * factor[1], view.producer(factor[0])
            continue
        hidden = _masked(site, view) if mask is None and scale == 1.0 else None
        if hidden is None:
            return Declined(f"{view.name} is neither a number times the scores nor a mask on them", shares)
        mask, view = hidden[1], view.producer(hidden[0])
    if not view.single_use:
        return view.shared()
    parts.append(view)
    query, before = _unscaled(site, view.inputs[0])
    columns, after = _unscaled(site, view.inputs[1])
    found = _Found(query, _as_rows(site, columns), mask, scale * before * after, parts)
    return _unfit(found, site) or found


def _shares(site: Site, parts: list[View]) -> View | Declined | None:
    """The softmax that a product with values reads, perhaps through a replacement of NaN by 0."""
    view = site.producer(0)
    uses = 1
    if view.op is ew.WHERE and view.single_use and fill_value(site, view.inputs[1]) == 0:
        test, shares = view.producer(0), view.producer(2)
        itself = [x.value for x in test.inputs] == [view.inputs[2].value] * 2
        if test.op is not ew.NOT_EQUAL or not test.single_use or not itself:
            return None
        parts += [view, test]
        view, uses = shares, 3
    if view.op is not SOFTMAX:
        return None
    if view.uses() != uses:
        return view.shared()
    if view.attrs.axis != view.type.rank - 1:
        return Declined(f"{view.name} goes along axis {view.attrs.axis}, which is not the last", view)
    parts.append(view)
    return view


def _factor(site: Site, view: View) -> tuple[int, float] | None:
    """Which operand a node multiplies by a number, and that number."""
    for slot in SCALED.get(view.op, ()):
        number = fill_value(site, view.inputs[1 - slot])
        if number is not None and math.isfinite(number) and view.inputs[slot].type.shape == view.type.shape:
            if view.op is ew.MUL:
                return slot, float(number)
            return (slot, 1 / number) if number else None
    return None


def _masked(site: Site, view: View) -> tuple[int, Symbol] | None:
    """Which operand a node masks, and the mask: added, or choosing between scores and minus infinity."""
    if view.op is ew.WHERE and fill_value(site, view.inputs[2]) == -math.inf:
        return (1, view.inputs[0]) if view.inputs[1].type.shape == view.type.shape else None
    if view.op is ew.ADD:
        for slot in (0, 1):
            scores = view.producer(slot).op is MATMUL or view.producer(slot).op in SCALED
            if scores and view.inputs[slot].type.shape == view.type.shape:
                return slot, view.inputs[1 - slot]
    return None


def _unscaled(site: Site, x: Symbol) -> tuple[Symbol, float]:
    """An operand of a product without its scale, and the scale."""
    view = site.made_by(x)
    factor = _factor(site, view)
    return (x, 1.0) if factor is None else (view.inputs[factor[0]], factor[1])


def _as_rows(site: Site, columns: Symbol) -> Symbol:
    """Keys as rows. A transpose before them is undone, also one of leading axes flattened to one."""
    rank = columns.type.rank
    wanted = (*columns.type.shape[:-2], columns.type.shape[-1], columns.type.shape[-2])
    maker = site.made_by(columns)
    if maker.op is TRANSPOSE and maker.attrs.perm == (*range(rank - 2), rank - 1, rank - 2):
        return maker.inputs[0]
    if maker.op is RESHAPE:
        flat = site.made_by(maker.inputs[0])
        if flat.op is TRANSPOSE and flat.attrs.perm == (0, 2, 1):
            before = site.made_by(flat.inputs[0])
            if before.op is RESHAPE and before.inputs[0].type.shape == wanted:
                return before.inputs[0]
    return transpose(columns, -1, -2)


def _unfit(found: _Found, site: Site) -> Declined | None:
    """Why the operands do not fit: they differ in more than their last two axes, or the mask has more axes."""
    product = found.parts[-1]
    types = [found.query.type, found.key.type, site.inputs[1].type]
    listed = ", ".join(str(type_.with_order(None)) for type_ in types)
    if len({type_.shape[:-2] for type_ in types}) > 1:
        return Declined(f"queries, keys and values are not alike but for their last two axes: {listed}", product)
    if types[0].dtype != types[1].dtype:
        return Declined(f"queries, keys and values are not of one type: {listed}", product)
    if found.mask is not None and found.mask.type.rank > types[0].rank:
        return Declined(f"the mask has more axes than the queries: {found.mask.type.with_order(None)}", product)
    return None
