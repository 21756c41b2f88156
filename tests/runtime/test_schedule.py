"""The seam between planning and programs: a schedule is data that another back end can run in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.graph.facts import parameter_only
from lucid.graph.ir import Graph, Value
from lucid.graph.ops.source import ConstantAttrs
from lucid.reference import run_reference
from lucid.runtime.planning.choosing import choose_all
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.phase import Phase
from lucid.runtime.planning.registry import choices
from lucid.runtime.planning.schedule import Schedule, schedule
from lucid.runtime.program.plan import emitted, make_plan
from lucid.runtime.program.printer import generate

from ..machines import USUAL
from ..op_checks import assert_all_close, run_compiled
from ..random_models import RandomModel

Array = np.ndarray[Any, Any]
LOOSE = {"float32": 1e-4}


def another_back_end(made: Schedule, inputs: Sequence[Array], parameters: Sequence[Array]) -> list[Array]:
    """Runs each task straight from the definition of its op; the lowering that was chosen is none of its business."""
    graph = made.graph
    known = dict(zip(map(Value, graph.inputs), inputs, strict=True))
    known |= dict(zip(map(Value, graph.parameters.values()), parameters, strict=True))
    for name, node in graph.nodes():
        if isinstance(node.attrs, ConstantAttrs):
            known[Value(name)] = node.attrs.value.array
    for task in made.tasks:
        results = run_reference(task.node.op, task.node.attrs, [known[v] for v in graph.inputs_of(task.name)])
        for output, (phase, result) in enumerate(zip(task.phases, results, strict=True)):
            if phase is not None:
                known[Value(task.name, output)] = result
    return [known[value] for value in graph.results]


def drawn(seed: int) -> tuple[Graph, list[Array], list[Array]]:
    """The joint forward and backward graphs of a random net, and numbers for them."""
    model = RandomModel(seed).eval()
    net = lucid.compile(model, lucid.spec("N", *model.input_shape))
    graph = (net.graph, net.backward_graph)[seed % 2].bind({"N": 2})
    rng = np.random.default_rng(seed)

    def numbers(value: Value) -> Array:
        type_ = graph.type(value)
        draw: Array = np.asarray(rng.uniform(0.1, 0.9, type_.concrete))
        return draw.astype(type_.dtype)

    return graph, [numbers(Value(x)) for x in graph.inputs], [numbers(Value(p)) for p in graph.parameters.values()]


@pytest.mark.parametrize("seed", range(16))
def test_another_back_end_can_take_it(seed: int) -> None:
    graph, inputs, parameters = drawn(seed)
    made = schedule(choose_all(graph))
    results = another_back_end(made, inputs, parameters)
    for run in run_compiled(graph, inputs, parameters):
        assert_all_close(run, results, f"net {seed}", LOOSE)


@pytest.mark.parametrize("seed", range(8))
def test_it_says_when_each_value_is_known(seed: int) -> None:
    graph, *_ = drawn(seed)
    made, fixed = schedule(choose_all(graph)), parameter_only(graph)
    assert [task.name for task in made.tasks] == [name for name, node in graph.nodes() if node.op.source is None]
    for task in made.tasks:
        for output, phase in enumerate(task.phases):
            value = Value(task.name, output)
            if phase is None:
                assert output > 0 and not graph.users(value) and value not in graph.results
            else:
                assert (phase is Phase.STATE) == (task.name in fixed)
                assert phase is not Phase.CALL or (value in graph.results and not task.choice.lowering.staged)


def test_emitting_leaves_it_as_it_was() -> None:
    """The same schedule gives the same program again."""
    graph, *_ = drawn(0)
    made = schedule(choose_all(graph, threads=2))
    first, second = (generate(emitted(made)).text for _ in range(2))
    assert first == second == generate(make_plan(graph, threads=2)).text


def test_what_is_chosen_for_a_node_changes_nothing_else() -> None:
    graph, *_ = drawn(0)
    usual = choose_all(graph)
    for name, choice in usual.nodes.items():
        types = tuple(map(graph.type, graph.inputs_of(name)))
        for other in choices(graph.node(name), types):
            made = schedule(usual, {name: other})
            assert [t.choice for t in made.tasks] == [other if n == name else c for n, c in usual.nodes.items()]
            assert (made.graph, made.threads, made.exact) == (graph, usual.threads, usual.exact)
        assert schedule(usual, {name: choice}) == schedule(usual)


def linear(rows: int, width: int) -> Graph:
    return lucid.compile(lucid.models.mlp((width, width)).eval(), lucid.spec(rows, width)).graph


def test_how_many_threads_is_chosen_by_what_is_predicted() -> None:
    small, large = linear(1, 16), linear(512, 1024)
    with described(USUAL):
        assert choose_all(large, threads=2).threads == 2
        assert choose_all(small, threads=2).threads == 2, "it is the same for one thread"
        assert choose_all(small, threads=2).nodes == choose_all(small, threads=1).nodes
        wide = linear(1, 700)
        shared = choose_all(wide, threads=2)
        assert shared.threads == 2 and shared.predicted < choose_all(wide, threads=1).predicted
    with described(replace(USUAL, helpers=False)):  # without processes to help it, a brief program keeps to one thread
        assert choose_all(wide, threads=2).threads == 1
