"""Every row of the table: kernels against references, gradients against finite differences, and types."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.reference import evaluate_reference
from lucid.runtime import eager
from lucid.tensor.tensor import Tensor

from ..cases.case import Case
from ..op_checks import (
    EXACT,
    GRADIENT_TOLERANCE,
    all_cases,
    assert_all_close,
    assert_close,
    channels_last,
    check_gradient,
    float_outputs,
    inputs_of,
    joint_graph,
    projection_seeds,
    run_compiled,
    strided,
    trace,
    trace_in_arena,
    trace_symbolic,
    types_of,
)

CASES = all_cases()
GRADIENT_CASES = [case for case in CASES if case.gradient]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_gradient = pytest.mark.parametrize("case", GRADIENT_CASES, ids=lambda case: case.name)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_case
@both_dtypes
def test_eager_kernels_match_the_reference(case: Case, dtype: str) -> None:
    arrays = inputs_of(case, dtype)
    before = [a.copy() for a in arrays]
    graph = trace(case.function, types_of(arrays))
    expected = evaluate_reference(graph, arrays)
    assert_all_close(eager.evaluate(graph, arrays), expected, case.name)
    assert_all_close(eager.evaluate(graph, [strided(a) for a in arrays]), expected, "strided inputs")
    assert_all_close(arrays, before, "inputs after the call", EXACT)


@every_case
@both_dtypes
def test_compiled_programs_match_the_reference(case: Case, dtype: str) -> None:
    arrays = inputs_of(case, dtype)
    types = types_of(arrays)
    graph = trace(case.function, types)
    expected = evaluate_reference(graph, arrays)
    arena = trace_in_arena(case.function, types)
    weights = range(1 if len(arrays) > 1 else 0, len(arrays))
    with_weights = trace(case.function, types, weights)
    last = channels_last(arena)
    ways = {
        "as it is, and strided inputs": run_compiled(graph, arrays, also=[strided(a) for a in arrays]),
        "in the arena": run_compiled(arena, arrays),
        "channels last": run_compiled(last, arrays) if last is not arena else (),
        "parameters": run_compiled(
            with_weights,
            [a for i, a in enumerate(arrays) if i not in weights],
            [arrays[int(name[1:])] for name in with_weights.parameters],
        ),
    }
    for way, runs in ways.items():
        for results in runs:
            assert_all_close(results, expected, way)


@every_gradient
def test_gradients_match_finite_differences(case: Case) -> None:
    arrays = inputs_of(case, "float64")
    graph = trace(case.function, types_of(arrays))
    seeds = projection_seeds(graph)
    results = evaluate_reference(joint_graph(graph), [*arrays, *seeds])
    check_gradient(graph, arrays, results[len(graph.outputs) :], seeds)


@every_gradient
@both_dtypes
def test_gradient_kernels_match_the_reference(case: Case, dtype: str) -> None:
    arrays = inputs_of(case, dtype)
    graph = trace(case.function, types_of(arrays))
    joint = joint_graph(graph)
    feeds = [*arrays, *(s.astype(dtype) for s in projection_seeds(graph))]
    expected = evaluate_reference(joint, feeds)
    sources = [a for a in arrays if a.dtype.kind == "f"]
    for x, gradient in zip(sources, expected[len(graph.outputs) :], strict=True):
        assert gradient.shape == x.shape and gradient.dtype == x.dtype
        assert np.isfinite(gradient).all()
    assert_all_close(eager.evaluate(joint, feeds), expected, "eager", GRADIENT_TOLERANCE)
    for laid in dict.fromkeys((joint, channels_last(joint))):
        for results in run_compiled(laid, feeds):
            assert_all_close(results, expected, "compiled", GRADIENT_TOLERANCE)


@every_gradient
def test_tensors_give_the_gradients_of_the_graph(case: Case) -> None:
    arrays = inputs_of(case, "float64")
    graph = trace(case.function, types_of(arrays))
    seeds = projection_seeds(graph)
    expected = iter(evaluate_reference(joint_graph(graph), [*arrays, *seeds])[len(graph.outputs) :])
    tensors = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    results = case.function(*tensors)
    results = results if isinstance(results, tuple | list) else (results,)
    places = dict(zip(graph.outputs, results, strict=True))
    for y, seed in zip((places[v] for v in float_outputs(graph)), seeds, strict=True):
        if y.requires_grad:
            y.backward(seed)
    for x in tensors:
        if x.requires_grad:
            gradient = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
            assert_close(gradient, next(expected), case.name, GRADIENT_TOLERANCE)


@every_case
def test_types_hold_for_any_size_of_the_first_axis(case: Case) -> None:
    arrays = inputs_of(case, "float32")
    graph = trace(case.function, types_of(arrays))
    for inferred, result in zip(graph.output_types, eager.evaluate(graph, arrays), strict=True):
        assert (result.shape, result.dtype) == (inferred.shape, inferred.dtype)
    symbolic = None if "static" in case.tags else trace_symbolic(case.function, types_of(arrays))
    if symbolic is None:
        return
    general, size = symbolic
    bound = general.bind({"N": size}) if general.symbols else general
    assert [str(t) for t in bound.output_types] == [str(t) for t in graph.output_types]
    assert_all_close(evaluate_reference(bound, arrays), evaluate_reference(graph, arrays), "symbolic first axis")
