"""Common subexpressions and dead nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ir import Graph
from lucid.graph.ops import random
from lucid.graph.ops.pool import max_pool2d
from lucid.graph.ops.source import constant, full
from lucid.passes.eliminate_common import eliminate_common
from lucid.passes.eliminate_dead import eliminate_dead

from .helpers import assert_same, ops, show, trace


def test_equal_nodes_are_merged() -> None:
    before = trace(lambda x: (x.exp() + 1) * (x.exp() + 1).sin(), (3,))
    after = eliminate_common(before)
    assert show(after) == ["exp = Exp(x0)", "add = Add(exp, full)", "sin = Sin(add)", "mul = Mul(add, sin)"]
    assert after.node("exp").origin.history == ("eliminate_common: from exp, exp_1",)
    assert_same(before, after)


def test_operands_of_commutative_ops_in_either_order() -> None:
    before = trace(lambda a, b: ((a + b) * (b + a), (a - b) * (b - a)), (3,), (3,))
    after = eliminate_common(before)
    assert ops(after) == ["Add", "Mul", "Sub", "Sub", "Mul"]
    assert_same(before, after)


def test_attributes_tell_apart() -> None:
    graph = trace(lambda x: x.reshape(2, 2).sum(0) + x.reshape(2, 2).sum(1), (4,))
    assert ops(eliminate_common(graph)) == ["Reshape", "Sum", "Sum", "Add"]


def test_the_two_zeros_are_two_numbers() -> None:
    before = trace(lambda x: (x / full(x, 0.0), x / full(x, -0.0), x.clip(0.0, None), x.clip(-0.0, None)), (3,))
    assert eliminate_common(before) is before


def test_constants_are_compared_by_content() -> None:
    before = trace(lambda x: (x + np.arange(3, dtype=np.float32)) * constant(x, np.arange(3, dtype=np.float32)), (3,))
    after = eliminate_common(before)
    assert [node.op.name for _, node in after.nodes()] == ["Input", "Constant", "Add", "Mul"]
    assert_same(before, after)


def test_random_numbers_are_never_merged() -> None:
    graph = trace(lambda x: random.rand_like(x) - random.rand_like(x), (3,))
    assert eliminate_common(graph) is graph


def test_nodes_of_several_outputs() -> None:
    before = trace(lambda x: (max_pool2d(x, 2, 2), *max_pool2d(x, 2, 2, return_indices=True)), (1, 2, 4, 4))
    after = eliminate_common(before)
    assert ops(after) == ["MaxPool2d", "MaxPool2dPositions"]
    assert_same(before, after)


def test_dead_nodes_go_and_inputs_stay() -> None:
    whole = trace(lambda a, b: (a.exp(), b.sin().cos()), (3,), (3,))
    before = Graph(whole.dag, whole.inputs, whole.outputs[:1])
    after = eliminate_dead(before)
    assert show(after) == ["exp = Exp(x0)"]
    assert after.inputs == ("x0", "x1")
    assert eliminate_dead(after) is after
    assert_same(before, after)


def test_what_an_update_needs_is_alive() -> None:
    def model(x: Any, w: Any) -> Any:
        return x * 2, w + x

    whole = trace(model, (3,), w=(3,))
    graph = Graph(whole.dag, whole.inputs, whole.outputs[:1], (("w", whole.outputs[1]),))
    assert eliminate_dead(graph) is graph
