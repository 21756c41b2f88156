"""Checks that a graph is well-formed: acyclic, fully connected, and with types that follow from its inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from ..base.checks import shown
from ..base.lazy import networkx as nx
from ..errors import GraphError, from_handler
from .ir import Dag, Graph, Node, Value, edges_of
from .opdef import Attrs, ParameterAttrs, find_op
from .region import DEEPEST, Region, node_depth, regions_of
from .stages import depths, found_sizes
from .types import MAX_BYTES, TensorType, flaw

Edge: TypeAlias = "tuple[str, Any, Any]"
"""The source of an edge, its slot and output; in hand-made graphs they may be anything."""


def verify(graph: Graph) -> None:
    """Check everything a graph promises; linear in its size.

    Raises
    ------
    GraphError
        Names the node, what is wrong with it, and where the user made it: an attribute or edge that
        is missing or dangling, a cycle, an unknown op, a type that does not follow from the inputs
        (memory order aside), inputs that are not the ``Input`` nodes, an output or update that does
        not exist, a parameter that occurs twice.
    """
    for name, data in graph.dag.nodes(data=True):
        _check_node(name, data.get("node"))
    edges: dict[str, list[Edge]] = {name: [] for name in graph.dag}
    for source, target, slot, output in edges_of(graph.dag):
        edges[target].append((source, slot, output))
    for name, node in graph.nodes():
        _check_types(graph, name, node, edges[name])
    _check_interface(graph)
    if sizes := found_sizes(graph):
        depths(graph, sizes)


def from_dag(
    dag: Dag, outputs: Iterable[Value], inputs: Iterable[str] | None = None, updates: Iterable[tuple[str, Value]] = ()
) -> Graph:
    """A verified graph from a hand-made ``networkx.MultiDiGraph`` (which is copied).

    Parameters
    ----------
    dag
        Node attribute ``node``: a :class:`Node`; edge key: input slot; edge attribute ``output``.
    outputs, updates
        What it returns, and what its parameters become.
    inputs
        Calling order of the ``Input`` nodes; the order of insertion when omitted.
    """
    if not dag.is_directed() or not dag.is_multigraph():
        raise GraphError(f"a graph is built on a networkx.MultiDiGraph, got a {type(dag).__name__}")
    copy: Dag = nx.MultiDiGraph(dag)
    for name, data in copy.nodes(data=True):
        _check_node(name, data.get("node"))
    if inputs is None:
        inputs = [name for name in copy if copy.nodes[name]["node"].op.source == "input"]
    graph = Graph(copy, tuple(inputs), tuple(outputs), tuple(updates))
    verify(graph)
    return graph


def describe(name: object, node: Node) -> str:
    """How errors describe a node: its name, its op and the user's line."""
    origin = str(node.origin)
    return f"node {name!r} ({node.op.name}{f', made in {origin}' if origin else ''})"


def _check_node(name: object, node: object) -> None:
    if not isinstance(name, str) or not name or not name.isprintable():
        raise GraphError(f"node {name!r}: a node's name is a non-empty string of printable characters")
    if not isinstance(node, Node):
        raise GraphError(f"node {name!r}: its attribute 'node' must be a Node, got {type(node).__name__}")
    if node.checked.sound:
        return
    try:
        known = find_op(node.op.name) is node.op
    except GraphError as error:
        raise GraphError(f"{describe(name, node)}: {error}") from error
    if not known:
        raise GraphError(f"{describe(name, node)}: its op is not the one registered under that name")
    if not isinstance(node.attrs, Attrs) or not isinstance(node.attrs, node.op.attrs):
        wanted = node.op.attrs.__name__
        raise GraphError(f"{describe(name, node)}: attributes must be {wanted}, got {type(node.attrs).__name__}")
    for output in node.outputs:
        _check_stored_type(name, node, output)
    if node.op.regions:
        _check_regions(name, node)
    node.checked.sound = True


def _check_regions(name: str, node: Node) -> None:
    if node_depth(node) > DEEPEST:
        raise GraphError(f"{describe(name, node)}: its graphs stand in each other more than {DEEPEST} deep")
    for label, region in regions_of(node.attrs).items():
        if not isinstance(region, Region):
            raise GraphError(f"{describe(name, node)}: its {label} is a Region, got {type(region).__name__}")
        try:
            verify(region.graph)
        except GraphError as error:
            raise GraphError(f"{describe(name, node)}: in its {label}: {error}") from error


def _check_stored_type(name: str, node: Node, type_: object) -> None:
    if not isinstance(type_, TensorType):
        raise GraphError(f"{describe(name, node)}: an output's type is a TensorType, got {type_!r}")
    wrong = flaw(type_)
    if wrong:
        raise GraphError(f"{describe(name, node)}: {wrong}")
    size = type_.dtype.itemsize * math.prod(dim for dim in type_.shape if isinstance(dim, int))
    if size > MAX_BYTES:
        raise GraphError(f"{describe(name, node)}: a value of type {type_} takes {size} bytes, more than any memory")
    if type_.order is not None and (
        not all(type(axis) is int for axis in type_.order) or sorted(type_.order) != list(range(type_.rank))
    ):
        raise GraphError(f"{describe(name, node)}: the memory order {type_.order} is no permutation of its axes")


def _input_types(graph: Graph, name: str, node: Node, edges: Sequence[Edge]) -> list[TensorType]:
    """Types of what feeds a node, by input slot; checks that each slot is filled once, by something that exists."""
    found: dict[int, TensorType] = {}
    for source, slot, output in edges:
        outputs = graph.node(source).outputs
        if type(slot) is not int:
            raise GraphError(f"{describe(name, node)}: the edge from {source!r} has the key {slot!r}, no slot")
        if type(output) is not int or not 0 <= output < len(outputs):
            raise GraphError(
                f"{describe(name, node)}: input {slot} reads output {output!r} of {source!r}, which has {len(outputs)}"
            )
        found[slot] = outputs[output]
    try:
        return [found[slot] for slot in range(len(edges))]
    except KeyError:
        raise GraphError(
            f"{describe(name, node)}: its edges fill the input slots {sorted(slot for _, slot, _ in edges)}; "
            f"each of 0 to {len(edges) - 1} must be filled exactly once"
        ) from None


def _check_types(graph: Graph, name: str, node: Node, edges: Sequence[Edge]) -> None:
    inputs = _input_types(graph, name, node, edges)
    if node.checked.follows == tuple(inputs):
        return
    try:
        inferred = node.op.infer_types(node.attrs, inputs)
    except Exception as error:  # a type rule may meet any attribute in a file or a hand-made graph
        if from_handler(error):
            raise
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError | TypeError) else str(error)
        raise GraphError(f"{describe(name, node)}: {reason}") from error
    if len(inferred) != len(node.outputs) or not all(
        a.same_value(b) for a, b in zip(inferred, node.outputs, strict=True)
    ):
        stored, follows = (", ".join(str(t.with_order(None)) for t in types) for types in (node.outputs, inferred))
        raise GraphError(
            f"{describe(name, node)}: its type is given as {stored}, but {follows} follows from its inputs"
        )
    node.checked.follows = tuple(inputs)


def _check_interface(graph: Graph) -> None:
    sources = [name for name, node in graph.nodes() if node.op.source == "input"]
    for name in graph.inputs:
        if name not in graph:
            raise GraphError(f"the graph's input {name!r} is not one of its nodes")
    if len(set(graph.inputs)) < len(graph.inputs) or set(graph.inputs) != set(sources):
        raise GraphError(f"the graph lists the inputs {list(graph.inputs)}, its Input nodes are {sources}")
    for value in graph.outputs:
        _check_value(graph, value, "output")
    if len(graph.names) > len(graph.outputs):
        raise GraphError(f"the graph names {len(graph.names)} outputs and has {len(graph.outputs)}")
    for name in graph.names:
        if not isinstance(name, str) or not name.isprintable():
            raise GraphError(f"an output is called {shown(name)}: its name is a string of printable characters")
    parameters: dict[str, str] = {}
    for name, node in graph.nodes():
        if isinstance(node.attrs, ParameterAttrs):
            label = node.attrs.name
            if label in parameters:
                other = parameters[label]
                raise GraphError(f"{describe(name, node)}: the parameter {label!r} is read by {other!r} too")
            parameters[label] = name
    updated: set[str] = set()
    for label, value in graph.updates:
        _check_value(graph, value, f"update of {label!r}")
        if label in updated:
            raise GraphError(f"the parameter {label!r} is updated twice")
        updated.add(label)
        if label in parameters and not graph.type(value).same_value(graph.node(parameters[label]).outputs[0]):
            held = graph.node(parameters[label]).outputs[0]
            raise GraphError(f"the parameter {label!r} is a {held}, its update {value} is a {graph.type(value)}")


def _check_value(graph: Graph, value: object, what: str) -> None:
    if not isinstance(value, Value) or value.node not in graph:
        raise GraphError(f"the graph's {what} is {value}, which is not one of its nodes")
    outputs = graph.node(value.node).outputs
    if type(value.output) is not int or not 0 <= value.output < len(outputs):
        raise GraphError(f"the graph's {what} is output {value.output} of {value.node!r}, which has {len(outputs)}")
