"""networkx algorithms straight on ``graph.dag``."""

from __future__ import annotations

import networkx as nx
import pytest

from lucid.errors import GraphError
from lucid.formats.serialize import dump, loads
from lucid.graph.builder import Builder
from lucid.graph.ir import Graph, Value
from lucid.graph.ops.source import FULL, FullAttrs
from lucid.graph.types import float32
from lucid.passes.rewrite import rebuild
from tests.graphs import SAMPLES, chain, lenet, skips


def test_topological_sort() -> None:
    graph = lenet()
    position = {name: i for i, name in enumerate(nx.topological_sort(graph.dag))}
    assert len(position) == len(graph)
    assert all(position[u] < position[v] for u, v in graph.dag.edges())
    assert nx.is_directed_acyclic_graph(graph.dag)


def test_longest_path() -> None:
    graph = lenet()
    assert nx.dag_longest_path(graph.dag) == [
        "x",
        "features.0.conv.conv2d",
        "features.0.act.relu",
        "features.0.pool.max_pool2d",
        "features.1.conv.conv2d",
        "features.1.act.relu",
        "features.1.pool.max_pool2d",
        "head.reshape",
        "head.mat_mul",
        "head.add",
    ]
    assert nx.dag_longest_path_length(chain(500).dag, weight=None) == 500


def test_transitive_reduction() -> None:
    reduced = nx.transitive_reduction(nx.DiGraph(skips().dag))
    assert set(reduced.edges()) == {
        ("b", "mul"), ("w", "mul"), ("mul", "add"), ("a", "add"),
        ("add", "add_1"), ("add_1", "mul_1"), ("mul_1", "add_2"),
    }  # fmt: skip
    assert nx.transitive_closure(reduced).edges() == nx.transitive_closure(nx.DiGraph(skips().dag)).edges()


def test_ancestors_and_generations() -> None:
    graph = skips()
    assert nx.ancestors(graph.dag, "add") == {"a", "b", "w", "mul"}
    assert [sorted(layer) for layer in nx.topological_generations(graph.dag)][:2] == [["a", "b", "w"], ["mul"]]


@pytest.mark.parametrize("name", SAMPLES)
def test_saved_and_loaded_graph_is_isomorphic(name: str) -> None:
    graph = SAMPLES[name]()
    loaded = loads(dump({"g": graph})).graphs["g"]
    assert nx.is_isomorphic(
        graph.dag,
        loaded.dag,
        node_match=lambda a, b: a["node"] == b["node"],
        edge_match=lambda a, b: a == b,
    )


def test_isomorphism_sees_a_difference() -> None:
    a, b = chain(3), chain(4)
    assert not nx.is_isomorphic(a.dag, b.dag)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_graph_was_told_of_its_wiring_is_what_its_dag_says(name: str) -> None:
    graph = SAMPLES[name]()
    builder = Builder.extending(graph)
    dead = builder.emit(FULL, FullAttrs((), float32, 0))
    bound = graph.bind(dict.fromkeys(graph.symbols, 4))
    made = rebuild(graph, lambda site: site.inputs[0].relu() if site.op.name == "Relu" else None, "again")
    for one in (graph, builder.finish(graph.outputs, graph.updates), bound, made):
        read = Graph(one.dag, one.inputs, one.outputs, one.updates)
        assert (one.feeds, one.order) == (read.feeds, read.order)
        assert dead[0].node not in one


def test_a_builder_refuses_what_is_fed_by_nothing() -> None:
    graph = chain(2)
    with pytest.raises(GraphError, match=r"late: what feeds it, later:1, is not in the graph"):
        Builder().add(graph.node(graph.order[-1]), [Value("later", 1)], "late")
