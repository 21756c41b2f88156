"""Stages: which part of a graph can run before a data-dependent size is known, and which part only after.

A node of an op that ``finds`` names such a size: the symbol is its attribute ``size``, the number its last input. Any
node with the symbol in its types or attributes depends on that number, whether or not an edge leads there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ..base.arrays import Array
from ..errors import GraphError
from .cut import Part, part
from .facts import found_symbol, symbols_of
from .ir import Graph, Value
from .ops.source import ConstantAttrs


class Stage(NamedTuple):
    """A part of a graph, and the sizes that must be known before it runs.

    Attributes
    ----------
    sizes
        The new sizes: for each symbol the scalar that determines it, computed by earlier stages.
    part
        The part that runs, with its symbols.
    """

    sizes: Mapping[str, Value]
    part: Part


def found_sizes(graph: Graph) -> dict[str, Value]:
    """The data-dependent sizes: for each symbol the scalar that determines it.

    Raises
    ------
    GraphError
        If different scalars determine one size.
    """
    found: dict[str, Value] = {}
    if any(op.finds for op in graph.ops):
        for name, node in graph.nodes():
            size = found_symbol(node)
            if size is not None and found.setdefault(size, graph.inputs_of(name)[-1]) != graph.inputs_of(name)[-1]:
                raise GraphError(f"node {name!r}: the size {size!r} is found by {found[size]} already")
    return found


def depths(graph: Graph, sizes: Mapping[str, Value]) -> tuple[dict[str, int], dict[str, int]]:
    """After how many successive sizes each node can run, and each size is known.

    Raises
    ------
    GraphError
        If a size depends on itself.
    """
    read = {name: symbols_of(node) & sizes.keys() for name, node in graph.nodes()}
    of_sizes = dict.fromkeys(sizes, 1)
    for _ in range(len(sizes) + 1):  # a symbol may stand before the node that names it
        of_nodes: dict[str, int] = {}
        for name in graph.order:
            behind = (of_nodes[source] for source in graph.dag.predecessors(name))
            of_nodes[name] = max((*behind, *(of_sizes[symbol] for symbol in read[name])), default=0)
        known = {symbol: of_nodes[count.node] + 1 for symbol, count in sizes.items()}
        if known == of_sizes:
            return of_nodes, of_sizes
        of_sizes = known
    raise GraphError(f"the sizes {', '.join(sorted(sizes))}, which data decides, depend on each other")


def stages(graph: Graph, given: Collection[str] = ()) -> list[Stage]:
    """The graph cut where sizes that are not ``given`` become known; a single stage if there are none."""
    sizes = {symbol: count for symbol, count in found_sizes(graph).items() if symbol not in given}
    of_nodes, of_sizes = depths(graph, sizes)
    named: dict[int, list[str]] = {}
    for name, depth in of_nodes.items():
        named.setdefault(depth, []).append(name)
    made = []
    for depth in range(max(of_nodes.values(), default=0) + 1):
        new = {symbol: sizes[symbol] for symbol, known in of_sizes.items() if known == depth}
        made.append(Stage(new, part(graph, named.get(depth, ()))))
    return made


def number(graph: Graph, count: Value, values: Mapping[Value, Array]) -> int:
    """The value of a scalar that determines a size: a constant, or one of the known values."""
    attrs = graph.node(count.node).attrs
    return int(attrs.value.array if isinstance(attrs, ConstantAttrs) else values[count])
