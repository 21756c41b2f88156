"""A pass: convolutions side by side whose results are added become one, as in RepVGG (Ding et al., 2021)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import reduce
from operator import add

import networkx as nx

from lucid.extend import Graph, Symbol, Value, View, apply, find_op, register_pass
from lucid.nn import functional as F
from lucid.passes import Site, rebuild

ADD, CONV = find_op("Add"), find_op("Conv2d")


@register_pass(after="fold_batch_norm")
def merge_branches(graph: Graph) -> Graph:
    """``conv(x, v) + conv(x, w)`` is ``conv(x, v + w)``; a small ``w`` is a large one with zeros around it."""
    position = {name: number for number, name in enumerate(graph.order)}
    sums = nx.DiGraph()
    sums.add_nodes_from(name for name, node in graph.nodes() if node.op is ADD)
    sums.add_edges_from((u, v) for u, v in graph.dag.edges() if u in sums and v in sums and read_once(graph, u))

    def rule(site: Site) -> Symbol | None:
        if site.op is not ADD or sums.out_degree(site.name):
            return None  # no sum, or a part of a longer one
        long = {site.name, *nx.ancestors(sums, site.name)}
        terms = [value for name in sorted(long, key=position.__getitem__) for value in graph.inputs_of(name)]
        places = defaultdict(list)
        for term in (value for value in terms if value.node not in long):
            places[place(graph, site.view(term.node)) or term].append(term)
        if len(places) == len(terms) - len(long) + 1:
            return None  # each term has a place of its own
        site.absorb(*(site.view(name) for name in long if name != site.name))
        return reduce(add, (merged(site, alike) for alike in places.values()))

    return rebuild(graph, rule, "merge_branches")


def read_once(graph: Graph, name: str) -> bool:
    """Whether nothing but one node reads what the node gives."""
    return len(graph.users(Value(name))) == 1 and Value(name) not in graph.results


def place(graph: Graph, node: View) -> object:
    """Where the windows of a convolution lie, but for zeros around the weights; None of what is none."""
    if node.op is not CONV or node.attrs.dilation != (1, 1) or len({*node.attrs.padding}) > 1:
        return None
    outside = [size - 2 * node.attrs.padding[0] for size in node.inputs[1].type.concrete[2:]]
    alike = replace(node.attrs, padding=(0, 0, 0, 0))
    return (node.inputs[0].value, *outside, alike) if read_once(graph, node.name) else None


def merged(site: Site, terms: list[Value]) -> Symbol:
    """What the terms of one place come to."""
    if len(terms) == 1:
        return site.symbol_of(terms[0])
    convs = [site.view(term.node) for term in terms]
    largest = max(convs, key=lambda conv: conv.attrs.padding)
    site.absorb(*convs)
    around = [largest.attrs.padding[0] - conv.attrs.padding[0] for conv in convs]
    weight = reduce(add, (F.pad(conv.inputs[1], (zeros,) * 4) for conv, zeros in zip(convs, around, strict=True)))
    biases = [conv.inputs[2] for conv in convs if len(conv.inputs) == 3]
    if not biases:
        return apply(CONV, largest.attrs, largest.inputs[0], weight)
    return apply(CONV, largest.attrs, largest.inputs[0], weight, reduce(add, biases))
