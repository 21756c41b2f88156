"""Element-wise kernels on drawn shapes, promotion of element types, accuracy of the error function, bad operands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lucid.errors import DTypeError, OptionError, ShapeError
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops import linalg, reduce
from lucid.graph.ops.einsum import einsum
from lucid.runtime import eager
from lucid.runtime.kernels.special import BLOCK
from lucid.runtime.reference import evaluate_reference
from lucid.tensor import Tensor

from .op_checks import assert_all_close, run_compiled, trace, trace_in_arena, types_of

_FUNCTIONS: dict[str, Any] = {
    "add": ew.add,
    "div": ew.div,
    "maximum": ew.maximum,
    "less": lambda a, b: ew.compare(ew.LESS, a, b),
    "where": lambda a, b: ew.where(ew.compare(ew.LESS, a, b), a, b),
    "overwritten": lambda a, b: ew.where(ew.compare(ew.GREATER, ew.mul(a, b), b), ew.gelu(ew.add(a, b)), ew.silu(a)),
}


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4, max_dims=4),
    name=st.sampled_from(sorted(_FUNCTIONS)),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_kernels_match_the_reference_on_any_shapes(
    shapes: hnp.BroadcastableShapes, name: str, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.integers(-3, 4, shape) * 0.75, dtype) for shape in shapes.input_shapes]
    types = types_of(arrays)
    graph = trace(_FUNCTIONS[name], types)
    expected = evaluate_reference(graph, arrays)
    assert expected[0].shape == shapes.result_shape
    assert_all_close(eager.evaluate(graph, arrays), expected, name)
    for results in run_compiled(trace_in_arena(_FUNCTIONS[name], types), arrays):
        assert_all_close(results, expected, name)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 5e-7), ("float64", 1e-15)])
def test_erf_has_the_accuracy_of_its_dtype(dtype: str, most: float) -> None:
    x = np.concatenate([np.linspace(-7, 7, 3 * BLOCK + 5), np.logspace(-30, 0, 500), [0.0, -0.0, np.inf, -np.inf]])
    x = x.astype(dtype)
    y = Tensor(x).erf().numpy()
    expected = np.array([math.erf(v) for v in x])
    assert np.all(np.abs(y - expected) <= most * np.abs(expected))
    assert np.abs(y).max() == 1
    assert np.array_equal(np.signbit(y), np.signbit(x))


def test_gelu_vanishes_far_below_zero() -> None:
    x = Tensor(np.array([-8.0, -100.0, -3e38], np.float32))
    assert np.all(ew.gelu(x).numpy() == 0)


def test_sigmoid_keeps_its_relative_accuracy() -> None:
    x = np.array([-80.0, -20.0, -10.0], np.float32)
    np.testing.assert_allclose(Tensor(x).sigmoid().numpy(), np.exp(x.astype(float)), rtol=1e-4)


_VECTOR = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        (np.ones(2, np.int32), 1.5, "float32"),
        (np.ones(2, np.int8), 1, "int8"),
        (np.ones(2, bool), 1, "int64"),
        (np.ones(2, bool), True, "bool"),
        (np.ones(2, bool), 0.5, "float32"),
        (np.ones(2, np.float64), 1.5, "float64"),
        (np.ones(2, np.int64), _VECTOR, "float32"),
        (np.ones(2, np.uint8), np.ones(2, np.int8), "int16"),
        (_VECTOR, np.ones((), np.float64), "float32"),
        (np.ones(2, np.int32), np.ones((), np.int64), "int32"),
        (np.ones(2, np.int32), np.ones((), np.float64), "float64"),
        (np.ones((), np.float32), np.ones((), np.float64), "float64"),
        (_VECTOR, np.float64(2), "float32"),
        (_VECTOR, [1.0, 2.0], "float32"),
    ],
)
def test_element_types_promote_as_in_pytorch(a: Any, b: Any, result: str) -> None:
    other = Tensor(b) if isinstance(b, np.ndarray) else b
    assert (Tensor(a) + other).dtype == result
    assert (other + Tensor(a)).dtype == result


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda: Tensor(np.ones(2, np.uint8)) + 300, DTypeError, ["300", "uint8"]),
        (lambda: Tensor(np.ones(2, np.uint64)) + Tensor(np.ones(2, np.int64)), DTypeError, ["uint64", "int64"]),
        (lambda: Tensor(np.ones(2, bool)) - Tensor(np.ones(2, bool)), DTypeError, ["Sub", "bool"]),
        (lambda: Tensor(_VECTOR) & Tensor(_VECTOR), DTypeError, ["And", "float32"]),
        (lambda: Tensor(_VECTOR) + "a", DTypeError, ["str"]),
        (lambda: Tensor(_VECTOR) + 1j, DTypeError, ["complex"]),
        (lambda: Tensor(_VECTOR) + Tensor(np.ones(3)), ShapeError, ["Add", "(2,)", "(3,)"]),
        (lambda: ew.clip(Tensor(_VECTOR)), OptionError, ["clip", "min", "max"]),
        (lambda: ew.gelu(Tensor(_VECTOR), "erf"), OptionError, ["gelu", "erf"]),
        (lambda: ew.where(Tensor(_VECTOR), 1.0, 2.0), DTypeError, ["Where", "bool"]),
        (lambda: ew.where(True, 1.0, 2.0), DTypeError, ["where"]),
        (lambda: reduce.amax(Tensor(np.ones((0, 3))), 0), ShapeError, ["Max", "no element"]),
        (lambda: reduce.argmin(Tensor(np.ones((0, 3))), 0), ShapeError, ["Arg", "no element"]),
        (lambda: reduce.mean(Tensor(np.ones(3, int))), DTypeError, ["mean", "int64"]),
        (lambda: reduce.sum(Tensor(_VECTOR), (0, 0)), ShapeError, ["sum", "(0, 0)"]),
        (lambda: reduce.sum(Tensor(_VECTOR), 1), ShapeError, ["sum", "axis 1"]),
        (lambda: Tensor(np.ones((2, 3))) @ Tensor(np.ones((2, 3))), ShapeError, ["MatMul", "(2, 3)"]),
        (
            lambda: linalg.linear(Tensor(np.ones((2, 4))), Tensor(np.ones((5, 3)))),
            ShapeError,
            ["Linear", "in_features is 3", "(2, 4)"],
        ),
        (
            lambda: linalg.linear(Tensor(np.ones((2, 3))), Tensor(np.ones((5, 3))), Tensor(np.ones(4))),
            ShapeError,
            ["out_features is 5", "(4,)"],
        ),
        (lambda: einsum("ij,jk", Tensor(np.ones((2, 3)))), ShapeError, ["einsum", "2 operands"]),
        (lambda: einsum("ij", Tensor(_VECTOR)), ShapeError, ["einsum", "'ij'"]),
        (lambda: einsum("i,i", Tensor(np.ones(2)), Tensor(np.ones(3))), ShapeError, ["'i'", "2", "3"]),
        (lambda: einsum("i->j", Tensor(_VECTOR)), ShapeError, ["Einsum", "i->j"]),
        (lambda: einsum("i$", Tensor(_VECTOR)), OptionError, ["einsum", "i$"]),
    ],
)
def test_bad_operands_get_one_clear_error(function: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        function()
    assert all(word in str(caught.value) for word in words), str(caught.value)
