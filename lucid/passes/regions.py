"""Applies passes to the graphs within nodes, with what is known about the values that they capture."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from ..graph.builder import Builder, with_nodes
from ..graph.cut import cut
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
    """Runs passes on a graph that a node holds; ``path`` has the names of the node and of its attribute."""

    def __call__(self, graph: Graph, /, path: tuple[str, ...]) -> Graph: ...


def optimise_regions(graph: Graph, run: Run) -> Graph:
    """Run passes on the regions of nodes.

    A captured constant is a constant within the region, and a captured value that depends on parameters only counts as
    a parameter, as in the graph around; memory orders are those of the graph around. A value that no region of a node
    reads any more is no longer captured.
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
    """The node with optimised regions, and its inputs."""
    node = graph.node(name)
    assert isinstance(node.attrs, RegionAttrs)
    before, handed = regions_of(node.attrs), node.attrs.handed
    first = len(feeds) - (len(next(iter(before.values())).graph.inputs) - handed)
    captures = feeds[first:]
    after = dict[str, Region]()
    for label, region in before.items():
        known = _known(graph, dict(zip(region.graph.inputs[handed:], captures, strict=True)), region.graph, fixed)
        with noted_at(name, label):
            passed = run(_with_sources(region.graph, known), path=(name, label))
        after[label] = region if passed is region.graph else Region(_with_inputs_of(region.graph, passed))
    if all(after[label] is region for label, region in before.items()):
        return node, feeds
    read = [any(each) for each in zip(*(read_inputs(region)[handed:] for region in after.values()), strict=True)]
    kept = {label: _reading(region, handed, read) for label, region in after.items()}
    left = [value for value, live in zip(captures, read, strict=True) if live]
    return replace(node, attrs=replace(node.attrs, **kept)), [*feeds[:first], *left]


def _known(graph: Graph, captured: Mapping[str, Value], inner: Graph, fixed: Container[str]) -> dict[str, Node]:
    """Nodes to stand for those captured inputs of a region that are constant or fixed, or have a memory order."""
    known: dict[str, Node] = {}
    for name, value in captured.items():
        source, node = graph.node(value.node), inner.node(name)
        (type_,) = node.outputs
        if fixed_alone(source):
            known[name] = source
        elif value.node in fixed:
            known[name] = replace(
                node, op=PARAMETER, attrs=ParameterAttrs(type_.shape, type_.dtype, f"captured {name}")
            )
        elif graph.type(value).order is not None:
            known[name] = replace(node, outputs=(graph.type(value),))
    return known


def _with_inputs_of(before: Graph, after: Graph) -> Graph:
    """The graph ``after`` the passes with the inputs of the one ``before``, in place of nodes that stood for them."""
    inputs = {
        name: replace(node, op=INPUT, attrs=TypeAttrs(node.outputs[0].shape, node.outputs[0].dtype))
        for name, node in after.nodes()
        if node.op is PARAMETER
    }
    after = with_nodes(after, inputs)
    there = (name in after and after.node(name).op is INPUT for name in before.inputs)
    kept = [name if read else before.node(name).outputs[0] for name, read in zip(before.inputs, there, strict=True)]
    return with_inputs(after, kept)


def _with_sources(graph: Graph, known: dict[str, Node]) -> Graph:
    """The graph with other nodes in place of some of its inputs."""
    if not known:
        return graph
    made = with_nodes(graph, known)
    left = tuple(name for name in graph.inputs if made.node(name).op is INPUT)
    return Graph(made.dag, left, graph.outputs)


def _reading(region: Region, handed: int, read: Sequence[bool]) -> Region:
    """The region without the captures that are not read."""
    names = region.graph.inputs
    kept = [name for name, live in zip(names[handed:], read, strict=True) if live]
    return region if all(read) else Region(with_inputs(region.graph, [*names[:handed], *kept]))


def decide_branches(graph: Graph, evaluate: Evaluate) -> Graph:
    """Resolve the branches whose conditions are constant, for example because they depend on sizes only.

    Parameters
    ----------
    graph
        A graph with concrete sizes.
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
    behind = reachable(graph.dag, [value.node for value in known.values()])
    found = dict(zip(known, evaluate(cut(graph, behind, {}, (), list(known.values())), ()), strict=True))

    def rule(site: Site) -> Sequence[Symbol] | None:
        if site.name not in found:
            return None
        condition, *captures = site.inputs
        taken = site.attrs.then if found[site.name] else site.attrs.otherwise
        return inline(taken, captures, condition)

    return rebuild(graph, rule, "decide_branches", at={IF})
