"""Regions: graphs that nodes run, held as attributes.

A region reads only its inputs, which are operands of the node that holds it: first those that the node passes it by its
own rule, then those that the region captures from the graph around it. So passes, planning and autodiff see everything
that it depends on. It has no parameters, draws no random numbers, and updates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..base.keys import Key
from ..errors import GraphError
from .builder import Builder
from .facts import reachable, symbols_of
from .ir import Graph, Node, Value
from .opdef import AbstractTensor, Attrs, Bindable, T, TypeAttrs, attributes, find_op
from .types import TensorType

DEEPEST = 16
"""How deep regions may be nested."""


class Region(Bindable):
    """A graph as an attribute, compared and hashed by what it computes, regardless of names."""

    __slots__ = ("_key", "graph")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._key: Key | None = None

    @property
    def key(self) -> Key:
        """Equal for regions that compute the same with the same nodes."""
        if self._key is None:
            self._key = Key((structure(self.graph), tuple(signs(node.attrs) for _, node in self.graph.nodes())))
        return self._key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Region) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Region({len(self.graph)} nodes)"

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset[str]().union(*(symbols_of(node) for _, node in self.graph.nodes()))

    def bind(self, sizes: Mapping[str, int]) -> Region:
        bound = self.graph.bind(sizes)
        return self if bound is self.graph else Region(bound)


def structure(graph: Graph) -> tuple[Hashable, ...]:
    """Ops, attributes, types and wiring, regardless of names."""
    position: dict[str, int] = {}
    parts: list[Hashable] = []
    for name, node in graph.nodes():
        feeds = tuple((position[v.node], v.output) for v in graph.inputs_of(name))
        position[name] = len(position)
        parts.append((node.op.name, node.attrs, node.outputs, feeds))
    parts.append(tuple(position[name] for name in graph.inputs))
    parts.append(tuple((position[v.node], v.output) for v in graph.results))
    return tuple(parts)


def signs(value: object) -> Hashable:
    """What ``==`` ignores: which numbers are -0.0 rather than 0.0."""
    if isinstance(value, float):
        return value == 0 and math.copysign(1.0, value) < 0
    if isinstance(value, tuple):
        return tuple(signs(item) for item in value)
    if isinstance(value, Attrs):
        return tuple(signs(item) for _, item in value.items())
    return None


@attributes
class RegionAttrs(Attrs):
    """Attributes with regions."""

    @property
    def handed(self) -> int:
        """The number of the regions' inputs that the node passes itself; the others are captures, its last operands."""
        return 0


class Recorded(NamedTuple):
    """Functions as regions, and the values that they capture, which are the last inputs of each."""

    regions: tuple[Region, ...]
    captures: tuple[AbstractTensor, ...]


def regions_of(attrs: Attrs) -> Mapping[str, Region]:
    """The regions among attributes, by field name."""
    return {name: value for name, value in attrs.items() if isinstance(value, Region)}


def has_regions(graph: Graph) -> bool:
    """Whether a node of the graph holds any."""
    return any(node.op.regions for _, node in graph.nodes())


def walk(graph: Graph, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Graph]]:
    """The graph and all nested graphs, each with its path: a node, a field of it, a node there, and so on."""
    pending = [(path, graph)]
    while pending:
        path, graph = pending.pop()
        yield path, graph
        inner = [
            ((*path, name, label), region.graph)
            for name, node in graph.nodes() if node.op.regions for label, region in regions_of(node.attrs).items()
        ]  # fmt: skip
        pending += reversed(inner)


def node_at(graph: Graph, path: Sequence[str]) -> tuple[Graph, str]:
    """The graph to which a path of :func:`walk` leads, and the node with which it ends."""
    *inner, name = path
    for holder, label in zip(inner[::2], inner[1::2], strict=True):
        graph = regions_of(graph.node(holder).attrs)[label].graph
    return graph, name


def spelled(path: Sequence[str]) -> str:
    """A path in readable form."""
    return " > ".join(path)


def inline(region: Region, inputs: Sequence[T], like: T) -> tuple[T, ...]:
    """The results of a region: its nodes are emitted if ``like`` is a symbol, or run at once if it is a tensor."""
    graph = region.graph
    values: dict[Value, T] = dict(zip(map(Value, graph.inputs), inputs, strict=True))
    for name, node in graph.nodes():
        if node.op.source != "input":
            outputs = like.apply(node.op, node.attrs, [values[value] for value in graph.inputs_of(name)])
            values.update((Value(name, i), y) for i, y in enumerate(outputs))  # type: ignore[misc]  # of the kind of ``like``
    return tuple(values[value] for value in graph.outputs)


def with_inputs(graph: Graph, wanted: Sequence[str | TensorType]) -> Graph:
    """The graph with these inputs, in this order; a type stands for an input that is not read."""
    builder = Builder()
    mapped: dict[Value, Value] = {}
    for one in wanted:
        if isinstance(one, str):
            mapped[Value(one)] = builder.add(graph.node(one), (), one)[0]
        else:
            builder.emit(find_op("Input"), TypeAttrs(one.shape, one.dtype), name="unread")
    for name, node in graph.nodes():
        if node.op.source != "input":
            feeds = [mapped[value] for value in graph.inputs_of(name)]
            for output, value in enumerate(builder.add(node, feeds, name)):
                mapped[Value(name, output)] = value
    return builder.freeze(tuple(builder.inputs), tuple(mapped[value] for value in graph.outputs))


def read_inputs(region: Region) -> tuple[bool, ...]:
    """For each input, whether a result depends on it."""
    live = reachable(region.graph.dag, [value.node for value in region.graph.outputs])
    return tuple(name in live for name in region.graph.inputs)


def check_region(what: str, region: Region, inputs: Sequence[TensorType]) -> None:
    """Raise if something is not a region, or does not take values of these types."""
    graph = region.graph
    if graph.updates:
        raise GraphError(f"{what}: a region updates no parameter, and this one does {graph.updates[0][0]!r}")
    for name, node in graph.nodes():
        if node.op.source == "parameter" or node.op.random:
            raise GraphError(f"{what}: a region holds no {node.op.name}, and this one has {name!r}")
    types = graph.input_types
    if len(types) != len(inputs):
        raise GraphError(f"{what} takes {len(types)} inputs, and is given {len(inputs)}")
    for name, declared, given in zip(graph.inputs, types, inputs, strict=True):
        if not declared.same_value(given):
            raise GraphError(f"{what} takes {declared.with_order(None)} as {name!r}, and is given {given}")


def node_depth(node: Node) -> int:
    """How deep regions are nested in a node, 0 for none; stops counting beyond :data:`DEEPEST`."""
    depth, level = 0, [region.graph for region in regions_of(node.attrs).values()]
    while level and depth <= DEEPEST:
        depth += 1
        level = [r.graph for g in level for _, inner in g.nodes() for r in regions_of(inner.attrs).values()]
    return depth
