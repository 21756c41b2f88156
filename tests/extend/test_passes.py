"""Passes from outside the package: registered by name, run where they belong, and blamed for what they do wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError, OptionError, PassError
from lucid.extend import Graph, Symbol, find_op, register_pass
from lucid.passes import Site, default, rebuild
from lucid.passes.registered import names

S = lucid.spec("N", 3)
EXP, LOG = find_op("Exp"), find_op("Log")


def unlog(graph: Graph) -> Graph:
    """``exp(log(x))`` is ``x``, where that is positive."""

    def rule(site: Site) -> Symbol | None:
        inner = site.made_by(site.inputs[0])
        return inner.inputs[0] if site.op is EXP and inner.op is LOG else None

    return rebuild(graph, rule, "unlog")


def test_a_registered_pass_runs_where_it_was_to_go() -> None:
    assert register_pass(after="clean_up")(unlog) is unlog
    register_pass(before="clean_up", name="early")(unlog)
    assert {"unlog", "early"} <= set(names())
    usual = default()
    assert usual.add() == usual
    order = usual.add("unlog", "early").names
    assert order[order.index("early") + 1] == "clean_up"
    assert order[order.index("unlog") - 1] == "clean_up"
    net = lucid.compile(lambda x: x.abs().log().exp(), S, passes=usual.add("unlog"))
    assert [node.op.name for _, node in net.graph.nodes()] == ["Input", "Abs"]
    assert "Log" in lucid.compile(lambda x: x.abs().log().exp(), S).graph.text()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "say after or before"),
        ({"after": "lower", "before": "lower"}, "say after or before"),
        ({"after": "nothing"}, "there is no pass 'nothing'; the order is eliminate_dead"),
        ({"before": "unlog"}, "there is no pass 'unlog'"),
        ({"after": "lower", "name": "lower"}, "'lower' is the name of a usual pass"),
        ({"after": "lower", "name": "taken"}, "a pass named 'taken' is registered already"),
        ({"after": "lower", "replace": 1}, "replace is True or False"),
    ],
)
def test_places_and_names_that_are_none(how: Any, words: str) -> None:
    register_pass(after="lower", name="taken")(unlog)
    with pytest.raises(OptionError) as found:
        register_pass(**how)(unlog)
    assert words in str(found.value)
    with pytest.raises(OptionError, match=r'by one of the two: @register_pass\(after="clean_up"\)'):
        register_pass(unlog)  # without parentheses
    register_pass(before="lower", name="taken", replace=True)(unlog)
    for wrong in ("nothing", 3):
        with pytest.raises(OptionError, match=r"no pass named 'nothing'.*taken|takes names"):
            default().add(wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="a pass is a function"):
        register_pass(after="lower")(3)  # type: ignore[type-var]


def test_what_a_pass_returns_is_looked_at() -> None:
    other = lucid.compile(lambda x: x.exp(), lucid.spec(2)).traced
    two = lucid.compile(lambda x, y: x + y, S, S).traced

    def renamed(graph: Graph) -> Graph:
        return Graph(graph.dag, graph.inputs, graph.outputs, (("w", graph.outputs[0]),))

    for wrong, words in (
        (lambda graph: None, "it returned a NoneType; a pass returns a graph"),
        (lambda graph: graph.dag, "it returned a MultiDiGraph"),
        (lambda graph: other, r"its graph takes float32\[2\], and the one it was given float32\[N, 3\]"),
        (lambda graph: two, r"its graph takes float32\[N, 3\], float32\[N, 3\]"),
        (lambda graph: Graph(graph.dag, graph.inputs, ()), r"its graph gives nothing, and the one .* float32\[N, 3\]"),
        (renamed, "updates other parameters"),
        (lambda graph: rebuild(graph, lambda site: 3, "mine"), "mine: at node 'exp'"),
        (lambda graph: rebuild(graph, lambda site: site.symbol.sum(), "mine"), r"was float32\[N, 3\], its replacement"),
    ):
        with pytest.raises(PassError, match=words):
            lucid.compile(lambda x: x.exp(), S, passes=default().insert_after("lower", wrong))  # type: ignore[arg-type]


def test_a_pass_that_changes_a_value_is_caught() -> None:
    register_pass(after="clean_up")(unlog)
    with pytest.raises(LucidError, match="pass unlog changed result 0"):
        lucid.compile(lambda x: x.log().exp(), S, passes=default().add("unlog"), verify=True)
    x = np.ones((2, 3), np.float32)
    net = lucid.compile(lambda x: (x * x).log().exp(), S, passes=default().add("unlog"), verify=True)
    np.testing.assert_array_equal(net(x).numpy(), x)
