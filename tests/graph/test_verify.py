"""The verifier accepts every sample and names what is wrong with a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest

from lucid.errors import GraphError
from lucid.graph.ir import Graph, Node, Value
from lucid.graph.opdef import NoAttrs, OpDef, TypeAttrs
from lucid.graph.ops.elementwise import ADD, RELU
from lucid.graph.ops.source import INPUT, PARAMETER, ParameterAttrs
from lucid.graph.types import TensorType, float32, float64
from lucid.graph.verify import from_dag, verify
from tests.graphs import SAMPLES, lenet, perceptron, several_outputs, skips


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_sound(name: str) -> None:
    verify(SAMPLES[name]())


def damaged(
    graph: Graph,
    damage: Callable[[Any], None],
    outputs: Any = None,
    inputs: Any = None,
    updates: Any = None,
    names: Any = (),
) -> Graph:
    """A copy of ``graph`` after ``damage`` was done to its DAG."""
    dag = nx.MultiDiGraph(graph.dag)
    damage(dag)
    return Graph(
        dag,
        graph.inputs if inputs is None else inputs,
        graph.outputs if outputs is None else outputs,
        graph.updates if updates is None else updates,
        names,
    )


def set_node(name: str, **changes: Any) -> Callable[[Any], None]:
    def damage(dag: Any) -> None:
        dag.nodes[name]["node"] = replace(dag.nodes[name]["node"], **changes)

    return damage


def set_edge(u: str, v: str, key: Any, **data: Any) -> Callable[[Any], None]:
    return lambda dag: dag.edges[u, v, key].update(data)


def rename_edge(u: str, v: str, old: Any, new: Any) -> Callable[[Any], None]:
    def damage(dag: Any) -> None:
        dag.remove_edge(u, v, old)
        dag.add_edge(u, v, key=new, output=0)

    return damage


wide = TensorType((3, 6), float32)
right = TensorType((3, 5), float32)
stray = OpDef("Stray", lambda a, x: x, lambda c: [c.dy])
twin = OpDef("Add", lambda a, x, y: x, lambda c: [c.dy])

DAMAGE: dict[str, tuple[Callable[[Any], None], str]] = {
    "cycle": (lambda dag: dag.add_edge("add_2", "add", key=2, output=0), "cycle"),
    "no node attribute": (lambda dag: dag.nodes["mul"].clear(), "'mul'.*must be a Node, got NoneType"),
    "dangling edge": (lambda dag: dag.add_edge("ghost", "add", key=2, output=0), "'ghost'.*must be a Node"),
    "name": (lambda dag: dag.add_node(7), "node 7: .* non-empty string"),
    "unknown op": (set_node("mul", op=stray), "'mul' .Stray.*unknown op 'Stray'"),
    "other op of that name": (set_node("add", op=twin), "not the one registered"),
    "attributes of another class": (set_node("mul", attrs=TypeAttrs((3,), float32)), "must be NoAttrs, got TypeAttrs"),
    "slot gap": (rename_edge("a", "add", 1, 2), r"'add' .*slots \[0, 2\]"),
    "slot twice": (lambda dag: dag.add_edge("b", "add", key=1, output=0), r"slots \[0, 1, 1\]"),
    "slot missing": (lambda dag: dag.remove_edge("a", "add", 1), "Add: takes 2 inputs"),
    "slot a string": (rename_edge("a", "add", 1, "1"), "no slot"),
    "slot a bool": (rename_edge("a", "add", 1, True), "no slot"),
    "output missing": (lambda dag: dag.edges["a", "add", 1].clear(), "output None of 'a'"),
    "output out of range": (set_edge("a", "add", 1, output=1), "output 1 of 'a', which has 1"),
    "output negative": (set_edge("a", "add", 1, output=-1), "output -1"),
    "wrong type": (set_node("mul", outputs=(wide,)), r"given as float32\[3, 6\], but float32\[3, 5\] follows"),
    "wrong dtype": (set_node("mul", outputs=(TensorType((3, 5), float64),)), "given as float64"),
    "too many outputs": (set_node("mul", outputs=(right, right)), "follows from its inputs"),
    "no type": (set_node("mul", outputs=("float32",)), "TensorType, got 'float32'"),
    "unsupported dtype": (set_node("mul", outputs=(TensorType((3, 5), np.dtype(">f4")),)), "element type"),
    "negative dim": (set_node("mul", outputs=(TensorType((3, -5), float32),)), "non-negative int or symbolic, got -5"),
    "bool dim": (set_node("mul", outputs=(TensorType((3, True), float32),)), "got True"),
    "too big": (set_node("mul", outputs=(TensorType((10**18,), float32),)), "more than any memory"),
    "order": (set_node("mul", outputs=(right.with_order((0, 0)),)), r"order \(0, 0\) is no permutation"),
    "unlisted input": (
        lambda dag: dag.add_node("c", node=Node(INPUT, TypeAttrs((), float32), (TensorType((), float32),))),
        "Input nodes are .*'c'",
    ),
    "parameter twice": (
        lambda dag: dag.add_node(
            "w2", node=Node(PARAMETER, ParameterAttrs((), float32, "w"), (TensorType((), float32),))
        ),
        "'w2' .*'w' is read by 'w' too",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_named(what: str) -> None:
    damage, message = DAMAGE[what]
    with pytest.raises(GraphError, match=message):
        verify(damaged(skips(), damage))


def test_memory_order_is_free() -> None:
    verify(damaged(skips(), set_node("mul", outputs=(right.with_order((1, 0)),))))


def test_origin_is_told() -> None:
    graph = perceptron()
    bad = damaged(graph, set_node("act.relu", outputs=(wide,)))
    with pytest.raises(GraphError, match=r"node 'act.relu' \(Relu, made in act at model.py:20\)"):
        verify(bad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": (Value("ghost"),)}, "output is ghost, which is not"),
        ({"outputs": (Value("x", 1),)}, "output 1 of 'x', which has 1"),
        ({"outputs": ("x",)}, "output is x, which is not"),
        ({"inputs": ("x",)}, "Input nodes are"),
        ({"inputs": ("x", "x")}, "lists the inputs"),
        ({"inputs": ("x", "unused", "unused")}, "lists the inputs"),
        ({"inputs": ("x", "ghost")}, "'ghost' is not one of its nodes"),
        ({"updates": (("norm.mean", Value("ghost")),)}, "update of 'norm.mean'"),
        (
            {"updates": (("norm.mean", Value("x")),)},
            r"'norm.mean' is a float32\[3\], its update x is a float32\[2, 3\]",
        ),
        ({"updates": (("norm.mean", Value("add")), ("norm.mean", Value("add")))}, "updated twice"),
        ({"names": ("a",) * 9}, "names 9 outputs and has"),
        ({"names": ("a\u2028b",)}, "is a string of printable characters"),
        ({"names": (b"a",)}, "an output is called b'a'"),
    ],
)
def test_interface(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        verify(damaged(several_outputs(), lambda dag: None, **changes))


def test_output_of_a_second_output() -> None:
    graph = lenet()
    pool = Value("features.0.pool.max_pool2d", 1)
    verify(Graph(graph.dag, graph.inputs, (pool,)))


def test_from_dag() -> None:
    dag = nx.MultiDiGraph()
    type_ = TensorType((2,), float32)
    dag.add_node("sum", node=Node(ADD, NoAttrs(), (type_,)))  # insertion order need not be topological
    dag.add_node("x", node=Node(INPUT, TypeAttrs((2,), float32), (type_,)))
    dag.add_edge("x", "sum", key=0, output=0)
    dag.add_edge("x", "sum", key=1, output=0)
    graph = from_dag(dag, [Value("sum")])
    assert graph.inputs == ("x",)
    assert graph.order == ("x", "sum")
    dag.nodes["sum"]["node"] = Node(RELU, NoAttrs(), (type_,))  # the graph has its own copy
    verify(graph)
    with pytest.raises(GraphError, match="Relu: takes 1 inputs"):
        from_dag(dag, [Value("sum")])
    with pytest.raises(GraphError, match=r"networkx\.MultiDiGraph, got a DiGraph"):
        from_dag(nx.DiGraph(dag), [Value("sum")])  # type: ignore[arg-type]


def test_what_was_right_before_is_checked_where_its_inputs_have_changed() -> None:
    graph = perceptron()
    verify(graph)
    source = graph.inputs[0]
    other = graph.node(source).outputs[0].with_shape((4, 7))
    changed = damaged(graph, set_node(source, outputs=(other,), attrs=TypeAttrs(other.shape, other.dtype)))
    assert sum(changed.node(name) is node for name, node in graph.nodes()) == len(graph) - 1
    for _ in range(2):
        with pytest.raises(GraphError, match="28 elements"):
            verify(changed)
    verify(graph)
