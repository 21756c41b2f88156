"""Every row of the table: kernels against references, gradients against finite differences, and types."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
import pytest

from lucid.graph.ir import Graph
from lucid.reference import evaluate_reference
from lucid.runtime import eager
from lucid.tensor.tensor import Tensor

from ..cases.case import Case
from ..op_checks import (
    EXACT,
    GRADIENT_TOLERANCE,
    Array,
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

# the tests of a row come one after another, so that they share what is made of it
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name, scope="module")
every_gradient = pytest.mark.parametrize("case", GRADIENT_CASES, ids=lambda case: case.name, scope="module")
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
in_float32, in_float64 = (pytest.mark.parametrize("dtype", [dtype]) for dtype in ("float32", "float64"))


class Row:
    """What is made of a row for one element type: its graphs, and what the reference says of them."""

    def __init__(self, case: Case, dtype: str) -> None:
        self.case, self.dtype = case, dtype
        self.arrays = inputs_of(case, dtype)
        self.before = [a.copy() for a in self.arrays]
        self.types = types_of(self.arrays)
        self.graph = trace(case.function, self.types)

    @cached_property
    def expected(self) -> list[Array]:
        return evaluate_reference(self.graph, self.arrays)

    @cached_property
    def results(self) -> list[Array]:
        """What the eager kernels give."""
        return eager.evaluate(self.graph, self.arrays)

    @cached_property
    def joint(self) -> Graph:
        return joint_graph(self.graph)

    @cached_property
    def seeds(self) -> list[Array]:
        return [seed.astype(self.dtype) for seed in projection_seeds(self.graph)]

    @cached_property
    def expected_jointly(self) -> list[Array]:
        return evaluate_reference(self.joint, [*self.arrays, *self.seeds])

    @property
    def gradients(self) -> list[Array]:
        """As the reference gives them for ``seeds``."""
        return self.expected_jointly[len(self.graph.outputs) :]


_row = lru_cache(maxsize=2)(Row)


@pytest.fixture
def row(case: Case, dtype: str) -> Iterator[Row]:
    """What tests of a row share is as before after each."""
    made = _row(case, dtype)
    yield made
    assert_all_close(made.arrays, made.before, "inputs after the test", EXACT)


@every_case
@both_dtypes
def test_eager_kernels_match_the_reference(row: Row) -> None:
    assert_all_close(row.results, row.expected, row.case.name)
    assert_all_close(eager.evaluate(row.graph, [strided(a) for a in row.arrays]), row.expected, "strided inputs")


@every_case
@both_dtypes
def test_compiled_programs_match_the_reference(row: Row) -> None:
    function, arrays = row.case.function, row.arrays
    arena = trace_in_arena(function, row.types)
    weights = range(1 if len(arrays) > 1 else 0, len(arrays))
    with_weights = trace(function, row.types, weights)
    last = channels_last(arena)
    ways = {
        "as it is, and strided inputs": run_compiled(row.graph, arrays, also=[strided(a) for a in arrays]),
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
            assert_all_close(results, row.expected, way)


@every_gradient
@in_float64
def test_gradients_match_finite_differences(row: Row) -> None:
    check_gradient(row.graph, row.arrays, row.gradients, row.seeds)


@every_gradient
@both_dtypes
def test_gradient_kernels_match_the_reference(row: Row) -> None:
    feeds, expected = [*row.arrays, *row.seeds], row.expected_jointly
    sources = [a for a in row.arrays if a.dtype.kind == "f"]
    for x, gradient in zip(sources, row.gradients, strict=True):
        assert gradient.shape == x.shape and gradient.dtype == x.dtype
        assert np.isfinite(gradient).all()
    assert_all_close(eager.evaluate(row.joint, feeds), expected, "eager", GRADIENT_TOLERANCE)
    for laid in dict.fromkeys((row.joint, channels_last(row.joint))):
        for results in run_compiled(laid, feeds):
            assert_all_close(results, expected, "compiled", GRADIENT_TOLERANCE)


@every_gradient
@in_float64
def test_tensors_give_the_gradients_of_the_graph(row: Row) -> None:
    graph, expected = row.graph, iter(row.gradients)
    tensors = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in row.arrays]
    results = row.case.function(*tensors)
    results = results if isinstance(results, tuple | list) else (results,)
    places = dict(zip(graph.outputs, results, strict=True))
    for y, seed in zip((places[v] for v in float_outputs(graph)), row.seeds, strict=True):
        if y.requires_grad:
            y.backward(seed)
    for x in tensors:
        if x.requires_grad:
            gradient = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
            assert_close(gradient, next(expected), row.case.name, GRADIENT_TOLERANCE)


@every_case
@in_float32
def test_types_hold_for_any_size_of_the_first_axis(row: Row) -> None:
    graph = row.graph
    for inferred, result in zip(graph.output_types, row.results, strict=True):
        assert (result.shape, result.dtype) == (inferred.shape, inferred.dtype)
    symbolic = None if "static" in row.case.tags else trace_symbolic(row.case.function, row.types)
    if symbolic is None:
        return
    general, size = symbolic
    bound = general.bind({"N": size}) if general.symbols else general
    assert [str(t) for t in bound.output_types] == [str(t) for t in graph.output_types]
    assert_all_close(evaluate_reference(bound, row.arrays), row.expected, "symbolic first axis")
