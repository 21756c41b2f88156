"""Applies the passes to the graphs within nodes, with what is known of the values that they capture."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from ..graph.builder import Builder, with_nodes
from ..graph.facts import constant_only, fixed_alone, parameter_only, reachable
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import ParameterAttrs, TypeAttrs
from ..graph.ops.control import IF
from ..graph.ops.source import INPUT, PARAMETER
from ..graph.region import DEEPEST, Region, RegionAttrs, inline, read_inputs, regions_of, with_inputs
from ..graph.trace import Symbol
from .eliminate_dead import eliminate_dead
from .fold.constants import Evaluate
from .rewrite import Site, fixed_point, noted_at, rebuild


class Run(Protocol):
    """Runs passes on a graph, which a node holds; ``path`` are the names of the node and of its attribute."""

    def __call__(self, graph: Graph, /, path: tuple[str, ...]) -> Graph: ...


def optimise_regions(graph: Graph, run: Run) -> Graph:
    """Run passes on the regions of nodes.

    What a region captures of constants is a constant there, and what depends on parameters only is taken for a
    parameter, as in the graph around; it lies in memory as there. What no region of a node reads any more is not
    captured.
    """
    fixed = parameter_only(graph)
    builder, changed = Builder(), False
    for name, node in graph.nodes():
        feeds: Sequence[Value] = graph.inputs_of(name)
        if isinstance(node.attrs, RegionAttrs):
            after, feeds = _optimised(graph, name, feeds, fixed, run)
            changed, node = changed or after is not node, after
        builder.add(node, feeds, name)
    if not changed:
        return graph
    return eliminate_dead(builder.freeze(graph.inputs, graph.outputs, graph.updates, graph.names))


def _optimised(
    graph: Graph, name: str, feeds: Sequence[Value], fixed: Container[str], run: Run
) -> tuple[Node, Sequence[Value]]:
    """The node with other regions, and what feeds it then."""
    node = graph.node(name)
    assert isinstance(node.attrs, RegionAttrs)
    before, handed = regions_of(node.attrs), node.attrs.handed
    first = len(feeds) - (len(next(iter(before.values())).graph.inputs) - handed)
    captures = feeds[first:]
    after = dict[str, Region]()
    for label, region in before.items():
        with noted_at(name, label):
            after[label] = _passed(graph, region, handed, captures, fixed, partial(run, path=(name, label)))
    if all(after[label] is region for label, region in before.items()):
        return node, feeds
    read = [any(each) for each in zip(*(read_inputs(region)[handed:] for region in after.values()), strict=True)]
    kept = {label: _reading(region, handed, read) for label, region in after.items()}
    left = [value for value, live in zip(captures, read, strict=True) if live]
    return replace(node, attrs=replace(node.attrs, **kept)), [*feeds[:first], *left]


def _passed(
    graph: Graph, region: Region, handed: int, captures: Sequence[Value], fixed: Container[str],
    run: Callable[[Graph], Graph],
) -> Region:  # fmt: skip
    """One region after the passes."""
    inner = region.graph
    known: dict[str, Node] = {}
    for label, value in zip(inner.inputs[handed:], captures, strict=True):
        source = graph.node(value.node)
        if fixed_alone(source):
            known[label] = source
        elif value.node in fixed:
            type_ = inner.node(label).outputs[0]
            attrs = ParameterAttrs(type_.shape, type_.dtype, f"captured {label}")
            known[label] = Node(PARAMETER, attrs, (type_,), inner.node(label).origin)
        elif graph.type(value).order is not None:
            known[label] = replace(inner.node(label), outputs=(graph.type(value),))
    after = run(_with_sources(inner, known))
    if after is inner:
        return region
    parameters = {name: node for name, node in after.nodes() if node.op is PARAMETER}
    inputs = {
        name: replace(node, op=INPUT, attrs=TypeAttrs(node.outputs[0].shape, node.outputs[0].dtype))
        for name, node in parameters.items()
    }  # fmt: skip
    after = with_nodes(after, inputs)
    there = [
        name if name in after and after.node(name).op is INPUT else inner.node(name).outputs[0] for name in inner.inputs
    ]
    return Region(with_inputs(after, there))


def _with_sources(graph: Graph, known: dict[str, Node]) -> Graph:
    """The graph with other nodes for some of its inputs."""
    if not known:
        return graph
    made = with_nodes(graph, known)
    left = tuple(name for name in graph.inputs if made.node(name).op is INPUT)
    return Graph(made.dag, left, graph.outputs)


def _reading(region: Region, handed: int, read: Sequence[bool]) -> Region:
    """The region without the captures that nobody reads."""
    names = region.graph.inputs
    kept = [name for name, live in zip(names[handed:], read, strict=True) if live]
    return region if all(read) else Region(with_inputs(region.graph, [*names[:handed], *kept]))


def decide_branches(graph: Graph, evaluate: Evaluate) -> Graph:
    """A graph without the branches that are decided by constants: those, say, of a concrete graph by its sizes.

    Parameters
    ----------
    graph
        Concrete.
    evaluate
        ``evaluate(graph, inputs)`` runs a graph and returns its outputs.
    """
    return fixed_point(partial(_decided, evaluate=evaluate), graph, DEEPEST, label="decide_branches")


def _decided(graph: Graph, evaluate: Evaluate) -> Graph:
    conditions = {name: graph.inputs_of(name)[0] for name, node in graph.nodes() if node.op is IF}
    constant = constant_only(graph) if conditions else set[str]()
    known = {name: value for name, value in conditions.items() if value.node in constant}
    if not known:
        return graph
    found = dict(zip(known, evaluate(_part(graph, list(known.values())), ()), strict=True))

    def rule(site: Site) -> Sequence[Symbol] | None:
        if site.name not in found:
            return None
        condition, *captures = site.inputs
        taken = site.attrs.then if found[site.name] else site.attrs.otherwise
        return inline(taken, captures, condition)

    return rebuild(graph, rule, "decide_branches", at={IF})


def _part(graph: Graph, outputs: Sequence[Value]) -> Graph:
    """What some values need, as a graph of its own."""
    live, builder = reachable(graph.dag, [value.node for value in outputs]), Builder()
    for name, node in graph.nodes():
        if name in live:
            builder.add(node, graph.inputs_of(name), name)
    return builder.freeze((), tuple(outputs))
