"""Graphs that nodes hold, in files and as text: they come back as they were, and what is wrong with them is said."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import FileError, GraphError
from lucid.formats.decode import decode_graphs
from lucid.formats.encode import ArrayTable, encode_graph
from lucid.formats.serialize import dump, loads
from lucid.formats.text import parse_text, to_text
from lucid.graph.ir import Graph
from lucid.graph.region import DEEPEST
from tests.graphs import gradient

JSON = Any


def traced(function: Callable[..., Any], *shapes: tuple[int | str, ...]) -> Graph:
    return lucid.compile(function, *(lucid.spec(*shape) for shape in shapes)).traced


def branching() -> Graph:
    return traced(lambda x: lucid.cond(x.sum() > 0, lambda: x * 2, lambda: x + 1), ("N", 3))


def scanning() -> Graph:
    return traced(lambda x, h: lucid.scan(lambda h, x: (h * x + 1, [x - h]), h, x), ("T", 3), (3,))


def looping() -> Graph:
    return traced(lambda x: lucid.while_loop(lambda x: x.sum() < 9, lambda x: (x * 2,), (x,)), (3,))


def data(graph: Graph) -> JSON:
    return encode_graph(graph, ArrayTable())


def holder(graph: JSON) -> JSON:
    """The node that holds regions."""
    return next(node for node in graph["nodes"] if node["op"] in ("If", "Scan", "Loop"))


@pytest.mark.parametrize("make", [branching, scanning, looping])
def test_they_come_back(make: Callable[[], Graph]) -> None:
    graph = make()
    bytes_ = dump({"g": graph})
    assert dump({"g": loads(bytes_).graphs["g"]}) == bytes_
    text = to_text(graph, origins=True)
    back = parse_text(text)
    assert to_text(back, origins=True) == text
    assert [node.attrs for _, node in back.nodes()] == [node.attrs for _, node in graph.nodes()]


def test_the_version_says_that_graphs_hold_graphs_and_results_names() -> None:
    assert b'"version":"2"' in dump({"g": branching()})
    assert b'"version":"1"' in dump({"g": traced(lambda x: x * 2, (3,))})
    assert b'"version":"3"' in dump({"g": gradient(), "h": branching()})


def put(*path: str | int, value: JSON) -> Callable[[JSON], None]:
    def edit(node: JSON) -> None:
        *inner, last = path
        for key in inner:
            node = node[key]
        node[last] = value

    return edit


def renamed(old: str, new: str) -> Callable[[JSON], None]:
    def edit(node: JSON) -> None:
        for inner in node["attrs"]["then"]["graph"]["nodes"]:
            if inner["op"] == old:
                inner["op"] = new

    return edit


def insert(node: JSON) -> Callable[[JSON], None]:
    def edit(holder: JSON) -> None:
        graph = holder["attrs"]["then"]["graph"]
        graph["nodes"].append(node)
        graph["types"].append(node.pop("of"))
        node["types"] = [len(graph["types"]) - 1]

    return edit


PARAMETER = {
    "name": "w", "op": "Parameter", "of": "float32[3]",
    "attrs": {"shape": [3], "dtype": {"dtype": "float32"}, "name": "w", "trainable": True},
}  # fmt: skip
LARGE = {"name": "f", "op": "Full", "of": "float32[1000000, 1000000]"}
LARGE["attrs"] = {"shape": [10**6, 10**6], "dtype": {"dtype": "float32"}, "value": 0}  # type: ignore[assignment]
UNKNOWN = {
    "name": "f", "op": "Full", "of": "float32[M]",
    "attrs": {"shape": [{"dim": "M"}], "dtype": {"dtype": "float32"}, "value": 0},
}  # fmt: skip

LIES: dict[str, tuple[Callable[[JSON], None], str]] = {
    "no graph": (put("attrs", "then", value=5), "cannot be 5"),
    "half a graph": (put("attrs", "then", "graph", "nodes", value=[]), "is not a number below 0"),
    "another field": (put("attrs", "then", "more", value=1), "not an attribute value"),
    "not an object": (put("attrs", "then", "graph", value=[]), "not an attribute value"),
    "in a list": (put("attrs", "then", value=[{"graph": {}}]), "unknown or missing fields"),
    "an op that is none": (renamed("Mul", "Mull"), "unknown op 'Mull'"),
    "another type": (
        put("attrs", "then", "graph", "types", 0, value="float32[N, 4]"),
        "in its then: node 'x'.* its type is given as",
    ),
    "other results": (put("attrs", "then", "graph", "outputs", value=[]), "must give the same types"),
    "other inputs": (put("attrs", "then", "graph", "inputs", value=[]), "lists the inputs"),
    "an update": (put("attrs", "then", "graph", "updates", value=[["w", 0, 0]]), "updates no parameter"),
    "a parameter": (insert(copy.deepcopy(PARAMETER)), "holds no Parameter"),
    "a random number": (insert({"name": "k", "op": "RandomKey", "of": "uint64[]"}), "holds no RandomKey"),
    "a large value": (insert(copy.deepcopy(LARGE)), "out of proportion"),
    "an unknown size": (insert(copy.deepcopy(UNKNOWN)), "no input has the symbolic dimension 'M'"),
}


@pytest.mark.parametrize("what", LIES)
def test_lies_are_found(what: str) -> None:
    edit, words = LIES[what]
    graph = data(branching())
    decode_graphs({"g": graph}, [])
    edit(holder(graph))
    with pytest.raises(GraphError, match=words):
        decode_graphs({"g": graph}, [])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("length", 5, "each of the 5 iterations"),
        ("length", -1, "each of the -1 iterations"),
        ("carried", 0, "each of the T iterations"),
        ("carried", -1, "carries -1"),
        ("carried", 7, "carries 7"),
        ("scanned", [], "its body takes float32"),
        ("scanned", [{"class": "Along", "fields": {"axis": 9, "reverse": False}}], "has no axis 9"),
        ("stacked", [{"class": "Along", "fields": {"axis": -1, "reverse": False}}], "not stacked along an axis -1"),
    ],
)
def test_scans_that_do_not_fit(field: str, value: JSON, words: str) -> None:
    graph = data(scanning())
    holder(graph)["attrs"][field] = value
    with pytest.raises(GraphError, match=words):
        decode_graphs({"g": graph}, [])


def nested(depth: int) -> Graph:
    def branch(x: Any, left: int) -> Any:
        return x * 2 if not left else lucid.cond(x.sum() > left, lambda: branch(x, left - 1), lambda: x)

    return traced(lambda x: branch(x, depth), (3,))


def test_how_deep_they_stand() -> None:
    graph = nested(DEEPEST)
    assert loads(dump({"g": graph})).graphs["g"].bind({}) is not None
    assert to_text(parse_text(to_text(graph))) == to_text(graph)
    with pytest.raises(GraphError, match="deep"):
        nested(DEEPEST + 1)
    inner = data(branching())
    for _ in range(60):
        outer = data(branching())
        for label in ("then", "otherwise"):
            holder(outer)["attrs"][label] = {"graph": inner}
        inner = outer
    with pytest.raises(GraphError, match="more than 16 deep"):
        decode_graphs({"g": inner}, [])


def test_a_file_cut_short() -> None:
    whole = dump({"g": scanning()})
    for at in range(0, len(whole), 97):
        with pytest.raises(FileError):
            loads(whole[:at])


def test_what_a_long_loop_does_not_keep_takes_no_memory() -> None:
    graph = traced(lambda x: lucid.scan(lambda c, _: (c + 1, None), x, length=100_000)[0], (2048,))
    assert len(loads(dump({"g": graph})).graphs["g"]) == len(graph)


def test_a_loop_in_a_file_is_not_run_when_it_is_read_or_compiled() -> None:
    """A constant loop that would never end."""

    def forever(x: Any) -> Any:
        start = lucid.tensor(np.zeros((), np.float32))
        return lucid.while_loop(lambda s: s < 1, lambda s: (s * 1,), (start,))[0] + x

    graph = traced(forever, (3,))
    loaded = loads(dump({"g": graph})).graphs["g"]
    assert lucid.compile(loaded).plan is not None
