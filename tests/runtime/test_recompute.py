"""What runs again within a budget of memory stands beside what has its name already."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.builder import Builder
from lucid.graph.ir import Graph, Value
from lucid.runtime.program.budget import plan_within
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.plan import make_plan

from ..passes.helpers import trace


def there_and_back(x: Any) -> Any:
    """Each value is read early and late."""
    values = [x]
    for _ in range(12):
        values.append(values[-1].tanh())
    for value in reversed(values):
        x = (x * value).sin()
    return x


def renamed(graph: Graph, names: dict[str, str]) -> Graph:
    builder, values = Builder(), dict[Value, Value]()
    for name, node in graph.nodes():
        made = builder.add(node, [values[value] for value in graph.inputs_of(name)], names.get(name, name))
        values.update((Value(name, i), value) for i, value in enumerate(made))
    return builder.finish([values[value] for value in graph.outputs])


def test_a_name_that_a_node_has_already() -> None:
    graph = trace(there_and_back, (64, 1024))
    x = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    (expected,) = Executable(graph)(x)
    budget = make_plan(graph).peak * 4 // 5
    plain = plan_within(graph, budget)
    again = plain.recomputed[0]
    for taken in graph.order[-2:]:
        other = renamed(graph, {taken: f"{again.of}.again"})
        plan = plan_within(other, budget)
        assert [one.of for one in plan.recomputed] == [one.of for one in plain.recomputed]
        assert len({one.name for one in plan.recomputed}) == len(plan.recomputed)
        np.testing.assert_array_equal(Executable(other, budget=budget)(x)[0], expected)
