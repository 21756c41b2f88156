"""Properties of graphs that passes, planning, autodiff and pictures share, each computed in one place."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Final

from .dims import SymDim
from .ir import Dag, Graph, Node, Value, edges_of
from .opdef import NoGradient
from .types import is_float

RECOMPUTE: Final = "recompute"
"""What the history of a recomputing node says."""


def is_recomputed(node: Node) -> bool:
    """Whether a node recomputes what another has computed."""
    return any(line.startswith(f"{RECOMPUTE}:") for line in node.origin.history)


def is_elementwise(node: Node) -> bool:
    """Whether the node computes a single result element by element, and nothing else."""
    return node.op.elementwise and node.op.pure and len(node.outputs) == 1


def settled(node: Node) -> bool:
    """Whether a node with unchanged inputs has the same results until a parameter changes.

    Results of regions are not kept, as it depends on the run which of their nodes are computed.
    """
    return (node.op.pure and not node.op.regions) or node.op.source == "parameter"


def fixed(node: Node) -> bool:
    """Whether a node with unchanged inputs always has the same results."""
    return settled(node) and node.op.source != "parameter"


def fixed_alone(node: Node) -> bool:
    """Whether a node has no inputs and always the same results."""
    return fixed(node) and node.op.inputs == ()


def parameter_only(graph: Graph, given: Iterable[str] = ()) -> set[str]:
    """Nodes that depend on parameters and constants only, so that they run once per change of the parameters.

    Parameters that the graph itself updates do not count, as they change at every run. For a region, inputs that depend
    on parameters only may be ``given``.
    """
    found, updated = set(given), {graph.parameters.get(label) for label, _ in graph.updates}
    for name, node in graph.nodes():
        if name not in updated and settled(node) and found.issuperset(graph.dag.predecessors(name)):
            found.add(name)
    return found


def constant_only(graph: Graph) -> set[str]:
    """Nodes that depend on constants only."""
    found: set[str] = set()
    for name, node in graph.nodes():
        if fixed(node) and all(source in found for source in graph.dag.predecessors(name)):
            found.add(name)
    return found


def drawn(graph: Graph) -> list[str]:
    """Nodes that draw random numbers at each run, in order."""
    return [name for name, node in graph.nodes() if node.op.random] if any(op.random for op in graph.ops) else []


def finding(graph: Graph) -> list[str]:
    """Nodes that may determine a data-dependent size, in order."""
    return [name for name, node in graph.nodes() if node.op.finds] if any(op.finds for op in graph.ops) else []


def found_symbol(node: Node) -> str | None:
    """The symbol of the size that a node determines; None if it determines none, or its size is a number."""
    size = getattr(node.attrs, "size", None) if node.op.finds else None
    return str(size) if isinstance(size, SymDim) else None


def symbols_of(node: Node) -> frozenset[str]:
    """All symbols in a node's attributes and types."""
    return node.attrs.symbols.union(*(type_.symbols for type_ in node.outputs))


def live(dag: Dag, results: Iterable[Value]) -> set[str]:
    """The nodes that results need, and those that draw random numbers, so that later draws are unaffected.

    Each data-dependent size remains named: a trace may have relied on it without computing with it.
    """
    ends, finding = [value.node for value in results], []
    for name, node in dag.nodes(data="node"):
        if node.op.random:
            ends.append(name)
        elif node.op.finds:
            finding.append(name)
    return needed(ends, dag.predecessors, lambda name: dag.nodes[name]["node"], finding)


def needed(
    ends: Iterable[str], sources: Callable[[str], Iterable[str]], node: Callable[[str], Node], finding: Iterable[str]
) -> set[str]:
    """The nodes that are needed for some nodes of a graph, possibly under construction, and those that name its sizes.

    Parameters
    ----------
    ends
        The nodes.
    sources
        Returns the names of a node's inputs.
    node
        Returns the node of a name.
    finding
        Nodes that may name a data-dependent size; one is kept for each size.
    """
    known = _behind(ends, sources)
    naming = {name: symbol for name in finding if (symbol := found_symbol(node(name)))}
    named = {symbol for name, symbol in naming.items() if name in known}
    one_each = {symbol: name for name, symbol in naming.items() if symbol not in named}
    return known | _behind(one_each.values(), sources)


def read_values(graph: Graph) -> set[Value]:
    """The values that a node or the caller reads."""
    return {*graph.results, *(Value(u, output) for u, _, _, output in edges_of(graph.dag))}


def reachable(dag: Dag, targets: Iterable[str], stop: Container[str] = ()) -> set[str]:
    """The targets and everything they depend on, except what nodes in ``stop`` depend on."""
    return _behind(targets, dag.predecessors, stop)


def _behind(targets: Iterable[str], sources: Callable[[str], Iterable[str]], stop: Container[str] = ()) -> set[str]:
    found: set[str] = set()
    stack = list(targets)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            if name not in stop:
                stack.extend(sources(name))
    return found


def gives_gradients(dag: Dag, name: str) -> bool:
    """Whether a gradient of a node's results would reach an input or a parameter that wants it."""

    def through(name: str) -> Iterable[str]:
        node: Node = dag.nodes[name]["node"]
        passes = not isinstance(node.op.gradient, NoGradient) and any(is_float(y.dtype) for y in node.outputs)
        return dag.predecessors(name) if passes else ()

    nodes: Iterable[Node] = (dag.nodes[found]["node"] for found in _behind([name], through))
    return any(
        node.op.source in ("input", "parameter")
        and is_float(node.outputs[0].dtype)
        and getattr(node.attrs, "trainable", True)
        for node in nodes
    )
