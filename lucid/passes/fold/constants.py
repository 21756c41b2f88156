"""Constant folding: computes at compile time all that depends on constants only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from ...base.structs import struct
from ...graph.builder import Builder
from ...graph.dims import SymDim
from ...graph.ir import Graph, Node
from ...graph.opdef import Attrs, OpDef
from ...graph.ops.shape import EXPAND
from ...graph.ops.source import CONSTANT, FULL, FullAttrs, constant, full
from ..rewrite import Site, rebuild

Evaluate: TypeAlias = "Callable[[Graph, Sequence[Any]], Sequence[Any]]"


@struct(frozen=True)
class FoldOptions:
    """``limit``: the most bytes a folded value may have."""

    limit: int = 1 << 20


USUAL: Final = FoldOptions()


def fold_constants(graph: Graph, evaluate: Evaluate, options: FoldOptions = USUAL) -> Graph:
    """Replace nodes all of whose inputs are constants by their values.

    Filled and expanded tensors stay symbolic, whatever their size: an element-wise op on filled tensors gives another
    filled tensor. Parameters and impure ops are never folded, nor are loops, which may take any time.

    Parameters
    ----------
    graph
        The graph; it is not changed.
    evaluate
        ``evaluate(graph, inputs)`` runs a concrete graph and returns its outputs.
    options
        How large a constant may become.
    """

    def rule(site: Site) -> Sequence[Any] | None:
        makers = []
        for x in site.inputs:
            makers.append(site.made_by(x))
            if makers[-1].op is not CONSTANT and not _is_number(makers[-1].node):
                return None
        if not makers:
            return None
        if site.op.elementwise and all(_is_number(m.node) for m in makers):
            scalars: list[tuple[OpDef, Attrs]] = [(FULL, FullAttrs((), m.type.dtype, m.attrs.value)) for m in makers]
            (value,) = evaluate(_application(site, scalars), ())
            return [full(site.symbol, np.asarray(value).item())]
        sizes = [site.node, *(m.node for m in makers if m.op is FULL)]
        if all(_fits(n, options.limit) for n in sizes):
            values = evaluate(_application(site, [(m.op, m.attrs) for m in makers]), ())
            return [constant(y, np.asarray(v, y.type.dtype)) for y, v in zip(site.symbols, values, strict=True)]
        return None

    if CONSTANT not in graph.ops and FULL not in graph.ops:
        return graph
    at = {op for op in graph.ops if op.pure and op.inputs != () and not op.regions and op is not EXPAND}
    return rebuild(graph, rule, "fold_constants", at=at)


def _is_number(node: Node) -> bool:
    return isinstance(node.attrs, FullAttrs) and not isinstance(node.attrs.value, SymDim)


def _fits(node: Node, limit: int) -> bool:
    return not any(t.symbols for t in node.outputs) and sum(t.nbytes for t in node.outputs) <= limit


def _application(site: Site, sources: Sequence[tuple[OpDef, Attrs]]) -> Graph:
    """The site's op on these sources, as a graph of its own."""
    builder = Builder()
    feeds = [builder.emit(op, attrs)[0] for op, attrs in sources]
    return builder.finish(builder.emit(site.op, site.attrs, feeds))
