"""The nodes and edges of a graph, in the dictionaries that a ``networkx.MultiDiGraph`` is made of.

``graph.dag`` is such a graph around the same dictionaries: structure is stored once. It is made when it is asked for,
as to import networkx takes longer than to compile a small model, which can do without its algorithms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping
from typing import Generic, TypeAlias, TypeVar

from ..base.lazy import networkx as nx
from ..errors import GraphError

N = TypeVar("N")
"""What a node is; all of a graph's are :class:`~lucid.graph.ir.Node`."""

Dag: TypeAlias = "nx.MultiDiGraph[str]"
Attributes: TypeAlias = Mapping[str, N]
"""Of a node: what it is stands under ``node``. A graph that is made by hand may lack it."""
Slots: TypeAlias = "dict[int, dict[str, int]]"
"""The edges from one node to another: by the input slot of the other, which ``output`` of the one it carries."""
Adjacent: TypeAlias = "dict[str, dict[str, Slots]]"


class Wiring(Generic[N]):
    """Who feeds whom.

    Attributes
    ----------
    nodes
        By name; the order is that of insertion.
    succ, pred
        For each node those that it feeds, and those that feed it, with the edges between them.
    frozen
        Whether a graph has it, and nothing is to be added.
    """

    __slots__ = ("_dag", "frozen", "nodes", "pred", "succ")

    def __init__(
        self, nodes: dict[str, Attributes[N]] | None = None, succ: Adjacent | None = None, pred: Adjacent | None = None
    ) -> None:
        self.nodes: dict[str, Attributes[N]] = {} if nodes is None else nodes
        self.succ: Adjacent = {} if succ is None else succ
        self.pred: Adjacent = {} if pred is None else pred
        self.frozen = False
        self._dag: Dag | None = None

    @classmethod
    def of(cls, dag: Dag) -> Wiring[N]:
        """That of a networkx graph, which is frozen."""
        self = cls(dict(dag.nodes(data=True)), dict(dag.adjacency()), dict(dag.reverse(copy=False).adjacency()))
        self._dag, self.frozen = nx.freeze(dag), True
        return self

    def with_nodes(self, nodes: Mapping[str, N]) -> Wiring[N]:
        """The same edges between other nodes of the same names; of a graph, whose edges stay."""
        return Wiring({name: {"node": node} for name, node in nodes.items()}, self.succ, self.pred)

    @property
    def dag(self) -> Dag:
        """The networkx graph; made now, if it is not there yet."""
        if self._dag is None:
            self.frozen = True
            outer = iter((self.succ, self.pred))
            dag: Dag = nx.MultiDiGraph.__new__(nx.MultiDiGraph)
            dag.node_dict_factory, dag.adjlist_outer_dict_factory = (lambda: self.nodes), (lambda: next(outer))
            dag.__init__()
            del dag.node_dict_factory, dag.adjlist_outer_dict_factory  # of its copies they are the usual ones
            self._dag = nx.freeze(dag)
        return self._dag

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def node(self, name: str) -> N:
        """The node of that name."""
        return self.nodes[name]["node"]

    def successors(self, name: str) -> KeysView[str]:
        """The nodes that it feeds, in order of insertion."""
        return self.succ[name].keys()

    def predecessors(self, name: str) -> KeysView[str]:
        """The nodes that feed it."""
        return self.pred[name].keys()

    def edges(self) -> Iterator[tuple[str, str, int, int]]:
        """All edges as (source, target, slot, output)."""
        for source, targets in self.succ.items():
            for target, slots in targets.items():
                for slot, data in slots.items():
                    # the verifier names an edge without an output, as one that is made by hand may be
                    yield source, target, slot, data.get("output")  # type: ignore[misc]

    def add_node(self, name: str, node: N) -> None:
        """Add a node without edges."""
        if self.frozen:
            raise GraphError(f"{name}: nothing can be added to what is a graph already")
        self.nodes[name] = {"node": node}
        self.succ[name], self.pred[name] = {}, {}

    def add_edge(self, source: str, target: str, slot: int, output: int) -> None:
        """Let an output of a node feed an input slot of another; both are there, and the slot is free."""
        targets = self.succ[source]
        slots = targets.get(target)
        if slots is None:
            slots = targets[target] = self.pred[target][source] = {}
        slots[slot] = {"output": output}

    def remove(self, names: Iterable[str]) -> None:
        """Remove nodes, with their edges."""
        if self.frozen:
            raise GraphError("nothing can be removed from what is a graph already")
        for name in names:
            del self.nodes[name]
            for source in self.pred.pop(name):
                self.succ[source].pop(name, None)
            for target in self.succ.pop(name):
                self.pred[target].pop(name, None)
