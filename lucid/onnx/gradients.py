"""Gradients that are part of a model: a subgraph, differentiated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from ..base.checks import shown
from ..compiler.transforms import grad
from ..errors import GraphError
from ..formats.onnx.model import GraphDef, NodeDef, ValueDef
from ..formats.onnx.reader import reads
from ..graph.opdef import AbstractTensor, apply
from ..graph.ops.promotion import CAST, CastAttrs
from ..graph.ops.reduce import sum as sum_of

if TYPE_CHECKING:
    from ..formats.onnx.registry import Call, Value

    Run: TypeAlias = "Callable[[GraphDef, Sequence[Value]], list[Value]]"


DEEPEST = 4
"""How deep gradients may be nested."""
_depth: ContextVar[int] = ContextVar("depth", default=0)


def slopes(
    graph: GraphDef, run: Run, call: Call, y: str, names: Sequence[str], given: Sequence[Value], count: int
) -> list[Value]:
    """The gradients of the sum of a value with respect to the first ``count`` of some others, which are given.

    The part of the graph that leads from them to the value is run with what is given, and differentiated.
    """
    inputs = tuple(ValueDef(name, None, None) for name in names)
    led = GraphDef("", inputs, (ValueDef(y, None, None),), {}, _part(graph, y, names))
    # each is a node of its own, behind which nothing of the graph around is seen
    alone = [apply(CAST, CastAttrs(x.type.dtype), x) for x in call.tensors(*given)]

    def total(*xs: AbstractTensor) -> AbstractTensor:
        return sum_of(call.tensor(run(led, xs)[0]))

    depth = _depth.get() + 1
    if depth > DEEPEST:
        raise GraphError(f"gradients of gradients stand more than {DEEPEST} deep: each has several times as many nodes")
    token = _depth.set(depth)
    try:
        return list(grad(total, tuple(range(count)))(*alone))
    finally:
        _depth.reset(token)


def _part(graph: GraphDef, y: str, sources: Collection[str]) -> tuple[NodeDef, ...]:
    """The nodes of a graph on which a value depends, except behind the ``sources``."""
    makers = {name: node for node in graph.nodes for name in node.outputs if name}
    if y not in makers:
        raise GraphError(f"no node of the graph gives the value {shown(y)}, of which gradients are asked for")
    found, pending = dict[int, NodeDef](), [y]
    while pending:
        name = pending.pop()
        node = makers.get(name) if name not in sources else None
        if node is not None and node.index not in found:
            found[node.index] = node
            pending += reads(node)
    return tuple(node for node in graph.nodes if node.index in found)
