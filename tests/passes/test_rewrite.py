"""The rewriting machinery: names, origins, unchanged graphs, errors, fixed points, long graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from lucid.errors import PassError
from lucid.graph.ir import Graph
from lucid.graph.opdef import apply
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.shape import CONCAT, AxisAttrs
from lucid.graph.trace import Symbol
from lucid.passes import rewrite
from lucid.passes.eliminate_common import eliminate_common
from lucid.passes.fold.constants import fold_constants
from lucid.passes.rewrite import Site, fixed_point, rebuild
from lucid.passes.simplify import simplify
from lucid.runtime.eager import evaluate

from .helpers import assert_same, show, trace


def drop_double_negation(graph: Graph) -> Graph:
    """The example of the module's documentation."""

    def rule(site: Site) -> Symbol | None:
        inner = site.made_by(site.inputs[0]) if site.op is ew.NEG else None
        return inner.inputs[0] if inner is not None and inner.op is ew.NEG else None

    return rebuild(graph, rule, "drop_double_negation")


def test_replacement_prunes_what_it_makes_unneeded() -> None:
    before = trace(lambda x: x.neg().neg().exp(), (3,))
    after = drop_double_negation(before)
    assert show(before) == ["neg = Neg(x0)", "neg_1 = Neg(neg)", "exp = Exp(neg_1)"]
    assert show(after) == ["exp = Exp(x0)"]
    assert_same(before, after)


def test_what_others_read_stays() -> None:
    before = trace(lambda x: ((n := -x).exp(), -n), (3,))
    assert show(drop_double_negation(before)) == ["neg = Neg(x0)", "exp = Exp(neg)"]


def test_the_same_graph_comes_back_when_no_rule_fires() -> None:
    graph = trace(lambda x: -x.exp(), (3,))
    assert drop_double_negation(graph) is graph


def split_silu(site: Site) -> Any:
    return site.inputs[0] * site.inputs[0].sigmoid() if site.op is ew.SILU else None


def test_names_and_history_of_what_a_rule_emits() -> None:
    before = trace(lambda x: ew.silu(x.exp()) + 1, (3,))
    after = rebuild(before, split_silu, "split")
    assert show(after) == [
        "exp = Exp(x0)", "silu.sigmoid = Sigmoid(exp)", "silu = Mul(exp, silu.sigmoid)", "add = Add(silu, full)"
    ]  # fmt: skip
    assert after.node("silu").origin.history == ("split: from silu",)
    assert after.node("silu.sigmoid").origin.history == ("split: from silu",)
    assert after.node("exp").origin.history == ()
    assert_same(before, after, rtol=1e-6)


def test_absorbed_nodes_give_their_origins_and_a_name_can_be_asked_for() -> None:
    def rule(site: Site) -> Any:
        if site.op is not ew.NEG:
            return None
        below = site.producer(0)
        site.absorb(below)
        y = below.inputs[1] - below.inputs[0]
        site.call(y, below.name)
        return y

    after = rebuild(trace(lambda a, b: -(a - b), (3,), (3,)), rule, "turn")
    assert show(after) == ["sub = Sub(x1, x0)"]
    assert after.node("sub").origin.history == ("turn: from sub, neg",)


def test_a_name_that_survives_is_not_taken() -> None:
    def rule(site: Site) -> Any:
        if site.op is not ew.NEG:
            return None
        y = site.inputs[0].exp()
        site.call(y, "sub")
        return y

    after = rebuild(trace(lambda a, b: -(a - b), (3,), (3,)), rule, "take")
    assert show(after) == ["sub = Sub(x0, x1)", "neg.exp = Exp(sub)"]


def test_use_counts_are_of_the_original() -> None:
    seen: dict[str, tuple[int, bool]] = {}

    def rule(site: Site) -> None:
        seen[site.name] = (site.uses(), site.single_use)

    rebuild(trace(lambda x: ((e := x.exp()) + e, e, x.sin().cos()), (3,)), rule, "look")
    assert seen == {"exp": (3, False), "add": (1, True), "sin": (1, True), "cos": (1, True)}


def test_a_replacement_of_another_type_is_an_error_that_names_the_node() -> None:
    with pytest.raises(PassError, match=r"bad: at node 'exp' \(Exp\): output 0 was float32\[3\], .* int64\[3\]"):
        rebuild(trace(lambda x: x.exp(), (3,)), lambda s: s.inputs[0].long(), "bad")


def test_a_missing_replacement_is_an_error() -> None:
    with pytest.raises(PassError, match="output 0 is used and has no replacement"):
        rebuild(trace(lambda x: x.exp(), (3,)), lambda s: [None], "bad")


def test_an_error_in_a_rule_keeps_its_cause() -> None:
    with pytest.raises(PassError, match=r"bad: at node 'exp' \(Exp\)") as caught:
        rebuild(trace(lambda x: x.exp(), (3,)), lambda s: s.inputs[5], "bad")
    assert isinstance(caught.value.__cause__, IndexError)


def test_updates_are_rewritten_too() -> None:
    before = trace(lambda x, w: (x + w).neg().neg(), (3,), w=(3,))
    before = Graph(before.dag, before.inputs, before.outputs, (("w", before.outputs[0]),))
    after = drop_double_negation(before)
    assert after.updates == (("w", after.outputs[0]),)
    assert after.outputs[0].node == "add"
    assert_same(before, after)


def test_fixed_point_stops_at_its_limit_and_notices_circles() -> None:
    def swap(graph: Graph) -> Graph:
        turned = {ew.EXP: ew.SIN, ew.SIN: ew.EXP}
        return rebuild(graph, lambda s: apply(turned[s.op], s.attrs, s.inputs[0]) if s.op in turned else None, "swap")

    def grow(graph: Graph) -> Graph:
        return rebuild(graph, lambda s: s.inputs[0].exp().exp() if s.op is ew.EXP else None, "grow")

    graph = trace(lambda x: x.exp(), (3,))
    with pytest.raises(PassError, match="swap goes in circles"):
        fixed_point(swap, graph, label="swap")
    assert len(fixed_point(grow, graph, 3, label="grow")) == 1 + 2**3


def test_a_long_chain_and_a_wide_fan_need_no_recursion() -> None:
    def long(x: Any) -> Any:
        for _ in range(5000):
            x = -(-x).exp()
        return x

    def wide(x: Any) -> Any:
        return apply(CONCAT, AxisAttrs(0), *(x.neg().neg() for _ in range(3000)))

    assert len(drop_double_negation(trace(long, (1,)))) == 5003
    assert len(drop_double_negation(trace(wide, (1,)))) == 2


@pytest.mark.parametrize(
    ("one", "visited"),
    [
        (simplify, {"Add", "Constant", "Mul", "Relu", "Full", "Expand"}),
        (eliminate_common, {"Add", "Constant", "Conv2d", "Mul", "Relu", "Full", "Expand"}),
        (partial(fold_constants, evaluate=evaluate), {"Add", "Conv2d", "Mul", "Relu"}),
    ],
)
def test_passes_visit_the_ops_that_they_may_change(
    one: Callable[[Graph], Graph], visited: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most nodes of a model are weights, and what a pass has no rule for: it makes nothing of them to look at."""
    graph = trace(
        lambda x, w: (conv2d(x, w).relu() * 3 + np.arange(4, dtype=np.float32), x), (1, 2, 5, 6), w=(3, 2, 3, 3)
    )
    seen = set[str]()

    class Seen(Site):
        __slots__ = ()

        def __init__(self, tracer: Any, name: str, node: Any) -> None:
            seen.add(node.op.name)
            super().__init__(tracer, name, node)

    monkeypatch.setattr(rewrite, "Site", Seen)
    one(graph)
    assert {node.op.name for _, node in graph.nodes()} >= {"Parameter", "Input", "Conv2d", "Constant"}
    assert seen <= visited
    assert seen
