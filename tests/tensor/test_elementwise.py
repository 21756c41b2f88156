"""Element-wise kernels on drawn shapes, promotion of element types, accuracy of the error function, bad operands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lucid
from lucid.errors import DTypeError, ExecutionError, OptionError, ShapeError
from lucid.graph.ops import bounds, linalg, reduce
from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.einsum import einsum
from lucid.reference import evaluate_reference
from lucid.runtime import eager
from lucid.runtime.kernels.erf_calls import BLOCK
from lucid.tensor.tensor import Tensor

from ..op_checks import assert_all_close, run_compiled, trace, trace_in_arena, types_of

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
        (lambda: bounds.clip(Tensor(_VECTOR)), OptionError, ["clip", "min", "max"]),
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


_SOME, _ZERO = np.array([7, -7, 9]), np.array([2, 0, 4])


@pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile, lambda f: lucid.compile(f, verify=True)])
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8"])
@pytest.mark.parametrize(
    "divide",
    [
        lambda x, z: x // 0,
        lambda x, z: x % 0,
        lambda x, z: x // z,
        lambda x, z: x % z,
        lambda x, z: 5 // z,
        lambda x, z: divmod(x, z)[1],
        lambda x, z: (x * 2 + 1) // (z * 3),
        lambda x, z: (z - z).sum() + x // z.amin(),
    ],
)
def test_integers_are_not_divided_by_0(divide: Any, dtype: str, wrap: Any) -> None:
    x, z = Tensor(_SOME.astype(dtype)), Tensor(_ZERO.astype(dtype))
    with pytest.raises(ExecutionError, match="integers are divided by 0"):
        wrap(divide)(x, z)


@pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile])
def test_floats_and_nothing_are_divided_by_0(wrap: Any) -> None:
    x, none = Tensor(_SOME), Tensor(np.zeros(0, np.int64))
    assert wrap(lambda x: x // 0.0)(x).tolist() == [math.inf, -math.inf, math.inf]
    assert all(math.isnan(y) for y in wrap(lambda x: x % 0.0)(x).tolist())
    assert wrap(lambda x: x / 0)(x).tolist() == [math.inf, -math.inf, math.inf]
    assert wrap(lambda x: x // 0 + x % 0)(none).shape == (0,)
    safe = wrap(lambda x, z: lucid.where(z == 0, 0, x // lucid.where(z == 0, 1, z)))
    assert safe(x, Tensor(_ZERO)).tolist() == [3, 0, 2]


def test_a_divisor_of_0_is_found_whoever_shares_the_work() -> None:
    x, z = np.arange(1, 1 << 20), np.arange(1, 1 << 20)
    shared = lucid.compile(lambda x, z: (x * 2 + 1) // z % 7 + x, threads=2)
    assert shared(x, z).tolist()[-1] == (2 * int(x[-1]) + 1) // int(z[-1]) % 7 + int(x[-1])
    for at in (0, len(z) // 2, len(z) - 1):
        z[at] = 0
        with pytest.raises(ExecutionError, match="integers are divided by 0"):
            shared(x, z)
        z[at] = at + 1
    assert shared(x, z).shape == x.shape


@pytest.mark.parametrize("wrap", [lambda f: f, lucid.compile])
@pytest.mark.parametrize("power", [-1, np.int64(-2)])
def test_integers_have_no_power_by_a_negative_number(power: Any, wrap: Any) -> None:
    for x in (Tensor(_SOME), Tensor(_SOME > 0)):
        with pytest.raises(OptionError, match=f"an integer to the power of {power} is no integer"):
            wrap(lambda x: x**power)(x)
    assert wrap(lambda x: x ** Tensor([-1, 0, 2]))(Tensor([1, 5, 3])).tolist() == [1, 1, 9]  # as in PyTorch
    assert wrap(lambda x: 2**x)(Tensor([-1, 0, 2])).tolist() == [0, 1, 4]
    assert wrap(lambda x: x.float() ** power)(Tensor([1, 1])).tolist() == [1.0, 1.0]


def test_of_a_number_that_is_nan_no_bound_has_a_slope() -> None:
    for low, high in ((-1.0, 1.0), (np.float32([-1.0]), np.float32([1.0]))):
        x = Tensor([math.nan, -2.0, -1.0, 0.5, 2.0], requires_grad=True)
        y = bounds.clip(x, low, high)
        y.backward(np.ones(5, np.float32))
        np.testing.assert_array_equal(y.numpy(), [math.nan, -1.0, -1.0, 0.5, 1.0])
        assert x.grad is not None and x.grad.tolist() == [0.0, 0.0, 1.0, 1.0, 0.0]
