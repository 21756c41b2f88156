"""Chooses memory orders: channels innermost around convolutions and poolings.

Ops that only rearrange elements follow: a reshape that drops an axis of size 1, a transpose, a slice.
So do those of a channel shuffle.

The pass sets ``TensorType.order`` of values and changes nothing that is computed. The graph's inputs keep the caller's
order (:func:`lay_inputs`). Its results are row-major unless an input is channels-last. The exception are results of
convolutions, which are copied to the caller; whether these should be row-major too depends on sizes
(:func:`lay_results`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ..graph.builder import with_nodes
from ..graph.ir import Graph, Node, Value
from ..graph.ops.fused import LoopAttrs, loop_type
from ..graph.ops.pad import PadAttrs
from ..graph.ops.reduce import ReduceAttrs
from ..graph.ops.shape import CONCAT, RESHAPE, TransposeAttrs, parted_order, reshaped_order, transposed_order
from ..graph.ops.slices import SliceAttrs
from ..graph.ops.source import INPUT
from ..graph.types import CHANNELS_LAST, TensorType

ResultCost: TypeAlias = "Callable[[Node, tuple[TensorType, ...]], float | None]"
Order: TypeAlias = "tuple[int, ...] | None"


def assign_layout(graph: Graph) -> Graph:
    """Make 4-D results of ops on images channels-last, and let the ops that read them follow where they can."""
    results, follow = set(graph.results), graph.channels_last
    orders: dict[Value, Order] = {}
    changed: dict[str, Node] = {}
    for name, node in graph.nodes():
        values = [Value(name, index) for index in range(len(node.outputs))]
        free = follow or node.op.convolution or results.isdisjoint(values)
        order = None
        if free and not node.op.channels_last:
            inputs = [graph.type(v).with_order(orders[v]) for v in graph.inputs_of(name)]
            order = _followed(node, inputs) or _shuffled(graph, name, node, inputs)
        outputs = []
        for value, type_ in zip(values, node.outputs, strict=True):
            last = CHANNELS_LAST if node.op.channels_last and free and type_.rank == 4 else order
            if isinstance(node.attrs, LoopAttrs) and node.attrs.results[value.output].op:
                last = None  # sums are row-major
            orders[value] = type_.order if node.op is INPUT else last
            outputs.append(type_.with_order(orders[value]))
        if tuple(outputs) != node.outputs:
            changed[name] = replace(node, outputs=tuple(outputs))
    return with_nodes(graph, changed) if changed else graph


def lay_inputs(graph: Graph, orders: Sequence[tuple[int, ...] | None]) -> Graph:
    """The graph for inputs with these memory orders."""
    changed = {}
    for name, order in zip(graph.inputs, orders, strict=True):
        node = graph.node(name)
        changed[name] = replace(node, outputs=(node.outputs[0].with_order(order),))
    return with_nodes(graph, changed)


def lay_results(graph: Graph, cost: ResultCost) -> Graph:
    """Make results of convolutions row-major where that is faster; returns the graph itself if it is for none.

    This concerns results that nothing else reads, except to reshape them. If an input is channels-last, results are
    too.

    Parameters
    ----------
    graph
        A graph with concrete sizes.
    cost
        ``cost(node, types)`` is the time, in seconds, until the caller has the row-major result of a node whose inputs
        have these types; None if unknown.
    """
    if graph.channels_last:
        return graph
    changed = {}
    for name, node in graph.nodes():
        if _only_returned(graph, name, node):
            plain = replace(node, outputs=(node.outputs[0].with_order(None),))
            types = tuple(graph.type(value) for value in graph.inputs_of(name))
            row_major, channels_last = cost(plain, types), cost(node, types)
            if row_major is not None and channels_last is not None and row_major < channels_last:
                changed[name] = plain
    return with_nodes(graph, changed) if changed else graph


def _only_returned(graph: Graph, name: str, node: Node) -> bool:
    """Whether a node is a channels-last convolution that only the caller reads."""
    if not node.op.convolution or len(node.outputs) > 1 or node.outputs[0].order is None:
        return False
    readers = map(graph.node, graph.dag.successors(name))
    return all(reader.op is RESHAPE and reader.outputs[0].order is None for reader in readers)


def _reduced(x: TensorType, attrs: ReduceAttrs) -> Order:
    """The memory order of a reduction's result: that of the remaining axes."""
    if x.order is None or attrs.keepdims:
        return x.order
    left = [axis for axis in range(x.rank) if axis not in attrs.axes]
    order = tuple(left.index(axis) for axis in x.order if axis in left)
    return None if order == tuple(range(len(left))) else order


def _shuffled(graph: Graph, name: str, node: Node, inputs: list[TensorType]) -> Order:
    """The order of a reshape within a channel shuffle, if its result is channels-last again; otherwise None."""
    if node.op is not RESHAPE or inputs[0].order is None:
        return None
    (y,), readers = node.outputs, list(graph.dag.successors(name))
    order = parted_order(inputs[0], y.shape)
    if y.rank == 4:
        return order if order == CHANNELS_LAST else None
    if inputs[0].order != CHANNELS_LAST or not readers or Value(name) in graph.results:
        return None
    joined = {_joined(graph, reader, y.with_order(order)) for reader in readers}
    return order if joined == {CHANNELS_LAST} else None


def _joined(graph: Graph, name: str, x: TensorType) -> Order:
    """The order of images computed from ``x`` by a transpose and then reshapes; None if anything else reads it."""
    node, readers = graph.node(name), [graph.node(reader) for reader in graph.dag.successors(name)]
    if not isinstance(node.attrs, TransposeAttrs) or not readers or Value(name) in graph.results:
        return None
    moved = node.outputs[0].with_order(transposed_order(x, node.attrs.perm))
    orders = {parted_order(moved, y.outputs[0].shape) if y.op is RESHAPE else None for y in readers}
    return next(iter(orders)) if len(orders) == 1 else None


def _followed(node: Node, inputs: list[TensorType]) -> Order:
    """The order of a result that follows its inputs; None for row-major."""
    orders, attrs = [x.order for x in inputs], node.attrs
    loop = loop_type(attrs, inputs) if isinstance(attrs, LoopAttrs) else None
    if node.op.elementwise or loop is not None:
        shape = (loop or node.outputs[0]).shape
        return next((x.order for x in inputs if x.order is not None and x.shape == shape), None)
    if node.op is CONCAT:
        return orders[0] if all(order == orders[0] for order in orders) else None
    if isinstance(attrs, TransposeAttrs):
        moved = transposed_order(inputs[0], attrs.perm)
        return moved if orders[0] is not None or moved == CHANNELS_LAST else None
    if isinstance(attrs, ReduceAttrs):
        return _reduced(inputs[0], attrs)
    if isinstance(attrs, SliceAttrs | PadAttrs):
        return orders[0]
    return reshaped_order(inputs[0], node.outputs[0].shape) if node.op is RESHAPE and orders[0] is not None else None
