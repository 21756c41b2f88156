"""The intermediate representation: nodes in a networkx DAG.

``graph.dag`` is a frozen ``networkx.MultiDiGraph`` and the only place where structure is stored. A node's key is its
name, and its attribute ``node`` is a :class:`Node`; an edge's key is the consumer's input slot, and its attribute
``output`` says which of the producer's outputs it carries.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any, Generic, NamedTuple, TypeAlias

from ..base import checks
from ..base.checks import shown
from ..base.lazy import networkx as nx
from ..base.structs import struct
from ..base.topological import topological
from ..errors import GraphError, ShapeError
from .opdef import A, OpDef, ParameterAttrs
from .types import TensorType

formats: dict[str, Any] = {}
"""The functions that show graphs; ``lucid.formats``, which depends on graphs, registers its modules here."""

Dag: TypeAlias = "nx.MultiDiGraph[str]"


class Value(NamedTuple):
    """One output of one node."""

    node: str
    output: int = 0

    def __str__(self) -> str:
        return self.node if self.output == 0 else f"{self.node}:{self.output}"


@struct(frozen=True)
class Origin:
    """Where a node comes from.

    Attributes
    ----------
    modules
        Paths of the modules in which it was traced (``features.0``); several after a merge.
    locations
        The user's lines, as ``file.py:12``.
    history
        What passes did, oldest first, as ``pass: from these nodes``.
    """

    modules: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    def merge(self, *others: Origin) -> Origin:
        """The union of origins, each part once, in order."""
        every = (self, *others)
        return Origin(
            tuple(dict.fromkeys(m for o in every for m in o.modules)),
            tuple(dict.fromkeys(x for o in every for x in o.locations)),
            tuple(dict.fromkeys(h for o in every for h in o.history)),
        )

    def __str__(self) -> str:
        parts = [", ".join(self.modules), ", ".join(self.locations)]
        return " at ".join(part for part in parts if part)


class Checked:
    """Checks that a node has passed, cached because most nodes outlive many graphs.

    Attributes
    ----------
    follows
        Types of its inputs from which its own types follow.
    sound
        Whether :func:`lucid.graph.verify.verify` has checked its op, attributes and types.
    """

    __slots__ = ("follows", "sound")

    def __init__(self) -> None:
        self.follows: tuple[TensorType, ...] | None = None
        self.sound = False


@struct(frozen=True)
class Node(Generic[A]):
    """One application of an op: everything about it except its edges. ``Node[ConvAttrs]`` types its attributes."""

    op: OpDef[A]
    attrs: A
    outputs: tuple[TensorType, ...]
    origin: Origin = Origin()
    checked: Checked = field(default_factory=Checked, init=False, repr=False, compare=False)

    def with_origin(self, origin: Origin) -> Node[A]:
        """The same node with another origin; checks that it has passed remain valid."""
        made = Node(self.op, self.attrs, self.outputs, origin)
        made.checked.follows, made.checked.sound = self.checked.follows, self.checked.sound
        return made


def edges_of(dag: Dag) -> Iterator[tuple[str, str, int, int]]:
    """All edges as (source, target, slot, output).

    ``dag.edges`` has the same, but leaves a view in the DAG that refers to the DAG: a cycle, which only the garbage
    collector would free.
    """
    for source, targets in dag.adjacency():
        for target, slots in targets.items():
            for slot, data in slots.items():
                yield source, target, slot, data.get("output")  # the verifier names an edge that has none


class Graph:
    """An immutable computation: a frozen DAG, its inputs and its results.

    Parameters
    ----------
    dag
        The structure; it is frozen.
    inputs
        Names of the ``Input`` nodes, in calling order.
    outputs
        What the graph returns.
    updates
        ``(parameter, value)`` pairs: after a run each parameter (or buffer) takes the value.
    names
        The names of the outputs, if any: ``∂ conv1.weight`` is the gradient of a parameter. ``""`` means no name.
    feeds
        The operands of each node, by input slot, if known to the creator of the DAG; the nodes must then be in
        topological order.
    """

    __slots__ = (
        "_feeds",
        "_ops",
        "_order",
        "_parameters",
        "_reads",
        "_table",
        "dag",
        "inputs",
        "names",
        "outputs",
        "updates",
    )

    def __init__(
        self,
        dag: Dag,
        inputs: tuple[str, ...],
        outputs: tuple[Value, ...],
        updates: tuple[tuple[str, Value], ...] = (),
        names: tuple[str, ...] = (),
        *,
        feeds: dict[str, tuple[Value, ...]] | None = None,
    ) -> None:
        self.dag: Dag = dag if nx.is_frozen(dag) else nx.freeze(dag)
        self.inputs = inputs
        self.outputs = outputs
        self.updates = updates
        self.names = names if any(names) else ()
        self._order: tuple[str, ...] | None = None if feeds is None else tuple(feeds)
        self._feeds: Mapping[str, tuple[Value, ...]] | None = feeds
        self._ops: frozenset[OpDef] | None = None
        self._reads: Counter[Value] | None = None
        self._table: dict[str, Node] | None = None
        self._parameters: Mapping[str, str] | None = None

    def __len__(self) -> int:
        return len(self.dag)

    def __contains__(self, name: object) -> bool:
        return name in self.dag

    def node(self, name: str) -> Node:
        """The node called ``name``."""
        try:
            return self.table[name]
        except KeyError:
            raise GraphError(f"no node is called {name!r}") from None

    @property
    def table(self) -> Mapping[str, Node]:
        """All nodes by name."""
        if self._table is None:
            self._table = {name: data["node"] for name, data in self.dag.nodes(data=True) if "node" in data}
        return self._table

    @property
    def ops(self) -> frozenset[OpDef]:
        """The ops that its nodes apply."""
        if self._ops is None:
            self._ops = frozenset(node.op for node in self.table.values())
        return self._ops

    def type(self, value: Value) -> TensorType:
        """The type of a value."""
        return self.node(value.node).outputs[value.output]

    def inputs_of(self, name: str) -> tuple[Value, ...]:
        """The inputs of a node, by slot."""
        self.node(name)  # which says where there is none
        return self.feeds[name]

    @property
    def feeds(self) -> Mapping[str, tuple[Value, ...]]:
        """The inputs of each node, by slot."""
        if self._feeds is None:
            slots: dict[str, list[tuple[int, Value]]] = {name: [] for name in self.dag}
            for source, target, slot, output in edges_of(self.dag):
                slots[target].append((slot, Value(source, output)))
            self._feeds = {name: tuple(value for _, value in sorted(found)) for name, found in slots.items()}
        return self._feeds

    @property
    def reads(self) -> Mapping[Value, int]:
        """How often each value is read: by nodes, as a result, as an update."""
        if self._reads is None:
            reads = Counter(self.results)
            for values in self.feeds.values():
                reads.update(values)
            self._reads = reads  # whole, also where an interrupt comes or another thread asks meanwhile
        return self._reads

    def users(self, value: Value) -> list[tuple[str, int]]:
        """The ``(node, slot)`` pairs that read a value, in order of their nodes' insertion into the DAG."""
        readers = self.dag.succ[value.node].items()
        return [(v, slot) for v, slots in readers for slot, data in slots.items() if data["output"] == value.output]

    @property
    def results(self) -> tuple[Value, ...]:
        """Everything that must be computed: outputs, then updates."""
        return (*self.outputs, *(value for _, value in self.updates))

    @property
    def order(self) -> tuple[str, ...]:
        """Node names in topological order: the order of insertion, if that is topological."""
        if self._order is None:
            names = tuple(self.dag)
            position = {name: i for i, name in enumerate(names)}
            if any(position[u] >= position[v] for u, v, _, _ in edges_of(self.dag)):
                try:
                    names = topological(self.dag, position.__getitem__)
                except nx.NetworkXUnfeasible as error:
                    cycle = " -> ".join(u for u, *_ in nx.find_cycle(self.dag))
                    raise GraphError(f"the graph has a cycle: {cycle}") from error
            self._order = names
        return self._order

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """``(name, node)`` pairs in topological order."""
        table = self.table
        return ((name, table[name]) for name in self.order)

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        """Types of the inputs, in order."""
        return tuple(self.node(name).outputs[0] for name in self.inputs)

    @property
    def channels_last(self) -> bool:
        """Whether an input is channels-last in memory: then results may be too; otherwise they are row-major."""
        return any(type_.order is not None for type_ in self.input_types)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs, in order."""
        return tuple(self.type(value) for value in self.outputs)

    @property
    def parameters(self) -> Mapping[str, str]:
        """Parameter name to node name, in topological order."""
        if self._parameters is None:
            named = ((node.attrs, key) for key, node in self.nodes())
            self._parameters = {attrs.name: key for attrs, key in named if isinstance(attrs, ParameterAttrs)}
        return self._parameters

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbolic dimensions of the inputs, sorted."""
        return tuple(sorted({symbol for type_ in self.input_types for symbol in type_.symbols}))

    def bind(self, sizes: Mapping[str, int]) -> Graph:
        """The same graph with every symbolic dimension replaced by its size; the type rules check those sizes."""
        for name, size in checks.mapping("bind", "sizes", sizes).items():
            checks.integer("bind", f"the size of {shown(name)}", size, 0)
        missing = [name for name in self.symbols if name not in sizes]
        if missing:
            raise ShapeError(f"no size is given for the symbolic dimension {missing[0]!r}")
        bound = dict[str, Node]()
        for name, node in self.nodes():  # of a gradient, the inputs may have no symbols where other values do
            bound[name] = node
            attrs = node.attrs.bind(sizes)
            outputs = tuple([t.bind(sizes) for t in node.outputs])
            feeds = self.feeds[name]
            if attrs is not node.attrs or outputs != node.outputs or any(self.type(v).symbols for v in feeds):
                inputs = tuple([bound[v.node].outputs[v.output] for v in feeds])
                try:
                    inferred = node.op.infer_types(attrs, inputs)
                except (ArithmeticError, LookupError) as error:  # a rule that met sizes it was not made for
                    raise ShapeError(f"{name}: {node.op.name} cannot take sizes {dict(sizes)}: {error}") from error
                _check_bound(name, outputs, inferred, sizes)
                bound[name] = replace(node, attrs=attrs, outputs=outputs)
                bound[name].checked.follows, bound[name].checked.sound = inputs, node.checked.sound
        if all(bound[name] is node for name, node in self.nodes()):
            return self
        dag: Dag = nx.MultiDiGraph()
        dag.add_nodes_from((name, {"node": node}) for name, node in bound.items())
        dag.add_edges_from((u, v, slot, {"output": output}) for u, v, slot, output in edges_of(self.dag))
        return Graph(
            dag, self.inputs, self.outputs, self.updates, self.names, feeds={name: self.feeds[name] for name in bound}
        )

    def draw(self, path: str | os.PathLike[str], **options: object) -> None:
        """Draw the graph to a file; see :func:`lucid.formats.draw.draw` for formats and options."""
        formats["draw"].draw(self, path, **options)

    def _repr_svg_(self) -> str | None:
        """The picture that a notebook shows."""
        svg: str | None = formats["draw"].notebook(self)
        return svg

    def text(self, *, origins: bool = False, elide: bool = False) -> str:
        """The textual form; see :func:`lucid.formats.text.to_text`."""
        text: str = formats["text"].to_text(self, origins=origins, elide=elide)
        return text

    def __str__(self) -> str:
        return self.text(elide=True)

    def __repr__(self) -> str:
        return f"<Graph: {len(self)} nodes, {len(self.inputs)} inputs, {len(self.outputs)} outputs>"


def _check_bound(
    name: str, outputs: tuple[TensorType, ...], inferred: tuple[TensorType, ...], sizes: Mapping[str, int]
) -> None:
    """Raise if a type does not follow from the sizes as the trace has assumed."""
    for said, follows in zip(outputs, inferred, strict=True):
        if not said.same_value(follows):
            listed = ", ".join(f"{symbol}={size}" for symbol, size in sizes.items())
            raise ShapeError(f"node {name!r} is {said.with_order(None)} by the trace, but {follows} where {listed}")
