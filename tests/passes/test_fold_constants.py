"""Constant folding: what is folded, what stays symbolic, what must not be touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import random
from lucid.graph.ops.source import constant, full
from lucid.graph.types import spec
from lucid.passes.fold.constants import FoldOptions, fold_constants
from lucid.runtime.eager import evaluate

from .helpers import assert_same, ops, show, trace


def fixed(x: Any, array: Any) -> Any:
    """A constant."""
    return constant(x, array)


WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_constant_subgraph_becomes_one_constant() -> None:
    before = trace(lambda x: x + (fixed(x, WEIGHTS).exp() * 2).sum(0), (3,))
    after = fold_constants(before, evaluate)
    assert ops(after) == ["Add"]
    assert [node.op.name for _, node in after.nodes()] == ["Input", "Constant", "Add"]
    assert after.node("sum").origin.history == ("fold_constants: from sum",)
    assert_same(before, after, rtol=1e-6)


def test_filled_tensors_stay_symbolic() -> None:
    before = trace(lambda x: x * (full(x, 2.0, (1000, 1000, 1000, 3)) + 1).sqrt()[0, 0, 0], (3,))
    after = fold_constants(before, evaluate)
    assert ops(after) == ["Slice", "Reshape", "Mul"]
    assert after.node("sqrt").attrs.value == np.sqrt(np.float32(3))  # type: ignore[attr-defined]


def test_symbolic_shapes() -> None:
    before = trace(lambda x: x + full(x, 2.0).exp() + full(x, x.size(0), ()), spec("N", 3))
    after = fold_constants(before, evaluate)
    assert ops(after) == ["Add", "Add"]
    assert_same(before.bind({"N": 2}), after.bind({"N": 2}), rtol=1e-6)


def test_an_operation_on_a_symbolic_number_waits() -> None:
    graph = trace(lambda x: x / (full(x, x.size(0), ()) - 1), spec("N", 3))
    assert fold_constants(graph, evaluate) is graph


def test_the_limit_holds_for_results_and_for_what_is_filled_on_the_way() -> None:
    def outer(x: Any) -> Any:
        column = fixed(x, np.arange(100, dtype=np.float32).reshape(100, 1))
        return x + (column * column.T).sum()

    graph = trace(outer, (1,))
    assert ops(fold_constants(graph, evaluate, FoldOptions(100 * 100 * 4))) == ["Add"]
    assert ops(fold_constants(graph, evaluate, FoldOptions(100 * 100 * 4 - 1))) == ["Mul", "Sum", "Add"]
    filled = trace(lambda x: x + full(x, 1.5, (1 << 10, 1 << 10, 1 << 10)).sum(), (1,))
    assert fold_constants(filled, evaluate) is filled


def test_expanded_constants_stay() -> None:
    graph = trace(lambda x: x + fixed(x, WEIGHTS).expand(50, 2, 3), (50, 2, 3))
    assert fold_constants(graph, evaluate) is graph


def test_parameters_and_random_numbers_are_not_constants() -> None:
    graph = trace(lambda x, w: x + w.exp() + random.rand_like(x), (3,), w=(3,))
    assert fold_constants(graph, evaluate) is graph


def test_several_outputs() -> None:
    before = trace(lambda x: (x, fixed(x, WEIGHTS).sum(1, keepdim=True).exp(), full(x, 1.0, (2,)) < 2), (3,))
    after = fold_constants(before, evaluate)
    assert show(after) == []
    assert_same(before, after, rtol=1e-6)
