"""Building graphs: ``emit`` infers types, names the node and adds it; ``finish`` freezes the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from ..base.lazy import networkx as nx
from ..errors import GraphError
from .facts import live
from .ir import Dag, Graph, Node, Origin, Value
from .opdef import Attrs, OpDef
from .types import TensorType

MAX_NAME = 10_000
"""The most characters of a node's name; longer ones from users or files are cut."""


@lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """``MaxPool2dGrad`` as ``max_pool2d_grad``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def printable(text: str) -> str:
    """``text`` on one line, with control characters, line breaks and other unprintable characters escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Builder:
    """A graph under construction. Nodes are added after their inputs, so the order of insertion is topological.

    ``position`` numbers the nodes in that order.
    """

    def __init__(self) -> None:
        self.dag: Dag = nx.MultiDiGraph()
        self.inputs: list[str] = []
        self.position: dict[str, int] = {}
        self._feeds: dict[str, tuple[Value, ...]] = {}
        """The inputs of each node, in order, as the graph needs them often."""
        self._taken: dict[str, int] = {}

    @classmethod
    def extending(cls, graph: Graph) -> Builder:
        """A builder that starts with all nodes of ``graph`` under their names."""
        builder = cls()
        for name, node in graph.nodes():
            builder.place(node, graph.inputs_of(name), name)
        builder.inputs = list(graph.inputs)
        return builder

    def unique_name(self, base: str) -> str:
        """``base``, or ``base_1``, ``base_2``… if it is taken."""
        name = base = printable(base)[:MAX_NAME]
        count = self._taken.get(base, 0)
        while name in self.dag:
            count += 1
            name = f"{base[: MAX_NAME - 20]}_{count}"
        self._taken[base] = count
        return name

    def type(self, value: Value) -> TensorType:
        node: Node = self.dag.nodes[value.node]["node"]
        return node.outputs[value.output]

    def inputs_of(self, name: str) -> tuple[Value, ...]:
        """The inputs of a node, by slot."""
        return self._feeds[name]

    def emit(
        self,
        op: OpDef,
        attrs: Attrs,
        inputs: Sequence[Value] = (),
        *,
        name: str | None = None,
        origin: Origin = Origin(),
    ) -> tuple[Value, ...]:
        """Add a node and return its outputs.

        Parameters
        ----------
        op, attrs, inputs
            The application; types are inferred from the inputs' types.
        name
            Wanted name (made unique); the op's name in snake case when omitted.
        origin
            Where the node comes from.
        """
        given = tuple([self.type(value) for value in inputs])
        node = Node(op, attrs, op.infer_types(attrs, given), origin)
        node.checked.follows = given
        return self.add(node, inputs, name or snake_case(op.name))

    def add(self, node: Node, inputs: Sequence[Value], name: str) -> tuple[Value, ...]:
        """Add a node whose types are known already (a copy from another graph)."""
        key = self.unique_name(name)
        self.place(node, tuple(inputs), key)
        return tuple([Value(key, i) for i in range(len(node.outputs))])

    def place(self, node: Node, inputs: tuple[Value, ...], key: str) -> None:
        """Add a node under a name that is known to be free, as it is in a copy of a graph."""
        dag, feeds = self.dag, self._feeds
        for value in inputs:
            if value.node not in feeds:
                raise GraphError(f"{key}: what feeds it, {value}, is not in the graph")
        dag.add_node(key, node=node)
        self.position[key] = len(self.position)
        feeds[key] = inputs
        for slot, value in enumerate(inputs):
            dag.add_edge(value.node, key, key=slot, output=value.output)
        if node.op.source == "input":
            self.inputs.append(key)

    def finish(
        self, outputs: Iterable[Value], updates: Iterable[tuple[str, Value]] = (), names: Iterable[str] = (), *,
        prune: bool = True,
    ) -> Graph:  # fmt: skip
        """Freeze into a :class:`Graph`; ``prune`` drops nodes that neither an output nor an update needs.

        Inputs always remain, as they are part of the calling convention, and so do random draws.
        """
        outputs, updates = tuple(outputs), tuple(updates)
        for value in (*outputs, *(v for _, v in updates)):
            if value.node not in self.dag:
                raise GraphError(f"the output {value} is not in the graph")
        if prune:
            kept = live(self.dag, (*outputs, *(v for _, v in updates), *map(Value, self.inputs)))
            if len(kept) < len(self.dag):
                self.dag.remove_nodes_from([name for name in self.dag if name not in kept])
                self._feeds = {name: feeds for name, feeds in self._feeds.items() if name in kept}
        return self.freeze(self.inputs, outputs, updates, names)

    def freeze(
        self, inputs: Iterable[str], outputs: Iterable[Value], updates: Iterable[tuple[str, Value]] = (),
        names: Iterable[str] = (),
    ) -> Graph:  # fmt: skip
        """Freeze all nodes into a graph with these inputs and results."""
        return Graph(self.dag, tuple(inputs), tuple(outputs), tuple(updates), tuple(names), feeds=self._feeds)


def with_nodes(graph: Graph, changed: Mapping[str, Node]) -> Graph:
    """The graph with some of its nodes replaced, by name."""
    builder = Builder()
    for name, node in graph.nodes():
        builder.place(changed.get(name, node), graph.inputs_of(name), name)
    return builder.freeze(graph.inputs, graph.outputs, graph.updates, graph.names)
