"""Recomputes cheap values for each reader, rather than keep them in memory.

These are sums or products of an array and a smaller one, such as ``(x - mean) * scale``: a reader in a loop can just as
well read ``x``. Then only ``x`` is kept for the backward half.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.builder import Builder
from ..graph.facts import is_elementwise
from ..graph.ir import Graph, Value
from ..graph.ops.fused import adds_up

LABEL = "recompute_cheap"
DEPTH = 3
"""The most nodes of a chain that are recomputed."""


def recompute_cheap(graph: Graph) -> Graph:
    """Give each reader of such a node a copy of its own, if all readers are element-wise ops or sums."""
    results = set(graph.results)
    repeated: dict[str, int] = {}
    for name in reversed(graph.order):
        readers = graph.users(Value(name))
        if len({reader for reader, _ in readers}) > 1 or any(reader in repeated for reader, _ in readers):
            depth = 1 + max((repeated.get(reader, 0) for reader, _ in readers), default=0)
            if Value(name) not in results and depth <= DEPTH and _cheap(graph, name):
                repeated[name] = depth
    if not repeated:
        return graph
    builder = Builder()
    made: dict[Value, Value] = {}  # under another name if a copy has taken that of the node

    def copied(value: Value) -> Value:
        """The value in the new graph; a value that is to be recomputed is emitted again."""
        if value.node not in repeated:
            return made[value]
        node = graph.node(value.node)
        history = (*node.origin.history, f"{LABEL}: from {value.node}")
        fresh = node.with_origin(replace(node.origin, history=history))
        return builder.add(fresh, [copied(v) for v in graph.inputs_of(value.node)], value.node)[0]

    for name, node in graph.nodes():
        if name not in repeated:
            own = {value: copied(value) for value in dict.fromkeys(graph.inputs_of(name))}
            values = builder.add(node, [own[value] for value in graph.inputs_of(name)], name)
            made.update((Value(name, output), value) for output, value in enumerate(values))
    inputs = tuple(made[Value(name)].node for name in graph.inputs)
    updates = tuple((name, made[value]) for name, value in graph.updates)
    return builder.freeze(inputs, tuple(made[value] for value in graph.outputs), updates, graph.names)


def _cheap(graph: Graph, name: str) -> bool:
    """Whether a node has one operand of its own shape, and only readers that can be part of a loop."""
    node = graph.node(name)
    if not node.op.cheap:
        return False
    shape = node.outputs[0].shape
    types = [graph.type(value) for value in graph.inputs_of(name)]
    whole = [t for t in types if t.shape == shape]
    if len(whole) != 1 or whole[0].dtype != node.outputs[0].dtype or len(types) - len(whole) > 1:
        return False
    readers = [graph.node(reader) for reader, _ in graph.users(Value(name))]
    return all((is_elementwise(r) and r.outputs[0].shape == shape) or adds_up(r) for r in readers)
