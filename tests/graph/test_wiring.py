"""Who feeds whom: kept once, in the dictionaries of a networkx graph that is made when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import networkx as nx
import pytest

from lucid.errors import GraphError
from lucid.graph.ir import Graph
from lucid.graph.wiring import Wiring
from tests.graphs import SAMPLES, lenet


def by_networkx(graph: Graph) -> nx.MultiDiGraph:
    """The same structure as networkx itself builds it."""
    made = nx.MultiDiGraph()
    made.add_nodes_from((name, {"node": graph.node(name)}) for name in graph.wiring)
    made.add_edges_from((u, v, slot, {"output": output}) for u, v, slot, output in graph.wiring.edges())
    return made


@pytest.mark.parametrize("sample", SAMPLES)
def test_it_is_what_networkx_would_build(sample: str) -> None:
    graph = SAMPLES[sample]()
    made = by_networkx(graph)
    assert type(graph.dag) is nx.MultiDiGraph
    assert list(graph.dag.nodes(data=True)) == list(made.nodes(data=True))
    assert list(graph.dag.edges(keys=True, data=True)) == list(made.edges(keys=True, data=True))
    assert {v: set(graph.dag.predecessors(v)) for v in graph.dag} == {v: set(made.predecessors(v)) for v in made}
    assert {v: set(graph.wiring.predecessors(v)) for v in made} == {v: set(made.predecessors(v)) for v in made}
    assert {v: list(graph.wiring.successors(v)) for v in made} == {v: list(made.successors(v)) for v in made}
    assert dict(graph.dag.in_degree()) == dict(made.in_degree())


def test_structure_is_there_once() -> None:
    graph = lenet()
    dag = graph.dag
    assert dag is graph.dag
    assert Graph(graph.wiring, graph.inputs, graph.outputs).dag is dag
    for name in graph.wiring:
        assert dag.nodes[name] is graph.wiring.nodes[name]
        assert dict(dag.adjacency())[name] is graph.wiring.succ[name]
    again = Graph(dag, graph.inputs, graph.outputs)
    assert again.dag is dag
    assert all(again.wiring.succ[name] is graph.wiring.succ[name] for name in dag)
    assert list(again.wiring.edges()) == list(graph.wiring.edges())


def test_sizes_that_are_known_change_no_edge() -> None:
    graph = lenet()
    bound = graph.bind(dict.fromkeys(graph.symbols, 3))
    assert bound is not graph
    assert bound.wiring.succ is graph.wiring.succ
    assert bound.order == graph.order
    assert bound.feeds == graph.feeds


def test_it_is_frozen_and_copies_are_not() -> None:
    graph = lenet()
    with pytest.raises(nx.NetworkXError, match="Frozen"):
        graph.dag.add_node("more")
    with pytest.raises(GraphError, match="more: nothing can be added"):
        graph.wiring.add_node("more", graph.node(graph.order[0]))
    with pytest.raises(GraphError, match="nothing can be removed"):
        graph.wiring.remove([graph.order[0]])
    copy = graph.dag.copy()
    copy.add_edge("a", "b", key=0, output=0)
    assert "a" not in graph.wiring
    assert "a" not in graph.dag


def test_what_is_removed_takes_its_edges() -> None:
    graph, wiring = lenet(), Wiring()
    for name in graph.order:
        wiring.add_node(name, graph.node(name))
    for edge in graph.wiring.edges():
        wiring.add_edge(*edge)
    gone = list(graph.order)[1::2]
    made = nx.MultiDiGraph(graph.dag)
    made.remove_nodes_from(gone)
    wiring.remove(gone)
    assert set(wiring.edges()) == set(made.edges(keys=True, data="output"))
    assert {v: set(wiring.predecessors(v)) for v in wiring} == {v: set(made.predecessors(v)) for v in made}


COMPILED = """
import sys
import lucid
from lucid import nn
model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten())
net = lucid.compile(model, lucid.spec("N", 1, 8, 8))
net(lucid.ones(2, 1, 8, 8)).sum().backward()
net.save(sys.argv[1])
lucid.load(sys.argv[1])(lucid.ones(1, 1, 8, 8))
print("networkx" in sys.modules, type(net.graph.dag).__module__, "networkx" in sys.modules)
"""


def test_networkx_is_imported_where_it_is_asked_for(tmp_path: object) -> None:
    command = [sys.executable, "-c", COMPILED, f"{tmp_path}/net.lucid"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.split() == ["False", "networkx.classes.multidigraph", "True"]
