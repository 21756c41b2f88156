"""The pipelines as a whole, on random graphs too, and what a failing pass says."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lucid.autodiff.reverse import differentiate, partition
from lucid.errors import GraphError, PassError
from lucid.graph.facts import parameter_only
from lucid.graph.ir import Graph, Node
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.norm import batch_norm
from lucid.graph.ops.pool import max_pool2d
from lucid.passes.eliminate_common import eliminate_common
from lucid.passes.eliminate_dead import eliminate_dead
from lucid.passes.fold.batch_norm import fold_batch_norm
from lucid.passes.fold.constants import fold_constants
from lucid.passes.fold.scales import fold_scales
from lucid.passes.fuse.conv_pool import fuse_conv_pool
from lucid.passes.fuse.elementwise import fuse_elementwise
from lucid.passes.layout import assign_layout
from lucid.passes.lower import lower
from lucid.passes.pipeline import Pass, inference_pipeline, run_passes, training_pipeline
from lucid.passes.rewrite import rebuild
from lucid.passes.simplify import SimplifyOptions, simplify
from lucid.passes.sink_monotone import sink_monotone
from lucid.reference import evaluate_reference
from lucid.runtime.eager import evaluate
from lucid.runtime.planning.registry import lowerings

from .helpers import assert_equal, assert_same, assert_same_kernels, ops, random_inputs, trace
from .random_graphs import random_graph

SEEDS = range(150)
TOLERANCE: dict[str, Any] = {"rtol": 2e-3, "atol": 2e-3}

#: Each pass, and whether it keeps every bit of the reference's results.
PASSES: dict[str, tuple[Callable[[Graph], Graph], bool]] = {
    "simplify": (partial(simplify, options=SimplifyOptions(inference=True)), False),  # x ** 2 becomes x * x
    "fold_constants": (partial(fold_constants, evaluate=evaluate), False),  # a kernel rounds what the reference did
    "eliminate_common": (eliminate_common, True),
    "eliminate_dead": (eliminate_dead, True),
    "fold_batch_norm": (fold_batch_norm, False),
    "fold_scales": (fold_scales, False),
    "sink_monotone": (sink_monotone, True),
    "fuse_conv_pool": (fuse_conv_pool, False),  # an added bias is added before rounding
    "fuse_elementwise": (fuse_elementwise, True),
    "assign_layout": (assign_layout, True),
    "lower": (partial(lower, has_kernel=lambda node: False), True),
}


def has_kernel(node: Node) -> bool:
    return bool(lowerings(node.op))


@cache
def case(seed: int) -> tuple[Graph, list[Any]]:
    """A random graph and its results on the reference."""
    graph = random_graph(seed)
    return graph, evaluate_reference(graph, *random_inputs(graph))


INFERENCE = inference_pipeline(evaluate, has_kernel)
TRAINING = training_pipeline(evaluate, has_kernel)


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_on_random_graphs(name: str) -> None:
    run, exact = PASSES[name]
    fired = 0
    for seed in SEEDS:
        before, wanted = case(seed)
        after = run(before)
        if after is not before:
            fired += 1
            assert_same(before, after, wanted=wanted, **({} if exact else TOLERANCE))
            assert run(after) is after
    assert fired >= 10 or name == "eliminate_dead"


@pytest.mark.parametrize("pipeline", [INFERENCE, TRAINING], ids=["inference", "training"])
def test_whole_pipelines_on_random_graphs(pipeline: tuple[Pass, ...]) -> None:
    for seed in SEEDS:
        before, wanted = case(seed)
        assert_same(before, run_passes(before, pipeline), wanted=wanted, **TOLERANCE)


def test_fusing_elementwise_ops_changes_no_bit_of_what_the_kernels_give() -> None:
    for seed in SEEDS:
        before, _ = case(seed)
        assert_same_kernels(before, fuse_elementwise(before))


def test_gradients_survive_the_training_pipeline() -> None:
    for seed in SEEDS[::5]:
        graph, _ = case(seed)
        joint = differentiate(graph, ("x0", *graph.parameters.values()))
        parts = partition(joint)
        for part in (joint.graph, parts.forward, parts.backward):
            after = run_passes(part, TRAINING)
            drawn, parameters = random_inputs(part)
            assert_equal(evaluate(after, drawn, parameters), evaluate(part, drawn, parameters), **TOLERANCE)


def cnn(x: Any, w: Any, b: Any, mean: Any, var: Any, gamma: Any, beta: Any, head: Any) -> Any:
    y = max_pool2d(batch_norm(conv2d(x, w, b, padding=1), mean, var, gamma, beta).relu(), 2, 2)
    z = (y.reshape(2, -1) @ head) * 1 + 0.5
    return z.tanh() * 2


SHAPES: dict[str, Any] = {
    "w": (4, 3, 3, 3), "b": (4,), "mean": (4,), "var": (4,), "gamma": (4,), "beta": (4,), "head": (64, 5)
}  # fmt: skip


def test_a_convolutional_network() -> None:
    before = trace(cnn, (2, 3, 8, 8), **SHAPES)
    after = run_passes(before, INFERENCE)
    once = parameter_only(after)
    every_time = [node.op.name for name, node in after.nodes() if name not in once and node.op.inputs]
    assert every_time == ["ConvPool2d", "Reshape", "Linear", "FusedElementwise"]
    history = after.node("conv2d").origin.history
    assert history == ("fold_batch_norm: from conv2d, batch_norm", "sink_monotone: from relu, max_pool2d",
                       "fuse_conv_pool: from conv2d, max_pool2d, relu", "defer_bias: from conv2d")  # fmt: skip
    assert_same(before, after, **TOLERANCE)


def test_running_it_twice_changes_nothing_more() -> None:
    once = run_passes(trace(cnn, (2, 3, 8, 8), **SHAPES), INFERENCE)
    assert ops(run_passes(once, INFERENCE)) == ops(once)


def test_the_observer_sees_every_pass() -> None:
    seen: list[tuple[str, int, int]] = []
    before = trace(cnn, (2, 3, 8, 8), **SHAPES)
    after = run_passes(before, INFERENCE, observe=lambda p, a, b: seen.append((p.name, len(a), len(b))))
    assert [name for name, _, _ in seen] == [p.name for p in INFERENCE]
    assert seen[0][1] == len(before)
    assert seen[-1][2] == len(after)
    assert all(a[2] == b[1] for a, b in pairwise(seen))


def test_a_failing_pass_names_itself_the_node_and_those_before_it() -> None:
    def broken(graph: Graph) -> Graph:
        def rule(site: Any) -> None:
            raise ZeroDivisionError("no luck")

        return rebuild(graph, rule, "broken")

    passes = [Pass("eliminate_dead", eliminate_dead), Pass("simplify", simplify), Pass("broken", broken)]
    said = r"pass broken failed.*'exp' \(Exp\): no luck.*ran before it: eliminate_dead, simplify"
    with pytest.raises(PassError, match=said):
        run_passes(trace(lambda x: x.exp(), (3,)), passes)


def test_a_pass_that_makes_a_malformed_graph_is_named() -> None:
    def lie(graph: Graph) -> Graph:
        dag = graph.dag.copy()
        dag.remove_node("x0")
        return Graph(dag, (), graph.outputs)

    graph = trace(lambda x: x.exp(), (3,))
    with pytest.raises(PassError, match=r"the pass lie failed.*ran before it: none"):
        run_passes(graph, [Pass("lie", lie)])
    assert isinstance(run_passes(graph, [Pass("lie", lie)], verify=False), Graph)
    with pytest.raises(GraphError):
        run_passes(lie(graph), [])


def test_the_argument_is_never_changed() -> None:
    def content(graph: Graph) -> Any:
        return list(graph.nodes()), list(graph.dag.edges(keys=True, data=True)), graph.results

    for seed in range(20):
        graph = random_graph(seed)
        before = content(graph)
        run_passes(graph, INFERENCE)
        assert content(graph) == before


def test_empty_and_pass_through_graphs() -> None:
    for function in (lambda x: x, lambda x: (), lambda x: (x, x)):
        before = trace(function, (3,))
        after = run_passes(before, INFERENCE)
        assert ops(after) == []
        assert_same(before, after)


def test_chains_of_thousands() -> None:
    def long(x: Any) -> Any:
        for _ in range(1500):
            x = (x * 1.0 + 0.5).tanh()
        return x

    before = trace(long, (2,))
    after = run_passes(before, INFERENCE)
    assert len(after) < 110
    assert_equal(evaluate(after, [np.ones(2, np.float32)]), evaluate(before, [np.ones(2, np.float32)]))
