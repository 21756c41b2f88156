"""How recurrent layers run: a worker for each direction, and weights that are turned and halved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.graph.ir import Node
from lucid.graph.opdef import apply_all
from lucid.graph.ops import recurrent as ops
from lucid.graph.ops.recurrent_types import GRUAttrs, LSTMAttrs, RecurrentAttrs, RNNAttrs
from lucid.graph.ops.source import constant
from lucid.graph.types import TensorType, float32
from lucid.reference import evaluate_reference
from lucid.runtime import eager
from lucid.runtime.kernels.recurrent import forward as writing
from lucid.runtime.kernels.recurrent import layer
from lucid.runtime.kernels.recurrent.functions import rounded
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import choices, lowerings
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.runtime.tuning import resolve, tune

from ..machines import USUAL
from ..op_checks import (
    GRADIENT_TOLERANCE,
    assert_all_close,
    garbage_arena,
    joint_graph,
    projection_seeds,
    threads_only,
    trace,
    types_of,
)
from ..passes.helpers import trace as trace_with_parameters
from .test_conv import force

LAYERS = {
    "LSTM": (ops.LSTM, ops.LSTM_GRAD, 4, 2),
    "GRU": (ops.GRU, ops.GRU_GRAD, 3, 1),
    "RNN": (ops.RNN, ops.RNN_GRAD, 1, 1),
}
LINEAR = {"linear_before_reset": True}
ATTRS: dict[str, type[RecurrentAttrs]] = {"LSTM": LSTMAttrs, "GRU": GRUAttrs, "RNN": RNNAttrs}


def operands(kind: str, times: int, batch: int, features: int, hidden: int) -> list[tuple[int, ...]]:
    """Shapes, for both directions."""
    _, _, gates, states = LAYERS[kind]
    rows = gates * hidden
    weights = [(2, rows, features), (2, rows, hidden), (2, 2 * rows)]
    return [(times, batch, features), *weights, *[(2, batch, hidden)] * states]


def both_ways(kind: str) -> RecurrentAttrs:
    attrs = ATTRS[kind]
    return attrs(attrs().activations * 2, "bidirectional")  # type: ignore[call-arg]


@pytest.fixture(autouse=True)
def fresh_cache() -> Any:
    yield
    eager.op_call.cache_clear()


OPTIONS: dict[str, dict[str, Any]] = {
    "both directions": {"direction": "bidirectional"},
    "forward, clipped": {"clip": 0.4},
    "reverse, of some lengths": {"direction": "reverse", "lengths": True},
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("dtype", "options"), [*(("float32", name) for name in OPTIONS), ("float64", next(iter(OPTIONS)))]
)
def test_each_way_is_the_reference(kind: str, dtype: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker, and several that share directions and sequences; in chunks of two times, forward and backward."""
    rng = np.random.default_rng(0)
    forward, backward, gates, states = LAYERS[kind]
    attrs = ATTRS[kind](**OPTIONS[options])
    both = attrs.direction == "bidirectional"
    attrs = replace(attrs, activations=attrs.activations * (1 + both), **({} if kind != "GRU" or both else LINEAR))
    shapes = operands(kind, 9, 3, 4, 6)
    shapes[1:] = [(1 + both, *shape[1:]) for shape in shapes[1:]]
    if isinstance(attrs, LSTMAttrs) and attrs.lengths:
        attrs = replace(attrs, peepholes=True)
        shapes.append((1, 3 * 6))
    arrays = [np.asarray(0.5 * rng.standard_normal(s), dtype) for s in shapes]
    lengths = [np.array([5, 9, 0])] if attrs.lengths else []

    def function(*xs: Any) -> Any:
        return tuple(apply_all(forward, attrs, *xs, *(constant(xs[0], one) for one in lengths))[: 1 + states])

    monkeypatch.setattr(layer, "LEAST_ROWS", 1)
    traced = trace(function, types_of(arrays))
    graph, seeds = joint_graph(traced), [s.astype(dtype) for s in projection_seeds(traced)]
    expected = evaluate_reference(graph, [*arrays, *seeds])
    for op in (forward, backward):
        (low,) = lowerings(op)
        force(monkeypatch, op, low)
    seen = set()
    with described(replace(USUAL, l2=8 * 2 * 3 * gates * 6 * arrays[0].itemsize)):
        for threads in (2,) * 4 + (4,) * 5:
            plan = make_plan(graph, threads=threads)
            seen |= {str(step.choice) for step in plan.steps if step.node.op in (forward, backward)}
            prepare, bind = generate(plan).load("program")([])
            prepare()
            run = threads_only(threads).bind(bind, garbage_arena(plan.arena_bytes, None))
            for _ in range(2):
                assert_all_close(list(run(*arrays, *seeds)), expected, kind, GRADIENT_TOLERANCE)
    assert len(seen) == (5 if both else 3)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", [*OPTIONS, "exact"])
def test_products_of_a_time_have_the_biases(kind: str, threads: int, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go straight to where the gates are kept, or at first to where those of a worker lie side by side."""
    rng = np.random.default_rng(0)
    forward, backward, _, states = LAYERS[kind]
    attrs = ATTRS[kind](**OPTIONS.get(how, {}))
    both = attrs.direction == "bidirectional"
    attrs = replace(attrs, activations=attrs.activations * (1 + both), **(LINEAR if kind == "GRU" and both else {}))
    shapes = operands(kind, 11, 6, 4, 32)
    shapes[1:] = [(1 + both, *shape[1:]) for shape in shapes[1:]]
    arrays = [np.asarray(0.5 * rng.standard_normal(s), np.float32) for s in shapes]
    lengths = [np.array([5, 11, 0, 1, 7, 10])] if attrs.lengths else []

    def function(*xs: Any) -> Any:
        return tuple(apply_all(forward, attrs, *xs, *(constant(xs[0], one) for one in lengths))[: 1 + states])

    monkeypatch.setattr(layer, "LEAST_ROWS", 1)
    monkeypatch.setattr(writing, "LEAST_BLOCK_ROWS", 2)
    traced = trace(function, types_of(arrays))
    graph, seeds = joint_graph(traced), [s.astype(np.float32) for s in projection_seeds(traced)]
    expected = evaluate_reference(graph, [*arrays, *seeds])
    for op in (forward, backward):
        (low,) = lowerings(op)
        force(monkeypatch, op, low)
    with described(replace(USUAL, l2=1 << 16, unpacked=6 * 32 * 16)):
        for _ in range(1 if threads == 1 else 3):  # each way in turn
            plan = make_plan(graph, threads=threads, exact=how == "exact")
            source = generate(plan)
            (step,) = (step for step in plan.steps if step.node.op is forward)
            gathered = [y.shape for y in step.buffers if y.name.endswith("gathered")]
            assert ({shape[-1] for shape in gathered} == {5}) == (how != "exact")
            prepare, bind = source.load("program")([])
            prepare()
            run = threads_only(threads).bind(bind, garbage_arena(plan.arena_bytes, None))
            for _ in range(2):
                assert_all_close(list(run(*arrays, *seeds)), expected, kind, GRADIENT_TOLERANCE)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("how", ["usual", "clipped", "exact"])
def test_weights_as_panels_are_the_reference(kind: str, batch: int, how: str) -> None:
    """Weights of several rows lie as panels of each gate where BLAS would pack, unless ``exact`` forbids that."""
    rng = np.random.default_rng(batch)
    forward = LAYERS[kind][0]
    attrs = replace(both_ways(kind), clip=0.4) if how == "clipped" else both_ways(kind)
    attrs = replace(attrs, linear_before_reset=True) if isinstance(attrs, GRUAttrs) and batch < 3 else attrs
    arrays = [np.asarray(0.5 * rng.standard_normal(s), np.float32) for s in operands(kind, 4, batch, 5, 32)]
    weights = {f"w{i}": types_of(arrays)[i] for i in (1, 2, 3)}
    graph = trace_with_parameters(
        lambda x, *s, w1, w2, w3: apply_all(forward, attrs, x, w1, w2, w3, *s)[0],
        types_of(arrays)[0], *types_of(arrays)[4:], **weights,
    )  # fmt: skip
    expected = evaluate_reference(graph, [arrays[0], *arrays[4:]], {f"w{i}": arrays[i] for i in (1, 2, 3)})
    machine, gates = replace(USUAL, unpacked=32 * 16 * batch), LAYERS[kind][2]
    with described(machine):
        plan = make_plan(graph, threads=1, exact=how == "exact")
        source = generate(plan)
        assert (str((2, gates, 2, 32, 16)) in source.text) == (how != "exact" and batch > 1)
        prepare, bind = source.load("program")([arrays[int(name[1:])] for name in plan.parameters])
        prepare()
        run = threads_only(1).bind(bind, garbage_arena(plan.arena_bytes, None))
        for _ in range(2):
            assert_all_close(list(run(arrays[0], *arrays[4:])), expected, kind, GRADIENT_TOLERANCE)


ALIKE: dict[str, dict[str, Any]] = {"usual": {}, "clipped": {"clip": 0.4}, "rounded": {"rounded": True}}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize(("how", "dtype"), [*((how, "float32") for how in ALIKE), ("usual", "float64")])
def test_both_directions_at_once_are_the_reference(
    kind: str, batch: int, how: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunk by chunk, with states to begin with and to end with; weights are parameters, or change from run to run."""
    rng, (forward, _, _, states) = np.random.default_rng(batch), LAYERS[kind]
    attrs = replace(both_ways(kind), **(ALIKE[how] if how != "rounded" or kind == "LSTM" else {}))
    attrs = replace(attrs, linear_before_reset=batch < 3) if isinstance(attrs, GRUAttrs) else attrs
    arrays = [np.asarray(0.5 * rng.standard_normal(s), dtype) for s in operands(kind, 11, batch, 5, 32)]
    types, given = types_of(arrays), [arrays[0], *arrays[4:]]
    weights = {f"w{i}": types[i] for i in (1, 2, 3)}
    graph = trace_with_parameters(
        lambda x, *s, w1, w2, w3: tuple(apply_all(forward, attrs, x, w1, w2, w3, *s)[: 1 + states]),
        types[0], *types[4:], **weights,
    )  # fmt: skip
    changing = trace(lambda *xs: tuple(apply_all(forward, attrs, *xs)[: 1 + states]), types)
    expected = evaluate_reference(changing, arrays)
    monkeypatch.setattr(layer, "LEAST_ROWS", 1)
    (low,) = lowerings(forward)
    force(monkeypatch, forward, low)
    with described(replace(USUAL, l2=1 << 16, unpacked=32 * 16 * batch)):
        for one in (graph, changing):
            plans = [make_plan(one, threads=1) for _ in range(2)]
            found = {str(step.choice) for plan in plans for step in plan.steps if step.node.op is forward}
            assert found == {"numpy", "numpy (both directions at once)"}
            for plan in plans:
                source = generate(plan)
                prepare, bind = source.load("program")([arrays[int(name[1:])] for name in plan.parameters])
                prepare()
                run = threads_only(1).bind(bind, garbage_arena(plan.arena_bytes, None))
                for _ in range(2):
                    results = run(*(given if one is graph else arrays))
                    assert_all_close(list(results), expected, kind, GRADIENT_TOLERANCE)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("batch", [3, 5])
@pytest.mark.parametrize("how", [*ALIKE, "of some lengths"])
def test_three_rows_are_multiplied_as_four(kind: str, batch: int, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the weights come from beyond the cache; of five sequences one of two workers has three."""
    rng, (forward, _, _, states) = np.random.default_rng(batch), LAYERS[kind]
    options = {"lengths": True} if how == "of some lengths" else ALIKE[how]
    attrs = replace(both_ways(kind), **(options if how != "rounded" or kind == "LSTM" else {}))
    attrs = replace(attrs, linear_before_reset=True) if isinstance(attrs, GRUAttrs) else attrs
    arrays = [np.asarray(0.5 * rng.standard_normal(s), np.float32) for s in operands(kind, 9, batch, 5, 32)]
    arrays += [np.array([9, 0, 4, 1, 7][:batch])] if attrs.lengths else []
    graph = trace(lambda *xs: tuple(apply_all(forward, attrs, *xs)[: 1 + states]), types_of(arrays))
    expected, used = evaluate_reference(graph, arrays), set()
    (low,) = lowerings(forward)
    force(monkeypatch, forward, low)
    with described(replace(USUAL, l2=1 << 10, unpacked=32 * 16 * batch)):
        for _ in range(4):
            plan = make_plan(graph, threads=2)
            source = generate(plan)
            used.add("(4, 32), float32" in source.text)
            prepare, bind = source.load("program")([])
            prepare()
            run = threads_only(2).bind(bind, garbage_arena(plan.arena_bytes, None))
            for _ in range(2):
                assert_all_close(list(run(*arrays)), expected, kind, GRADIENT_TOLERANCE)
    assert True in used or (batch == 5 and how == "rounded")  # which is never shared by sequences


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_rounded_is_nowhere_clipped_in_vain(dtype: type[np.floating[Any]]) -> None:
    """Bit by bit what clipping both sides gives, the case of two ties included."""
    rng = np.random.default_rng(0)

    def clipped(x: Any) -> Any:
        least, most = x.min(initial=0), x.max(initial=0)
        scale = (most - least) / dtype(255) or dtype(1)
        below = np.rint(-least / scale)
        return np.clip(np.rint(x / scale), -below, dtype(255) - below) * scale

    drawn = [rng.standard_normal((2, 9)).astype(dtype) * 10.0 ** rng.integers(-40, 3) for _ in range(300)]
    ties = [np.array([[-127.5, 127.5, 3.0]]), np.array([[-0.5, 254.5]]), np.array([[-254.5, 0.5, 0.0]])]
    sides = [np.abs(drawn[0]), -np.abs(drawn[0]), np.zeros((2, 3)), np.array([[np.nan, 1.0]])]
    for x in (*drawn, *(np.asarray(one, dtype) for one in (*ties, *sides)), np.asfortranarray(drawn[0])):
        with np.errstate(all="ignore"):
            out = np.full_like(x, 7)
            rounded(x, out)
            np.testing.assert_array_equal(out, clipped(x))


def test_long_layers_have_a_worker_for_each_direction() -> None:
    types = [TensorType(shape, float32) for shape in operands("LSTM", 100, 1, 256, 256)]
    node = Node(ops.LSTM, both_ways("LSTM"), ops.LSTM.infer_types(both_ways("LSTM"), types))
    with described(USUAL):
        assert str(choices(node, tuple(types), threads=2)[0]) == "numpy (a direction each)"
        assert str(choices(node, tuple(types), threads=1)[0]) == "numpy"


@pytest.mark.parametrize(
    ("hidden", "batch", "at_once"), [(64, 1, True), (256, 1, False), (256, 2, True), (512, 2, False), (128, 40, False)]
)
def test_both_directions_go_at_once_where_their_weights_stay_near(hidden: int, batch: int, at_once: bool) -> None:
    types = tuple(TensorType(shape, float32) for shape in operands("LSTM", 20, batch, 64, hidden))
    made = ops.LSTM.infer_types(both_ways("LSTM"), types)
    read, kept = (Node(ops.LSTM, both_ways("LSTM"), made[:outputs]) for outputs in (3, 5))
    with described(USUAL):
        assert ("at once" in str(choices(read, types, threads=1)[0])) == at_once
        assert not any("at once" in str(choice) for choice in choices(kept, types, threads=1))


def test_a_program_sees_that_weights_have_changed() -> None:
    layer = nn.LSTM(5, 7)
    x = np.random.default_rng(0).standard_normal((6, 2, 5)).astype(np.float32)
    with lucid.no_grad():
        net = lucid.compile(layer)
        before = net(x)[0].numpy()
        layer.weight_hh_l0.copy_(layer.weight_hh_l0 * 0.5)
        after = net(x)[0].numpy()
        np.testing.assert_allclose(after, layer(x)[0].numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def test_a_step_makes_no_gradient_of_what_comes_in() -> None:
    layer = nn.LSTM(5, 7)
    step = lucid.compile_step(layer, lambda y, _: y[0].sum(), optim.SGD(layer.parameters(), lr=0.1))
    step(np.zeros((6, 2, 5), np.float32), np.zeros(1))
    (grad,) = (one for one in step.plan.steps if one.node.op is ops.LSTM_GRAD)
    assert [y is not None for y in grad.outs[:4]] == [False, True, True, True]


def test_a_layer_whose_gates_are_read_is_not_tuned_as_one_whose_are_not() -> None:
    """It has fewer ways to run, so what was measured of the other is none of it."""
    types = [TensorType(shape, float32) for shape in operands("LSTM", 12, 2, 3, 8)]

    def function(x: Any, *rest: Any) -> Any:
        y, kept = (apply_all(ops.LSTM, both_ways("LSTM"), one, *rest) for one in (x, x + 1))
        return y[0], kept[0], kept[3]

    with described(USUAL):
        graph = trace(function, types)
        usual = make_plan(graph)
        plan = make_plan(graph, chosen=resolve(graph, tune(graph, {}), 1, False))
    for one in (usual, plan):
        layers = [step for step in one.steps if step.node.op is ops.LSTM]
        assert len(layers) == 2
        assert not any("at once" in str(step.choice) for step in layers if step.outs[3] is not None)
    assert any("at once" in str(step.choice) for step in usual.steps)
