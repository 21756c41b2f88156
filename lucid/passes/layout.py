"""Chooses the order of axes in memory: channels innermost around convolutions and poolings.

It sets ``TensorType.order`` of values and changes nothing that is computed. The graph's inputs lie as the caller has
them (:func:`lay_inputs`). Its results are row-major unless an input lies channels last; only those of convolutions,
which are copied to the caller, are not, and which of these had better be takes sizes to know (:func:`lay_results`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ..graph.builder import with_nodes
from ..graph.ir import Graph, Node, Value
from ..graph.ops.shape import CONCAT, RESHAPE
from ..graph.ops.source import INPUT
from ..graph.types import CHANNELS_LAST, TensorType

Cost: TypeAlias = "Callable[[Node, tuple[TensorType, ...]], float | None]"


def assign_layout(graph: Graph) -> Graph:
    """Give 4-D results of ops on images, and of element-wise ops and concatenations on them, channels-last memory."""
    results, follow = set(graph.results), graph.channels_last
    orders: dict[Value, tuple[int, ...] | None] = {}
    changed: dict[str, Node] = {}
    for name, node in graph.nodes():
        spatial = node.op.channels_last or _follows(node, [(graph.type(v), orders[v]) for v in graph.inputs_of(name)])
        values = [Value(name, index) for index in range(len(node.outputs))]
        free = follow or node.op.convolution or results.isdisjoint(values)
        outputs = []
        for value, type_ in zip(values, node.outputs, strict=True):
            last = CHANNELS_LAST if spatial and free and type_.rank == 4 else None
            orders[value] = type_.order if node.op is INPUT else last
            outputs.append(type_.with_order(orders[value]))
        if tuple(outputs) != node.outputs:
            changed[name] = replace(node, outputs=tuple(outputs))
    return with_nodes(graph, changed) if changed else graph


def lay_inputs(graph: Graph, orders: Sequence[tuple[int, ...] | None]) -> Graph:
    """The graph for inputs that lie in memory in these orders."""
    changed = {}
    for name, order in zip(graph.inputs, orders, strict=True):
        node = graph.node(name)
        changed[name] = replace(node, outputs=(node.outputs[0].with_order(order),))
    return with_nodes(graph, changed)


def lay_results(graph: Graph, cost: Cost) -> Graph:
    """The graph with those results of convolutions row by row that the caller has sooner so; itself where none is.

    Only of those that nobody else reads, unless to reshape them. Where an input lies channels last, results do too.

    Parameters
    ----------
    graph
        Concrete.
    cost
        ``cost(node, types)`` are the seconds until the caller has the result of a node, row by row, whose inputs are of
        these types; None where they are not known.
    """
    if graph.channels_last:
        return graph
    changed = {}
    for name, node in graph.nodes():
        if _only_returned(graph, name, node):
            plain = replace(node, outputs=(node.outputs[0].with_order(None),))
            types = tuple(graph.type(value) for value in graph.inputs_of(name))
            direct, turned = cost(plain, types), cost(node, types)
            if direct is not None and turned is not None and direct < turned:
                changed[name] = plain
    return with_nodes(graph, changed) if changed else graph


def _only_returned(graph: Graph, name: str, node: Node) -> bool:
    """Whether a node is a convolution that lies channels last for nobody but the caller."""
    if not node.op.convolution or len(node.outputs) > 1 or node.outputs[0].order is None:
        return False
    return all(graph.node(reader).op is RESHAPE for reader in graph.dag.successors(name))


def _follows(node: Node, inputs: list[tuple[TensorType, tuple[int, ...] | None]]) -> bool:
    """Element-wise ops follow their full-sized operands; concatenation does if all are channels-last."""
    shape = node.outputs[0].shape if node.outputs else ()
    if node.op.elementwise:
        full = [order for type_, order in inputs if type_.shape == shape]
    elif node.op is CONCAT:
        full = [order for _, order in inputs]
        return all(order == CHANNELS_LAST for order in full)
    else:
        return False
    return CHANNELS_LAST in full
